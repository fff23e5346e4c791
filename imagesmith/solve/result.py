"""The file system that a step made: what its parent's is made of, and one layer more.

Why: results are links to what is below them, since a stage may have thousands of steps, and a list of all
layers for each would grow with their square. What each step asks for is kept beside the link.
Threads: values, but for what is worked out when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from imagesmith.fs.view import EMPTY_VIEW, LayerIndex, View
from imagesmith.oci.config import chain_id
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.store.layers import Form, StoredLayer
from imagesmith.store.reading import read_all, read_or_told
from imagesmith.transports.bases import ResolvedImage
from imagesmith.values import frozen

__all__ = ["NOTHING", "BuiltLayer", "Result"]


@frozen
class BuiltLayer:
    """A layer of a result; `created_ns` is None for a base image's, `name` is that of the step.

    codec and clamp_s tell how a new layer was written (see image/forms.py). A hollow layer is one that an
    earlier build made and that nobody has any more: its diff_id is known, its content is not.
    """

    diff_id: Digest
    descriptor: Descriptor
    stored: StoredLayer
    created_ns: int | None = None
    name: str = ""
    codec: str = ""
    clamp_s: int | None = None
    hollow: bool = False


class Result:
    """Layers, bottom first, and what they show.

    hollow   a layer has no content
    chain    their chain id; None without layers
    image    the base image that they begin with, if any
    """

    __slots__ = ("_below", "_fetching", "_outline", "_own", "_ready", "_view", "chain", "hollow", "image")

    def __init__(
        self,
        own: Sequence[BuiltLayer] = (),
        below: Result | None = None,
        image: ResolvedImage | None = None,
    ) -> None:
        self._own, self._below = tuple(own), below
        self._view: View | None = None
        self._outline: View | None = None
        self._ready = self._fetching = False
        self.hollow: bool = any(layer.hollow for layer in own) or (below is not None and below.hollow)
        self.image: ResolvedImage | None = image or (below.image if below is not None else None)
        self.chain: Digest | None = chain_id(
            [layer.diff_id for layer in own], below.chain if below is not None else None
        )

    def plus(self, layer: BuiltLayer) -> Result:
        """The result with one more layer on top."""
        return Result((layer,), self)

    def _down(self) -> Iterator[Result]:
        """This result and those below it."""
        at: Result | None = self
        while at is not None:
            yield at
            at = at._below

    @property
    def layers(self) -> tuple[BuiltLayer, ...]:
        """All layers, bottom first."""
        own = [result._own for result in self._down()]
        return tuple(layer for layers in reversed(own) for layer in layers)

    @property
    def top(self) -> BuiltLayer | None:
        """The topmost layer."""
        return next((result._own[-1] for result in self._down() if result._own), None)

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The layers' diff_ids."""
        return tuple(layer.diff_id for layer in self.layers)

    @property
    def view(self) -> View:
        """What is at which path; reads the layers' indexes."""
        if self._view is None:
            todo: list[Result] = []
            view = EMPTY_VIEW
            for result in self._down():
                if result._view is not None:
                    view = result._view
                    break
                todo.append(result)
            read_all([layer.stored for result in reversed(todo) for layer in result._own])
            for result in reversed(todo):
                for layer in result._own:
                    view = view.plus(layer.stored.index())
                result._view = view
            return view
        return self._view

    def outline(self, told: Callable[[StoredLayer], LayerIndex | None], form: Form = "") -> View:
        """`view`, by tables of layers that are not in the store: those are not read.

        Args:
            told: what a table tells of a layer, None where it is to be read.
            form: how the tars of layers that are read are kept.
        """
        todo: list[Result] = []
        view = EMPTY_VIEW
        for result in self._down():
            known = result._view or result._outline
            if known is not None:
                view = known
                break
            todo.append(result)
        layers = [layer.stored for result in reversed(todo) for layer in result._own]
        found = read_or_told(layers, told, form)
        for result in reversed(todo):
            for layer in result._own:
                view = view.plus(found[layer.stored])
            result._outline = view
        return view

    def to_fetch(self) -> list[StoredLayer]:
        """The layers that nobody has read, nor asked for here before."""
        out: list[StoredLayer] = []
        for result in self._down():
            if result._ready or result._fetching:
                break
            result._fetching = True
            out += (layer.stored for layer in result._own if layer.stored.unread)
        return out[::-1]

    def unread(self) -> list[StoredLayer]:
        """The layers that `was_read` was never called for, bottom first."""
        out: list[StoredLayer] = []
        for result in self._down():
            if result._ready:
                break
            out += (layer.stored for layer in reversed(result._own))
        return out[::-1]

    def was_read(self) -> None:
        """All layers have been read, and kept in the form that a RUN wants."""
        self._ready = True


NOTHING = Result()
