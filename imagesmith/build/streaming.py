"""A large layer on its way to the registry while it is still being made.

Why: a gigabyte is compressed in seconds and sent in seconds, and both can be done at once. But what is sent
so has no digest yet, and the registry may have the layer: where a repository has images, the layer waits
until it is whole and can be asked for. Small layers wait as well, for they are sent in no time.
Why failures are not told: the layer is in the store in the end, and the push sends it with its retries and
its error message.
Spec: OCI distribution-spec 1.1, end-5 and end-6.
Threads: one after the other: who writes the layer, then who ends it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from imagesmith.errors import ImagesmithError
from imagesmith.oci.digest import Digest
from imagesmith.registry.repository import Repository
from imagesmith.registry.streamed import StreamedUpload

__all__ = ["LayerStreams"]

_log = logging.getLogger(__name__)

#: Less than so many compressed bytes are not sent before the layer is whole.
_SMALL_BYTES = 8 << 20


class LayerStreams:
    """Takes the compressed bytes of one layer in order, and sends them to repositories that are new."""

    def __init__(self, targets: Callable[[], Sequence[Repository]]) -> None:
        """Prepare; `targets` are asked for when the layer turns out to be large."""
        self._targets = targets
        self._held: list[bytes] | None = []
        self._size = 0
        self._streams: list[tuple[Repository, StreamedUpload]] = []

    def write(self, data: bytes, /) -> None:
        """Take the next bytes; never fails."""
        if self._held is None:
            self._send(data)
            return
        self._held.append(data)
        self._size += len(data)
        if self._size >= _SMALL_BYTES:
            held, self._held = self._held, None
            self._begin()
            for piece in held:
                self._send(piece)

    def _begin(self) -> None:
        try:
            for target in self._targets():
                if target.is_new():
                    self._streams.append((target, StreamedUpload(target.writer)))
        except ImagesmithError as e:
            _log.debug("a layer is not sent before it is whole: %s", e.message)

    def _send(self, data: bytes) -> None:
        for pair in list(self._streams):
            try:
                pair[1].write(data)
            except ImagesmithError as e:
                _log.debug("a layer is sent again when it is whole: %s", e.message)
                self._streams.remove(pair)
                pair[1].abort()

    def finish(self, digest: Digest) -> list[Repository]:
        """Name what was sent; returns where that worked."""
        done = []
        for target, stream in self._streams:
            try:
                stream.finish(digest)
                target.has_now(digest)
                done.append(target)
            except ImagesmithError as e:
                _log.debug("a layer is sent again when it is whole: %s", e.message)
                stream.abort()
        self._streams = []
        return done

    def abort(self) -> None:
        """Give up; harmless after `finish`."""
        for _, stream in self._streams:
            stream.abort()
        self._streams, self._held = [], None
