"""Direct connections: kept open between requests, so many at most, each for one request at a time.

Why of our own: see answers.py; framing.py says why not the standard library's. A request on a connection that
was kept is sent once more, on a new one, where nothing of an answer came and it only reads (GET, HEAD): the
server had closed it at the same time.
Spec: RFC 9112, section 9; RFC 9110, 15.2.
Trust: what is read goes through framing.py, and a drip is given up (patience.py). Headers of ours come from
configuration and from addresses that registries name: line ends in them are errors.
Threads: any; a connection belongs to one request until its answer is read or closed.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from imagesmith.registry.address import Address, address_of
from imagesmith.registry.answers import (
    Answer,
    ConnectError,
    ConnectTimeout,
    Headers,
    InvalidURL,
    LocalProtocolError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    WriteError,
    WriteTimeout,
)
from imagesmith.registry.framing import Head, Reader
from imagesmith.registry.patience import Patience

if TYPE_CHECKING:
    import ssl

__all__ = ["Wire"]

#: A connection that nobody used for so long (seconds) is not used again: servers close them then.
_IDLE_S = 5.0
#: How much is sent at once through TLS; each has the whole time-out.
_TLS_BYTES = 1 << 16
#: A body's first piece goes with the head if it is so short.
_TOGETHER_BYTES = 1 << 14
_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_BAD_VALUE = re.compile(r"[\0\r\n]")
_SAFE = ("GET", "HEAD")


class _Connection:
    """One connection."""

    def __init__(self, sock: socket.socket, origin: tuple[bool, str, int]) -> None:
        self._sock, self.origin = sock, origin
        self._is_tls = origin[0]
        self._patience, self._since = Patience(), 0.0
        self.reader = Reader(self._receive)
        self.answered = self.is_whole = False

    def close(self) -> None:
        """Close it."""
        self._sock.close()

    def end(self) -> None:
        """Close it, and let a thread that waits for it go on; that may be in the midst of a record of TLS."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)  # TLS's own would send the rest in the open
        self._sock.close()

    def rest(self) -> None:
        """It is not used from now on."""
        self._since = time.monotonic()

    def is_stale(self) -> bool:
        """True if it was unused for long, or the other side closed it: what else is there to be read?"""
        return time.monotonic() - self._since > _IDLE_S or self._is_readable()

    def _is_readable(self) -> bool:
        if self._is_tls and self._sock.pending():  # type: ignore[attr-defined]  # an SSLSocket
            return True
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def exchange(self, method: str, request: bytes, body: Iterable[bytes] | None, length: int) -> Head:
        """Send a request, and read the head of its answer; `length` is the body's, -1 for chunks.

        A server may answer, and hang up or read no more, before it has all; then its answer counts, not that
        sending failed.
        """
        self.answered = self.is_whole = False
        try:
            self._send_all(request, body, length)
            self.is_whole = True
        except WriteError:
            pass
        except WriteTimeout:
            if not self._is_readable():
                raise
        return self.reader.head(method)

    def _send_all(self, request: bytes, body: Iterable[bytes] | None, length: int) -> None:
        if body is None:
            self._send(request)
            return
        sent, head = 0, request
        if length < 0:
            self._send(head)
        for piece in body:
            if not piece:
                continue
            if length < 0:
                self._send(b"%x\r\n" % len(piece), piece, b"\r\n")
                continue
            sent += len(piece)
            if sent > length:
                raise LocalProtocolError("Too much data for declared Content-Length")
            self._send(head, piece)
            head = b""
        if length < 0:
            self._send(b"0\r\n\r\n")
        elif sent != length:
            raise LocalProtocolError("Too little data for declared Content-Length")
        elif head:
            self._send(head)

    def _send(self, *parts: bytes) -> None:
        if sum(map(len, parts)) <= _TOGETHER_BYTES:
            parts = (b"".join(parts),)
        views = [memoryview(part) for part in parts if part]
        self._patience.begin()
        try:
            while views:
                sent = self._sock.send(views[0][:_TLS_BYTES]) if self._is_tls else self._sock.sendmsg(views)
                while views and sent >= len(views[0]):
                    sent -= len(views.pop(0))
                if sent:
                    views[0] = views[0][sent:]
        except TimeoutError as e:
            raise WriteTimeout(str(e)) from e
        except (OSError, ValueError) as e:  # ValueError: another thread closed it
            raise WriteError(str(e)) from e

    def _receive(self, most: int) -> bytes:
        began = time.monotonic()
        try:
            data = self._sock.recv(most)
        except TimeoutError as e:
            raise ReadTimeout(str(e)) from e
        except (OSError, ValueError) as e:
            raise ReadError(str(e)) from e
        self.answered = self.answered or bool(data)
        lost = self._patience.lost(time.monotonic() - began, len(data))
        if lost:
            raise ReadTimeout(lost)
        return data


class Wire:
    """Sends requests to whoever their addresses name; see answers.Sender."""

    def __init__(self, connections: int, timeout_s: float, context: ssl.SSLContext | None = None) -> None:
        """Prepare, without a connection.

        Args:
            connections: how many are open at the same time, at most; a request waits for one.
            timeout_s: how long (seconds) silence is borne; that nobody takes the connection 20 s at most.
            context: for https.
        """
        self._most, self._timeout_s, self._context = connections, timeout_s, context
        if context is not None:
            context.set_alpn_protocols(["http/1.1"])
        self._change = threading.Condition()
        self._idle: deque[_Connection] = deque()  # the one that was used last comes last
        self._busy: set[_Connection] = set()
        self._coming = 0  # connections that are being made

    def close(self) -> None:
        """Close all connections."""
        with self._change:
            found = [*self._idle, *self._busy]
            self._idle.clear()
            self._busy.clear()
            self._change.notify_all()
        for connection in found:
            connection.end()

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Iterable[bytes] | None) -> Answer:
        """Send a request, and read the head of its answer; see answers.Sender."""
        address = address_of(url)
        if address.https and self._context is None:
            raise InvalidURL("it is of https, and nothing says whom to trust")
        request, length = _request(method, address, headers, body)
        while True:
            connection, fresh = self._taken(address)
            try:
                head = connection.exchange(method, request, body, length)
            except (ReadError, RemoteProtocolError):
                self.drop(connection)
                if fresh or connection.answered or body is not None or method not in _SAFE:
                    raise
                continue
            except BaseException:
                self.drop(connection)
                raise
            return Answer(head.status, Headers(head.lines), url, _Body(self, connection, head))

    # --- connections ---------------------------------------------------------------------------

    def drop(self, connection: _Connection) -> None:
        """Close a connection that is not to be used again."""
        connection.close()
        with self._change:
            self._busy.discard(connection)
            self._change.notify()

    def keep(self, connection: _Connection) -> None:
        """Give back a connection whose answer was read to its end."""
        with self._change:
            known = connection in self._busy
            if known:
                self._busy.discard(connection)
                connection.rest()
                self._idle.append(connection)
                self._change.notify()
        if not known:  # closed meanwhile
            connection.close()

    def _taken(self, address: Address) -> tuple[_Connection, bool]:
        """A connection, and whether it is new."""
        origin = (address.https, address.host, address.port)
        with self._change:
            kept = self._kept(origin)
            if kept is not None:
                return kept, False
            self._coming += 1
        try:
            made = _Connection(self._connected(address), origin)
        except BaseException:
            with self._change:
                self._coming -= 1
                self._change.notify()
            raise
        with self._change:
            self._coming -= 1
            self._busy.add(made)
        return made, True

    def _kept(self, origin: tuple[bool, str, int]) -> _Connection | None:
        """A connection that is open and unused; None where a new one may be made."""
        while True:
            for connection in [c for c in reversed(self._idle) if c.origin == origin]:
                self._idle.remove(connection)
                if not connection.is_stale():
                    self._busy.add(connection)
                    return connection
                connection.close()
            while self._idle and len(self._idle) + len(self._busy) + self._coming >= self._most:
                self._idle.popleft().close()  # of another origin
            if len(self._busy) + self._coming < self._most:
                return None
            self._change.wait()

    def _connected(self, address: Address) -> socket.socket:
        """A connection to a server, by the first of its addresses that takes it."""
        try:
            host = address.host.encode("ascii")  # for a text the codec of names would be imported
            where: tuple[Any, int] = (host, address.port)
            sock = socket.create_connection(where, min(20.0, self._timeout_s))
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if address.https:
                    assert self._context is not None
                    sock = self._context.wrap_socket(sock, server_hostname=address.host)
                sock.settimeout(self._timeout_s)
            except BaseException:
                sock.close()
                raise
        except TimeoutError as e:
            raise ConnectTimeout(str(e)) from e
        except (OSError, ValueError) as e:  # ValueError: a name that is none (UnicodeError, TLS)
            raise ConnectError(str(e)) from e
        return sock


class _Body:
    """The body of an answer, whose end gives the connection back."""

    def __init__(self, wire: Wire, connection: _Connection, head: Head) -> None:
        self._wire, self._connection, self._head = wire, connection, head
        self._pieces = connection.reader.body(head)
        self._is_open, self._is_whole = True, False
        if head.length == 0:
            self._end()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._is_whole:
            raise StopIteration
        if not self._is_open:
            raise ReadError("the rest of the answer was given up")
        try:
            piece = next(self._pieces, b"")
        except BaseException:
            self.close()
            raise
        if not piece:
            self._end()
            raise StopIteration
        return piece

    def _end(self) -> None:
        connection, self._is_whole = self._connection, True
        if self._head.reusable and connection.is_whole and connection.reader.is_clean():
            self._is_open = False
            self._wire.keep(connection)
        else:
            self.close()

    def close(self) -> None:
        """Give up what is not read yet."""
        if self._is_open:
            self._is_open = False
            self._wire.drop(self._connection)


def _request(
    method: str, address: Address, headers: Mapping[str, str], body: Iterable[bytes] | None
) -> tuple[bytes, int]:
    """The head of a request, and the length of its body, -1 for chunks."""
    given = {name.lower(): value for name, value in headers.items()}
    lines = [f"{method} {address.target} HTTP/1.1"]
    if "host" not in given:
        lines.append(f"Host: {address.netloc}")
    length = -1
    for name, value in headers.items():
        if _NAME.fullmatch(name) is None or _BAD_VALUE.search(value):
            raise LocalProtocolError(f"Illegal header {name[:100]!r}")
        if not (address.login and name.lower() == "authorization"):
            lines.append(f"{name}: {value.strip()}")
    if address.login:
        lines.append(f"Authorization: {address.login}")
    if "content-length" in given:
        said = given["content-length"]
        if not (said.isascii() and said.isdigit()):
            raise LocalProtocolError("bad Content-Length")
        length = int(said)
    elif body is None:
        lines += ["Content-Length: 0"] if method in ("POST", "PUT", "PATCH") else []
    elif "transfer-encoding" not in given:
        lines.append("Transfer-Encoding: chunked")
    try:
        return ("\r\n".join(lines) + "\r\n\r\n").encode(), length
    except UnicodeEncodeError as e:
        raise LocalProtocolError("a header that is no text") from e
