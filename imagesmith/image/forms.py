"""The form in which an output wants its image: compression, times, media types and annotations.

Why: several outputs of one build may want the same steps in different forms. Steps are executed once and
their layers written in the form that most can use; what another output wants is made of the stored layers,
and remembered, so that asking again costs nothing.
Spec: notes of BuildKit's exporter/containerimage (opts.go, writer.go) and util/converter.
Threads: one; layers are compressed by the writer's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from imagesmith.concurrency import Cancel
from imagesmith.errors import UsageError
from imagesmith.layer.codecs import Codec
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import Object, dumps
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import Platform
from imagesmith.oci.times import parse_epoch
from imagesmith.outputoptions import annotation_of
from imagesmith.request import Annotation, BuildRequest, Output
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.solve.result import BuiltLayer
from imagesmith.store.cachedb import StepRecord
from imagesmith.store.store import Store
from imagesmith.values import field, frozen, replace

__all__ = ["Form", "Reforming", "common_form", "form_of", "is_compressed_so", "is_image", "remembered"]

_ROOTS = ("local", "tar")
#: What the descriptor of a layer with a table has (layer/estargz.py, which most builds do not need).
_TABLE_NOTE = "containerd.io/snapshot/stargz/toc.digest"


@frozen(kw_only=True)
class Form:
    """How an image is written.

    codec       compression of new layers; with `force` of the base's, too
    epoch       SOURCE_DATE_EPOCH in seconds: the config's times are clamped to it
    clamp_s     the time (seconds) that files of new layers are clamped to, None for their own times
    squash      new layers are one, see image/squash.py
    oci_types   OCI's media types, else Docker's
    foreign     layers that may not be distributed keep their types and addresses, else become usual ones
    artifact    statements about the image are OCI artifacts, else images in form
    inline      they go along with what is asked for without them (inline-only)
    manifest, descriptor   annotations of the manifest, and of whatever names it
    index, index_descriptor   the same of the index, where there is one
    """

    codec: Codec = field(default_factory=Codec)
    epoch: int | None = None
    clamp_s: int | None = None
    oci_types: bool = True
    force: bool = False
    squash: bool = False
    foreign: bool = False
    artifact: bool = True
    inline: bool = True
    manifest: tuple[tuple[str, str], ...] = ()
    descriptor: tuple[tuple[str, str], ...] = ()
    index: tuple[tuple[str, str], ...] = ()
    index_descriptor: tuple[tuple[str, str], ...] = ()

    def same_layers(self, other: Form) -> bool:
        """True if new layers are the same in both."""
        return (self.codec, self.clamp_s) == (other.codec, other.clamp_s)


def is_image(output: Output) -> bool:
    """True for an output that writes the image, not the files in it."""
    return output.type not in _ROOTS


def form_of(
    output: Output,
    request: BuildRequest,
    epoch: int | None,
    platform: Platform,
    *,
    several: bool = False,
) -> Form:
    """The form that an output's options ask for.

    Args:
        output: has the options.
        request: has further annotations.
        epoch: the build's.
        platform: of the image.
        several: the image is one of an index.

    Raises:
        UsageError: options that exclude each other, or that one platform alone cannot have.
    """
    options = output.options
    if "source-date-epoch" in options:
        text = options["source-date-epoch"]
        epoch = parse_epoch(text)
        if text and epoch is None:
            raise UsageError(f"invalid SOURCE_DATE_EPOCH: {text}")
    oci_types = output.flag("oci-mediatypes", True)
    found = _annotations_of(output, request)
    if found and not oci_types:
        raise UsageError('cannot export annotations with "oci-mediatypes=false"')
    if not several and any(a.kind.startswith("index") for a in found):
        raise UsageError("index annotations not supported for single platform export")
    return Form(
        codec=Codec.parse(options.get("compression", "gzip"), options.get("compression-level", "")),
        epoch=epoch,
        clamp_s=epoch if output.flag("rewrite-timestamp") else None,
        oci_types=oci_types,
        force=output.flag("force-compression"),
        squash=request.squash and is_image(output),
        foreign=output.flag("prefer-nondist-layers"),
        artifact=output.flag("oci-artifact", True),
        inline=output.flag("attestation-inline", output.type in ("image", "registry")),
        manifest=_of_kind(found, "manifest", platform),
        descriptor=_of_kind(found, "manifest-descriptor", platform),
        index=_of_kind(found, "index", None),
        index_descriptor=_of_kind(found, "index-descriptor", None),
    )


def _annotations_of(output: Output, request: BuildRequest) -> list[Annotation]:
    """The annotations of an output, in the order in which later ones win: --annotation's are the last."""
    if not is_image(output):
        return []
    found = [
        Annotation(parsed[0], parsed[2], value, parsed[1])
        for key, value in output.options.items()
        if (parsed := annotation_of(key)) is not None
    ]
    return [*found, *request.annotations]


def _of_kind(
    found: Sequence[Annotation], kind: str, platform: Platform | None
) -> tuple[tuple[str, str], ...]:
    """Those of one level: for a platform its own win over those for all; an index's are for none."""
    own = [a for a in found if a.kind == kind and platform in (None, a.platform)]
    wanted = {a.key: a.value for a in found if a.kind == kind and a.platform is None}
    return tuple(sorted({**wanted, **{a.key: a.value for a in own}}.items()))


def common_form(forms: Sequence[Form]) -> Form:
    """The form in which layers are written first: the first output's; times are kept where one needs them."""
    first = forms[0] if forms else Form()
    if first.codec.is_estargz:  # steps do not see its table: it is made of finished layers
        first = replace(first, codec=Codec("gzip"))
    return first if len({f.clamp_s for f in forms}) <= 1 else replace(first, clamp_s=None)


def is_compressed_so(d: Descriptor, codec: Codec) -> bool:
    """True if a layer of an image is compressed as a codec does it; what has a table counts as gzip, too."""
    if codec.is_estargz and _TABLE_NOTE not in d.annotations:
        return False
    return mt.to_oci(d.media_type) == codec.media_type


def remembered(
    store: Store,
    diff_id: Digest,
    codec: Codec,
    clamp_s: int | None,
    make: Callable[[], tuple[Digest, Descriptor]],
    *,
    created_ns: int = 0,
    what: Mapping[str, object] | None = None,
) -> tuple[Digest, Descriptor]:
    """A layer in another form: its diff_id and its blob, which the store has from before, or which is made.

    Args:
        store: remembers it.
        diff_id: of the layer.
        codec, clamp_s: the form: compression, and the time (seconds) that files are clamped to.
        make: makes it.
        created_ns: when the layer was made.
        what: what else it is made of.
    """
    parts: dict[str, object] = {
        "reform": str(diff_id), "codec": str(codec), "clamp": clamp_s, **(what or {})
    }  # fmt: skip
    key = digest_bytes(dumps(parts, sort_keys=True)).hex
    record = store.cache.step(key)
    if record is not None:
        found = Descriptor.from_json(Object(dict(record.layer), "cache record"))
        if store.blobs.has(found.digest):
            return Digest.parse(record.diff_id), found
    made, d = make()
    store.cache.put_steps(
        [
            StepRecord(
                key=key, base="", parts=parts, diff_id=str(made), layer=d.to_json(), created_ns=created_ns
            )
        ]
    )
    return made, d


class Reforming:
    """Brings layers into the form of an output."""

    def __init__(
        self, store: Store, writer_of: Callable[[Codec, int | None], LayerWriter], cancel: Cancel
    ) -> None:
        self._store, self._writer_of, self._cancel = store, writer_of, cancel

    @property
    def store(self) -> Store:
        """Where layers are."""
        return self._store

    @property
    def cancel(self) -> Cancel:
        """Looked at while they are written."""
        return self._cancel

    def layers(self, layers: Sequence[BuiltLayer], form: Form) -> tuple[BuiltLayer, ...]:
        """The layers in a form: new ones in its compression and times; the base's only if that is forced."""
        return tuple(self._layer(layer, form) for layer in layers)

    def _layer(self, layer: BuiltLayer, form: Form) -> BuiltLayer:
        if layer.created_ns is None:
            return (
                self._changed(layer, form.codec, None)
                if form.force and not is_compressed_so(layer.descriptor, form.codec)
                else layer
            )
        if layer.codec == str(form.codec) and layer.clamp_s == form.clamp_s:
            return layer
        if form.codec.is_estargz and layer.clamp_s != form.clamp_s:
            layer = self._changed(layer, Codec("gzip"), form.clamp_s)
        return self._changed(layer, form.codec, form.clamp_s)

    def recompressed(self, layer: BuiltLayer, codec: Codec) -> BuiltLayer:
        """The same layer in a compression."""
        return layer if layer.codec == str(codec) else self._changed(layer, codec, layer.clamp_s)

    def _changed(self, layer: BuiltLayer, codec: Codec, clamp_s: int | None) -> BuiltLayer:
        def make() -> tuple[Digest, Descriptor]:
            writer = self._writer_of(codec, clamp_s)
            if clamp_s == layer.clamp_s:
                return writer.recompress(layer.stored, self._cancel)
            return writer.write(layer.stored.entries(), self._cancel)

        created_ns = layer.created_ns or 0
        diff_id, d = remembered(self._store, layer.diff_id, codec, clamp_s, make, created_ns=created_ns)
        return self._made(layer, codec, clamp_s, diff_id, d)

    def made(
        self,
        like: BuiltLayer,
        what: Mapping[str, object],
        codec: Codec,
        clamp_s: int | None,
        write: Callable[[LayerWriter], tuple[Digest, Descriptor]],
    ) -> BuiltLayer:
        """A layer that is made of several: written, or what was written before.

        Args:
            like: what the new one is like, but for its bytes; the uppermost of them.
            what: tells which layer that is.
            codec: its compression.
            clamp_s: what its times are clamped to, in seconds.
            write: writes it.
        """

        def make() -> tuple[Digest, Descriptor]:
            return write(self._writer_of(codec, clamp_s))

        created_ns = like.created_ns or 0
        diff_id, d = remembered(
            self._store, like.diff_id, codec, clamp_s, make, created_ns=created_ns, what=what
        )
        return self._made(like, codec, clamp_s, diff_id, d)

    def _made(
        self, layer: BuiltLayer, codec: Codec, clamp_s: int | None, diff_id: Digest, descriptor: Descriptor
    ) -> BuiltLayer:
        stored = self._store.layers.layer(diff_id, descriptor.digest)
        return replace(
            layer, diff_id=diff_id, descriptor=descriptor, stored=stored, codec=str(codec), clamp_s=clamp_s
        )
