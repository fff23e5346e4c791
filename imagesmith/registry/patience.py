"""Connections on which an answer comes, or is given up: a server that sends a byte now and then has no end.

Why on the connection: a time-out of HTTP clients is for one read, and each byte begins it anew. What comes of
bodies is looked at elsewhere, too (bodies.pieces); a status line and headers are seen by nobody but the
client. Only time spent waiting counts, from the last byte that was sent.
Why by hand for proxies: httpx does not let a caller say how its connections are made; httpcore, on which it
stands, does.
Trust: the other side may send what it likes, as slowly as it likes.
Threads: a connection belongs to one request at a time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

__all__ = ["Patience", "patient"]

#: In so much time of waiting at least so many bytes come, or the connection is given up.
_SPAN_S, _LEAST_BYTES = 60.0, 1 << 10


class Patience:
    """How long one connection was waited for, and what came of it."""

    def __init__(self) -> None:
        self._waited_s, self._got = 0.0, 0

    def begin(self) -> None:
        """Something was sent: what is waited for begins anew."""
        self._waited_s, self._got = 0.0, 0

    def lost(self, waited_s: float, got: int) -> str:
        """Count a wait and the bytes that came of it; why there is to be no other one, or nothing."""
        self._waited_s += waited_s
        self._got += got
        if self._waited_s > _SPAN_S:
            if self._got < _LEAST_BYTES and got:
                return f"fewer than {_LEAST_BYTES} bytes a minute come"
            self.begin()
        return ""


def patient(client: httpx.Client) -> httpx.Client:
    """The client, with connections that give up a drip."""
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = _Backend(pool._network_backend)
    return client


class _Backend:
    """Makes connections; see httpcore.NetworkBackend."""

    def __init__(self, backend: Any) -> None:  # noqa: ANN401
        self._backend = backend

    def connect_tcp(self, *args: Any, **options: Any) -> _Stream:  # noqa: ANN401
        """See httpcore."""
        return _Stream(self._backend.connect_tcp(*args, **options))

    def sleep(self, seconds: float) -> None:
        """See httpcore."""
        self._backend.sleep(seconds)


class _Stream:
    """One connection; see httpcore.NetworkStream."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401
        self._stream, self._patience = stream, Patience()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has come; a time-out where too little came for too long."""
        began = time.monotonic()
        data: bytes = self._stream.read(max_bytes, timeout)
        lost = self._patience.lost(time.monotonic() - began, len(data))
        if lost:
            import httpcore

            raise httpcore.ReadTimeout(lost)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send; what is waited for begins anew."""
        self._patience.begin()
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        """See httpcore."""
        self._stream.close()

    def start_tls(self, *args: Any, **options: Any) -> _Stream:  # noqa: ANN401
        """See httpcore."""
        return _Stream(self._stream.start_tls(*args, **options))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401
        """See httpcore."""
        return self._stream.get_extra_info(info)
