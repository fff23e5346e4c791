"""A large layer on its way to the registry while it is still being made.

Why: a gigabyte is compressed in seconds and sent in seconds, and both can be done at once. But what is sent
so has no digest yet, and the registry may have the layer: where a repository has images, the layer waits
until it is whole and can be asked for. Small layers wait as well, for they are sent in no time.
Why the registry's failures are not told: the layer is in the store in the end, and the push sends it with its
retries and its error message. Any other error is a fault of ours or of the machine, and ends the build: it is
raised where bytes are written, or else kept for who began this.
Spec: OCI distribution-spec 1.1, end-5 and end-6.
Threads: one that writes the layer, then any, each with a target of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from imagesmith.errors import ImagesmithError
from imagesmith.oci.digest import Digest
from imagesmith.registry.repository import Repository

if TYPE_CHECKING:
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
        self._streams: dict[Repository, StreamedUpload] = {}
        #: What ended an upload that was given up, and is no fault of the registry.
        self.faults: list[BaseException] = []

    def write(self, data: bytes, /) -> None:
        """Take the next bytes; a registry that refuses them is no failure."""
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
        from imagesmith.registry.streamed import StreamedUpload

        try:
            for target in self._targets():
                if target.is_new():
                    self._streams[target] = StreamedUpload(target.writer)
        except ImagesmithError as e:
            _log.debug("a layer is not sent before it is whole: %s", e.message)

    def _send(self, data: bytes) -> None:
        for target, stream in list(self._streams.items()):
            try:
                stream.write(data)
            except ImagesmithError as e:
                _log.debug("a layer is sent again when it is whole: %s", e.message)
                self._streams.pop(target, None)
                self._give_up(stream)

    def finish(self, target: Repository, digest: Digest) -> bool:
        """Name what was sent to a target; False if it has to be sent."""
        self._held = None
        stream = self._streams.pop(target, None)
        if stream is None:
            return False
        try:
            with target.turn(digest):
                stream.finish(digest)
                target.has_now(digest)
        except ImagesmithError as e:
            _log.debug("a layer is sent again when it is whole: %s", e.message)
            self._give_up(stream)
            return False
        return True

    def abort(self) -> None:
        """Give up what is not finished."""
        self._held = None
        while self._streams:
            self._give_up(self._streams.popitem()[1])

    def _give_up(self, stream: StreamedUpload) -> None:
        fault = stream.abort()
        if fault is not None:
            self.faults.append(fault)
