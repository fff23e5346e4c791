"""Read several layers at once: each is fetched if it must be, unpacked, and its index kept.

Why: a layer's way here is a download, then one core's decompression; of several the one's download goes on
while the other is unpacked. Each blob is read once, whatever is made of it.
Threads: some for a call; they have ended when it returns.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from imagesmith.concurrency import Background
from imagesmith.fs.layerindex import LayerIndex
from imagesmith.store.layers import Form, StoredLayer

__all__ = ["read_all", "read_or_told"]

#: So many layers are read at the same time.
_READERS = 4


def read_all(layers: Sequence[StoredLayer], form: Form = "") -> None:
    """Read those layers that nobody has read, and keep their tars in a form.

    Raises:
        BaseException: of the first layer that could not be read; see StoredLayer.index.
    """
    _each([layer for layer in dict.fromkeys(layers) if layer.unread], lambda layer: layer.unpack(form))


def read_or_told(
    layers: Sequence[StoredLayer], told: Callable[[StoredLayer], LayerIndex | None], form: Form = ""
) -> dict[StoredLayer, LayerIndex]:
    """The indexes of layers: of those that would have to be fetched what is told of them, if anything is.

    Raises:
        BaseException: of the first layer that could not be read; see StoredLayer.index.
    """
    found: dict[StoredLayer, LayerIndex] = {}

    def ask(layer: StoredLayer) -> None:
        if (index := told(layer)) is not None:
            found[layer] = index

    _each([layer for layer in dict.fromkeys(layers) if layer.absent], ask)
    read_all([layer for layer in layers if layer not in found], form)
    return found | {layer: layer.index() for layer in layers if layer not in found}


def _each(layers: list[StoredLayer], work: Callable[[StoredLayer], None]) -> None:
    """Do something to each of some layers, several at a time."""
    failed = threading.Event()

    def some() -> None:
        with contextlib.suppress(IndexError):
            while not failed.is_set():
                layer = layers.pop()
                try:
                    work(layer)
                except BaseException:  # raised again by who waits
                    failed.set()
                    raise

    readers = [Background(some, "reader") for _ in range(min(len(layers), _READERS) - 1)]
    try:
        some()
    finally:
        for reader in readers:
            reader.join()
