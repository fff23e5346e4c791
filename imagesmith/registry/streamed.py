"""A blob that is sent while it is made: its bytes are written as they come, its digest is known at the end.

Why: a layer can travel while it is still being compressed. One PATCH without a range carries all of it, the
form that docker and skopeo have always sent. A registry that refuses it, or a cut, fails the write; what was
made is in the store by then, and `upload` sends it as a whole.
Spec: OCI distribution-spec 1.1, end-5 and end-6.
Threads: written to and finished by one thread; the request runs on another.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

from imagesmith.errors import Cancelled, ImagesmithError
from imagesmith.oci.digest import Digest
from imagesmith.registry import quirks
from imagesmith.registry.client import Client
from imagesmith.registry.upload import OCTETS, begin, cancel, check_finished, next_location, put_last

__all__ = ["StreamedUpload"]

#: How many pieces may wait; a registry that is slower than the compressor slows it down.
_AHEAD = 16
#: How long (seconds) a request may take to end when it is given up.
_PATIENCE_S = 3.0


class StreamedUpload:
    """Takes bytes in order; a Sink for layer/stream.py. End it with `finish` or `abort`."""

    def __init__(self, client: Client) -> None:
        """Open a session and begin to send.

        Raises:
            RegistryError: the registry does not let us.
        """
        self._client, self._session = client, begin(client)
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._failure: BaseException | None = None
        self._aborted = False
        self._thread = threading.Thread(target=self._send, name="upload", daemon=True)
        self._thread.start()

    def write(self, data: bytes, /) -> None:
        """Append bytes.

        Raises:
            RegistryError: sending failed, now or before.
        """
        self._put(data)

    def finish(self, digest: Digest) -> None:
        """Name what was sent.

        Raises:
            DigestMismatch: the registry received other bytes.
            RegistryError: sending failed.
        """
        self._put(None)
        self._thread.join()
        self._check()
        check_finished(self._client, digest, put_last(self._client, digest, self._session, lambda: (), 0))

    def abort(self) -> BaseException | None:
        """Give up; harmless after `finish`. A registry that stalls is left to itself.

        Returns what ended the request before, if that is no word of ours: nobody else is told of it.
        """
        self._aborted = True
        deadline = time.monotonic() + _PATIENCE_S
        while self._thread.is_alive() and time.monotonic() < deadline:
            try:
                self._pieces.put(None, timeout=0.1)
            except queue.Full:
                continue
            self._thread.join(0.1)
        if self._failure is not None:
            cancel(self._client, self._session.url)
        return None if isinstance(self._failure, ImagesmithError) else self._failure

    def _put(self, data: bytes | None) -> None:
        while True:
            self._check()
            try:
                self._pieces.put(data, timeout=0.2)
                return
            except queue.Full:
                continue

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _body(self) -> Iterator[bytes]:
        while (data := self._pieces.get()) is not None:
            yield data
        if self._aborted:
            raise Cancelled("the upload was given up")

    def _send(self) -> None:
        client, session = self._client, self._session
        try:
            reply = client.transport.send(
                "PATCH",
                session.url,
                scopes=client.push_scope,
                headers={"Content-Type": OCTETS, "Transfer-Encoding": "chunked"},
                body=self._body,
                retry=False,
            )
            if not quirks.patch_accepted(reply.status):
                raise client.error(reply, ": streamed upload")
            if "location" in reply.headers:
                session.url = next_location(client, reply)
        except BaseException as e:  # raised again by the thread that writes
            self._failure = e
