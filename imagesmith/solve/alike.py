"""Equal instructions on different file systems, as COPY for several platforms: a layer is written once.

Why: their layers are nearly always the same: what is copied, and folders on the way to it. Each is worked
out on its own base, as entries, which costs a fifth of the whole at most; where these are what an equal
instruction wrote in this solve, its layer is taken, and nothing is read, hashed and compressed again.
Why not by what an instruction asked of its base, so that the second one need not be worked out: whatever
looks at a base would have to be listened to, and one look that is forgotten makes a wrong layer. A layer's
bytes are made of its entries and of nothing else.
Trust: entries are whatever contexts, images and archives have; they are only compared.
Threads: equal instructions take turns.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Self

from imagesmith.fs.entry import Entry
from imagesmith.layer.diff import equal_content
from imagesmith.solve.result import BuiltLayer

__all__ = ["Alike"]

#: All that a layer has of an entry but its bytes.
_METADATA = attrgetter("path", "kind", "mode", "uid", "gid", "size", "mtime_ns", "link", "rdev", "capability")


class Alike:
    """What steps of one op share. A `with` is the turn of one of them.

    learns   see Work; None until the first one's turn
    """

    def __init__(self, steps: int) -> None:
        """Begin for so many steps."""
        self.learns: bool | None = None
        self._turn = threading.Lock()
        self._now_ns = 0
        self._left = steps
        self._written: list[tuple[Iterable[Entry], BuiltLayer]] = []

    def __enter__(self) -> Self:
        self._turn.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._turn.release()

    @property
    def now_ns(self) -> int:
        """The time (nanoseconds) of what any of them makes: that at which the first one was executed."""
        self._now_ns = self._now_ns or time.time_ns()
        return self._now_ns

    def layer(self, entries: Iterable[Entry], write: Callable[[], BuiltLayer]) -> BuiltLayer:
        """The layer that one of them wrote of the same entries, else what `write` makes.

        Entries are gone through more than once; they are held until the last step has its layer.
        """
        self._left -= 1
        layer = next((layer for written, layer in self._written if _equal(written, entries)), None)
        if layer is None:
            layer = write()
            self._written.append((entries, layer))
        if self._left <= 0:
            self._written.clear()
        return layer


def _equal(written: Iterable[Entry], entries: Iterable[Entry]) -> bool:
    """True if both make the same layer."""
    pairs = itertools.zip_longest(written, entries)
    return all(a is not None and b is not None and _same(a, b) for a, b in pairs)


def _same(written: Entry, e: Entry) -> bool:
    """True if both are the same in a layer; the second takes the digest that the first has by now."""
    if _METADATA(written) != _METADATA(e):
        return False
    if e.kind == "f" and e.size:
        ours, theirs = _source(e), _source(written)
        if ours != theirs or (ours is None and not equal_content(written, e)):
            return False
        e.digest = e.digest or written.digest
    return True


def _source(e: Entry) -> tuple[object, ...] | None:
    """What an entry's bytes are made of; None if only they themselves tell."""
    content = e.content
    return (type(content), *content.packed()) if content is not None and hasattr(content, "packed") else None
