"""Read several layers at once: each is fetched if it must be, unpacked, and its index kept.

Why: a layer's way here is a download, then one core's decompression; of several the one's download goes on
while the other is unpacked. Each blob is read once, whatever is made of it.
Threads: some for a call; they have ended when it returns.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

from imagesmith.concurrency import Background
from imagesmith.store.layers import Form, StoredLayer

__all__ = ["read_all"]

#: So many layers are read at the same time.
_READERS = 4


def read_all(layers: Sequence[StoredLayer], form: Form = "") -> None:
    """Read those layers that nobody has read, and keep their tars in a form.

    Raises:
        BaseException: of the first layer that could not be read; see StoredLayer.index.
    """
    unread = [layer for layer in dict.fromkeys(layers) if layer.unread]
    failed = threading.Event()

    def read() -> None:
        with contextlib.suppress(IndexError):
            while not failed.is_set():
                layer = unread.pop()
                try:
                    layer.unpack(form)
                except BaseException:  # raised again by who waits
                    failed.set()
                    raise

    readers = [Background(read, "reader") for _ in range(min(len(unread), _READERS) - 1)]
    try:
        read()
    finally:
        for reader in readers:
            reader.join()
