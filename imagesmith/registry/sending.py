"""Which blobs a session knows to be in which repositories, and whose turn it is to send one.

Why: several images of one session have layers in common. Those that are pushed to one repository at the same
time would each send them, and those of one registry could not mount what another is just sending.
Threads: any.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from imagesmith.oci.digest import Digest

__all__ = ["Sending"]

#: A blob that a repository had is not asked for again for so long (seconds).
_TRUSTED_S = 60


class Sending:
    """What all repositories of a session share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: dict[tuple[str, Digest], threading.Lock] = {}
        self._seen: dict[tuple[str, Digest], float] = {}

    def saw(self, name: str, digest: Digest) -> None:
        """Learn that a repository (`registry/path`) has a blob."""
        self._seen[name, digest] = time.monotonic()

    def knows(self, name: str, digest: Digest) -> bool:
        """True if a repository had a blob not long ago."""
        return time.monotonic() < self._seen.get((name, digest), 0.0) + _TRUSTED_S

    @contextlib.contextmanager
    def turn(self, registry: str, digest: Digest) -> Iterator[None]:
        """A `with` in which nobody else brings the blob to any repository of the registry."""
        with self._lock:
            turn = self._turns.setdefault((registry, digest), threading.Lock())
        with turn:
            yield
