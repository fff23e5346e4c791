"""A worked-out and executed plan becomes an image: config, history with its times, manifest.

Why: the documents are to be BuildKit's to the byte, so the odd rules of its exporter are kept: metadata
instructions get the time of the layer before them (or of the first new one), entries after the base's are
clamped to SOURCE_DATE_EPOCH, base layers get the media types of the family that is written.
Spec: OCI image-spec 1.1, config.md and manifest.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from imagesmith.image.forms import Form
from imagesmith.oci import mediatype as mt
from imagesmith.oci.config import History, ImageConfig
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.times import format_ns, parse_ns
from imagesmith.plan.plan import PlannedImage
from imagesmith.solve.result import BuiltLayer
from imagesmith.store.store import Store
from imagesmith.values import frozen, replace

__all__ = ["Image", "commit"]

#: Of the history entries that a Dockerfile makes.
_COMMENT = "buildkit.dockerfile.v0"
_OWN_ANNOTATIONS = ("containerd.io/uncompressed", "buildkit/createdat", "containerd.io/distribution.source.")


@frozen(kw_only=True)
class Image:
    """A finished image; its config and manifest are in the store, its base layers perhaps not yet."""

    manifest: Manifest
    config: ImageConfig
    layers: tuple[BuiltLayer, ...]
    form: Form
    annotations: Mapping[str, str]

    @property
    def descriptor(self) -> Descriptor:
        """The manifest's descriptor."""
        return self.manifest.descriptor()

    @property
    def entry(self) -> Descriptor:
        """The manifest's descriptor as an index holds it: with its platform, and annotations of its own."""
        return replace(self.manifest.descriptor(self.config.platform), annotations=self.annotations)


def commit(
    planned: PlannedImage,
    layers: Sequence[BuiltLayer],
    store: Store,
    *,
    form: Form,
    extra: Mapping[str, object] | None = None,
    squashed: Sequence[BuiltLayer] = (),
) -> Image:
    """Write the config and the manifest of an image into the store.

    Args:
        planned: what the image says besides its layers.
        layers: its layers in that form, the base's first.
        store: where the documents go.
        extra: further fields of the config.
        form: the epoch, the media types and the annotations that are wanted.
        squashed: the base's layers and those of which the topmost one was made; empty where it is no such.
    """
    config = _config(planned, squashed or layers, form, extra)
    if squashed:
        config = _squashed(config, planned, layers, form)
    raw = config.to_bytes()
    family = mt.to_oci if form.oci_types else mt.to_docker
    manifest = Manifest.build(
        Descriptor(media_type=family(mt.OCI_CONFIG), digest=digest_bytes(raw), size=len(raw)),
        [_layer(layer.descriptor, form) for layer in layers],
        media_type=family(mt.OCI_MANIFEST),
        annotations=dict(form.manifest),
    )
    store.blobs.put(raw)
    store.blobs.put(manifest.raw)
    return Image(
        manifest=manifest, config=config, layers=tuple(layers), form=form, annotations=dict(form.descriptor)
    )


def _config(
    planned: PlannedImage, layers: Sequence[BuiltLayer], form: Form, extra: Mapping[str, object] | None
) -> ImageConfig:
    history = _history(planned, layers, form.epoch)
    return ImageConfig(
        platform=planned.platform,
        created=next((h.created for h in reversed(history) if h.created), ""),
        author=planned.author,
        runtime=planned.runtime,
        diff_ids=tuple(layer.diff_id for layer in layers),
        history=history,
        extra=extra or {},
    )


def _squashed(
    config: ImageConfig, planned: PlannedImage, layers: Sequence[BuiltLayer], form: Form
) -> ImageConfig:
    """The config with one layer in the place of the new ones: their entries stay, and are of no layer.

    Spec: moby's daemon/images/image_squash.go. The entry is of the time of the last step, so that what is in
    the cache gives the same image again.
    """
    whole, base = digest_bytes(config.to_bytes()), planned.base
    kept, new = config.history[: len(planned.base_history)], config.history[len(planned.base_history) :]
    last = History(
        created=format_ns(layers[-1].created_ns or 0),
        comment=f"merge {whole} to {base.digest}" if base is not None else f"create new from {whole}",
    )
    if form.epoch is not None:
        last = _clamped(last, form.epoch * 1_000_000_000)
    return replace(
        config,
        created=last.created,
        diff_ids=tuple(layer.diff_id for layer in layers),
        history=(*kept, *(replace(h, empty_layer=True) for h in new), last),
    )


def _layer(d: Descriptor, form: Form) -> Descriptor:
    """A layer's descriptor in the family and with the annotations that go out."""
    if not form.foreign and mt.is_nondistributable(d.media_type):
        d = replace(d, media_type=mt.to_distributable(d.media_type), urls=())
    if not form.oci_types:
        return replace(d, media_type=mt.to_docker(d.media_type), annotations={})
    kept = {k: v for k, v in d.annotations.items() if not k.startswith(_OWN_ANNOTATIONS)}
    return replace(d, media_type=mt.to_oci(d.media_type), annotations=kept)


def _history(planned: PlannedImage, layers: Sequence[BuiltLayer], epoch: int | None) -> tuple[History, ...]:
    own = [
        History(created_by=h.created_by, comment=_COMMENT, empty_layer=not h.layer) for h in planned.history
    ]
    entries = _balanced([*planned.base_history, *own], layers)
    entries = _timed(entries, layers)
    if epoch is None:
        return tuple(entries)
    base = len(planned.base_history)
    limit = epoch * 1_000_000_000
    return tuple(entries[:base]) + tuple(_clamped(h, limit) for h in entries[base:])


def _balanced(entries: list[History], layers: Sequence[BuiltLayer]) -> list[History]:
    """As many entries with a layer as there are layers: surplus ones are marked empty, missing ones added."""
    surplus = sum(not h.empty_layer for h in entries) - len(layers)
    for n, h in enumerate(entries):
        if surplus > 0 and not h.empty_layer:
            entries[n] = replace(h, empty_layer=True)
            surplus -= 1
    missing = layers[len(layers) + surplus :] if surplus < 0 else ()
    return entries + [
        History(
            created="" if m.created_ns is None else format_ns(m.created_ns),
            created_by=m.name,
            comment="buildkit.exporter.image.v0",
        )
        for m in missing
    ]


def _timed(entries: list[History], layers: Sequence[BuiltLayer]) -> list[History]:
    """Fill in the times as BuildKit's exporter does (see the module's docstring)."""
    times = iter(layers)
    for n, h in enumerate(entries):
        if h.empty_layer:
            continue
        layer = next(times, None)
        if not h.created and layer is not None and layer.created_ns is not None:
            entries[n] = replace(h, created=format_ns(layer.created_ns))
    untimed = next((n for n, h in enumerate(entries) if not h.created), len(entries))
    first_new = next((h.created for h in entries[untimed:] if h.created), "")
    last = first_new or next((h.created for h in reversed(entries[:untimed]) if h.created), "")
    for n, h in itertools.islice(enumerate(entries), untimed, None):
        if h.created:
            last = h.created
        else:
            entries[n] = replace(h, created=last)
    return entries


def _clamped(h: History, limit_ns: int) -> History:
    if h.created and parse_ns(h.created) <= limit_ns:
        return h
    return replace(h, created=format_ns(limit_ns))
