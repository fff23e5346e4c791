"""How many entries may be in memory at once, over all that hold some: drafts, rows of digests, indexes.

Why: each of them goes to a file when it is large (table.py), but a base of twenty layers, or four stages that
copy at the same time, are large together. Who holds more than a few asks here for more, and goes to a file
where nothing is left; only memory and time depend on it.
Threads: any.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import ClassVar

__all__ = ["CHUNK", "FEW", "Share", "free"]

#: So many entries one holder has in memory at most: in all, a build takes less than 150 MiB.
FEW = 100_000
#: So many all holders have together; what is copied is in a draft, in rows and in an index at the same time.
_ALL = 320_000
#: So many are asked for at once.
CHUNK = 4096
#: So many one has without asking: most layers have fewer.
_FREE = 1000


def free(few: int) -> int:
    """How many a holder of at most `few` has without asking."""
    return min(few, _FREE)


class Share:
    """What one holder was given; it goes back with it."""

    __slots__ = ("_count",)
    _lock: ClassVar = threading.Lock()
    _taken: ClassVar = 0
    #: What came back and is not counted yet: it may come at any time, also where this thread has the lock.
    _back: ClassVar = deque[int]()

    def __init__(self) -> None:
        self._count = 0

    def more(self, few: int) -> bool:
        """Take CHUNK more; False for one that has `few`, or where there are no more."""
        with self._lock:
            while self._back:
                Share._taken -= self._back.popleft()
            if self._count + _FREE >= few or Share._taken + CHUNK > _ALL:
                return False
            Share._taken += CHUNK
            self._count += CHUNK
        return True

    def give_back(self) -> None:
        """All of it is in a file now, or gone."""
        count, self._count = self._count, 0
        if count:
            self._back.append(count)

    def __del__(self) -> None:
        self.give_back()
