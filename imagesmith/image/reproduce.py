"""Build an image again and hold it against the one that exists, layer by layer and field by field.

Why: an image that two builders, or two machines, make alike can be trusted. The build runs under the epoch
that the image was built with, and what is compared is what the image's ID is made of: the uncompressed layers
and the config. Compression and names are not.
Trust: the image may come from anywhere: documents are verified, layers are read by tarread.py only.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from imagesmith.errors import DigestMismatch, InvalidDocument
from imagesmith.image.commit import Image
from imagesmith.interfaces import ImageSource
from imagesmith.layer.compare import Difference, compare_tars
from imagesmith.layer.decompress import decompressed
from imagesmith.oci.config import ImageConfig, config_object
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Manifest
from imagesmith.oci.times import parse_epoch, parse_ns
from imagesmith.request import BuildRequest, Output
from imagesmith.solve.result import BuiltLayer
from imagesmith.store.disk import spool
from imagesmith.store.store import Store
from imagesmith.values import frozen, replace

__all__ = ["LayerReport", "Original", "Report", "epoch_of", "is_rewritten", "reproduce"]

_REWRITTEN = "buildkit/rewritten-timestamp"

#: How many differences of a layer, or of the config, are looked for.
_MOST = 1000


@frozen
class Original:
    """The image that exists: where it is read, its manifest, and its config as it was stored."""

    source: ImageSource
    manifest: Manifest
    raw_config: bytes


@frozen
class LayerReport:
    """A layer that differs; `number` counts from 1, `made_by` is its history. A side without it has None."""

    number: int
    made_by: str
    there: Digest | None
    here: Digest | None
    differences: tuple[Difference, ...] = ()


@frozen(kw_only=True)
class Report:
    """What was found. `there` and `here` are the image IDs: the digests of the configs."""

    there: Digest
    here: Digest
    epoch: int | None
    count: int
    layers: tuple[LayerReport, ...]
    config: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """True if it is the same image."""
        return self.there == self.here and not self.layers

    def to_json(self) -> dict[str, Any]:
        """The report as a document."""

        def rows(found: Sequence[Difference]) -> list[dict[str, str]]:
            return [{"path": d.path, "field": d.field, "there": d.there, "here": d.here} for d in found]

        return {
            "equal": self.equal,
            "imageID": {"there": str(self.there), "here": str(self.here)},
            "epoch": self.epoch,
            "layers": [
                {
                    "number": r.number,
                    "createdBy": r.made_by,
                    "diffID": {"there": r.there and str(r.there), "here": r.here and str(r.here)},
                    "differences": rows(r.differences),
                }
                for r in self.layers
            ],
            "config": rows(self.config),
        }


def epoch_of(original: Original) -> int | None:
    """The SOURCE_DATE_EPOCH that an image was built under, in seconds; None if it was under none.

    Rewritten layers tell it themselves; else it is the config's time, if that has no fraction of a second.
    """
    for layer in original.manifest.layers:
        seconds = parse_epoch(layer.annotations.get(_REWRITTEN, ""))
        if seconds is not None:
            return seconds
    created = ImageConfig.parse(original.raw_config).created
    if not created:
        return None
    seconds, fraction = divmod(parse_ns(created), 1_000_000_000)
    return None if fraction else seconds


def is_rewritten(original: Original) -> bool:
    """True if a layer says that the times in it were set to the image's epoch."""
    return any(_REWRITTEN in layer.annotations for layer in original.manifest.layers)


def reproduce(
    original: Original,
    request: BuildRequest,
    store: Store,
    build: Callable[[BuildRequest], Image],
) -> Report:
    """Build under the image's epoch, unless `request` has one, and compare.

    Every step is executed: what the cache holds may be the very image that is looked at.

    Args:
        original: the image.
        request: how it was built, as far as that is known.
        store: has the layers of what is built.
        build: builds an image.

    Raises:
        ImagesmithError: the build failed, or the image cannot be read.
    """
    epoch = epoch_of(original)
    args = dict(request.build_args)
    if epoch is not None:
        args.setdefault("SOURCE_DATE_EPOCH", str(epoch))
    output = Output(type="cacheonly", options={"rewrite-timestamp": "true"})
    wanted = replace(request, build_args=args, outputs=(output,), no_cache=())
    built = build(wanted)
    config = ImageConfig.parse(original.raw_config)
    if len(config.diff_ids) != len(original.manifest.layers):
        raise InvalidDocument(f"{original.source.name}: layers and diff_ids differ in number")
    made_by = [h.created_by for h in config.history if not h.empty_layer]
    reports = []
    for n, (there, here) in enumerate(itertools.zip_longest(config.diff_ids, built.layers)):
        if here is not None and there == here.diff_id:
            continue
        report = LayerReport(
            n + 1,
            made_by[n] if n < len(made_by) else here.name if here is not None else "",
            there,
            None if here is None else here.diff_id,
        )
        if there is not None and here is not None:
            report = replace(report, differences=_layer(original, n, there, here, store))
        reports.append(report)
    raw = store.blobs.read(built.manifest.config.digest)
    return Report(
        there=original.manifest.config.digest,
        here=built.manifest.config.digest,
        epoch=built.form.epoch,
        count=len(config.diff_ids),
        layers=tuple(reports),
        config=tuple(itertools.islice(_documents(original.raw_config, raw), _MOST)),
    )


def _layer(
    original: Original, n: int, diff_id: Digest, here: BuiltLayer, store: Store
) -> tuple[Difference, ...]:
    """What differs in one layer."""
    here.stored.bring(here.descriptor.digest)
    ours = store.layers.layer(here.diff_id, here.descriptor.digest)
    with _plain(original, n, diff_id, store.work) as there, ours.open_tar() as tar:
        return tuple(itertools.islice(compare_tars(there, tar), _MOST))


@contextlib.contextmanager
def _plain(original: Original, n: int, diff_id: Digest, work: Path) -> Iterator[BinaryIO]:
    """The uncompressed tar of the original's layer, as a file that can be sought in."""
    doing = f"unpack layer {n + 1}"
    with spool(work, doing) as blob, spool(work, doing) as tar:
        for piece in original.source.pieces(original.manifest.layers[n]):
            blob.write(piece)
        blob.seek(0)
        hasher, plain = hashlib.sha256(), decompressed(blob)
        while data := plain.read(1 << 20):
            hasher.update(data)
            tar.write(data)
        if hasher.hexdigest() != diff_id.hex:
            raise DigestMismatch(f"layer {n + 1}: its diff_id is sha256:{hasher.hexdigest()}, not {diff_id}")
        yield tar


# --- configs -----------------------------------------------------------------------------------


def _documents(there: bytes, here: bytes) -> Iterator[Difference]:
    """Where two configs differ; diff_ids are left to the layers."""
    if there == here:
        return
    a, b = (config_object(raw).data for raw in (there, here))
    found = False
    for difference in _values(a, b, ""):
        found = True
        if not difference.path.startswith("rootfs.diff_ids"):
            yield difference
    if not found:
        n = next((n for n, (p, q) in enumerate(zip(there, here, strict=False)) if p != q), -1)
        yield Difference(
            "", f"encoding, at byte {n}", repr(there[n : n + 24])[1:], repr(here[n : n + 24])[1:]
        )


def _values(a: object, b: object, path: str) -> Iterator[Difference]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            below = f"{path}.{key}" if path else key
            if key in a and key in b:
                yield from _values(a[key], b[key], below)
            else:
                yield Difference(below, "value", *(_text(x, key) for x in (a, b)))
    elif isinstance(a, list) and isinstance(b, list):
        for n in range(max(len(a), len(b))):
            if n < len(a) and n < len(b):
                yield from _values(a[n], b[n], f"{path}[{n}]")
            else:
                yield Difference(f"{path}[{n}]", "value", *(_text(x, n) for x in (a, b)))
    elif a != b:
        yield Difference(path, "value", json.dumps(a), json.dumps(b))


def _text(holder: dict[str, object] | list[object], key: Any) -> str:  # noqa: ANN401 - a name or a number
    if isinstance(holder, dict):
        return json.dumps(holder[key]) if key in holder else "missing"
    return json.dumps(holder[key]) if key < len(holder) else "missing"
