"""`build --squash`: all that a build adds to its base in one layer on top of it.

Why of views and not of tars: what a step wrote and a later one deleted or changed is then not in it, which is
what it is asked for; and what is as the base has it needs no entry.
Spec: docker build --squash (moby's daemon/images/image_squash.go): the base's layers stay, and the history
keeps every entry; see image/commit.py.
Trust: layers of the base are others': they are seen through views only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from imagesmith.fs.entry import Entry
from imagesmith.fs.entry import replace as changed
from imagesmith.fs.view import View, flat
from imagesmith.image.forms import Form, Reforming
from imagesmith.layer.codecs import Codec
from imagesmith.layer.diff import layer_entries
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.solve.result import BuiltLayer, Result
from imagesmith.values import frozen, replace

__all__ = ["Squash", "squashed"]


@frozen
class Squash:
    """The layers of an image, and those that they were made of, with the same times; or none."""

    layers: tuple[BuiltLayer, ...]
    of: tuple[BuiltLayer, ...] = ()


def squashed(result: Result, form: Form, reforming: Reforming) -> Squash:
    """The layers of the base, and one in the place of the new ones; as they are where there are none.

    Args:
        result: what was built.
        form: the compression and the times of the new layer.
        reforming: knows layers that were made before.
    """
    base = [layer for layer in result.layers if layer.created_ns is None]
    new = result.layers[len(base) :]
    if not new:
        return Squash(result.layers)

    def write(writer: LayerWriter) -> tuple[Digest, Descriptor]:
        lower = result.view.lowest(len(base))
        entries = layer_entries(
            _changes(result.view, lower, writer.held_ns), set(), lower, spool=reforming.store.new_spool
        )
        return writer.write(entries, reforming.cancel)

    codec = Codec("gzip") if form.codec.is_estargz else form.codec  # its table is made of a finished layer
    like = replace(new[-1], name="", codec=str(codec), clamp_s=form.clamp_s)
    what = {"squash": [str(layer.diff_id) for layer in result.layers], "base": len(base)}
    of = result.layers
    if any(layer.clamp_s != form.clamp_s for layer in new):  # written for an output with other times
        of = reforming.layers(of, replace(form, codec=codec, force=False))
    return Squash((*base, reforming.made(like, what, codec, form.clamp_s, write)), of)


def _changes(view: View, lower: View, held: Callable[[int], int]) -> Iterator[Entry]:
    """All that a view shows, and the names of the one below that it has no more.

    Args:
        view: the whole image.
        lower: its base.
        held: what the new layer holds of a time; what is the base's keeps its own.
    """
    for e in flat(view):
        old = lower.get(e.path)
        is_bases = old is not None and old.mtime_ns == e.mtime_ns
        yield e if is_bases else changed(e, mtime_ns=held(e.mtime_ns))
    for e in lower.walk():
        if view.get(e.path) is None:
            yield Entry(e.path, "w")
