"""A proxy that stands between a client and a registry and breaks what it is told to.

    with FaultProxy(registry.host) as proxy:
        proxy.on("PATCH|PUT", r"/blobs/uploads/", CutRequest(after=1 << 20))
        push(f"{proxy.host}/app")
        assert proxy.sent("/blobs/uploads/") < size + (2 << 20)

A rule meets the first `times` requests that fit; every exchange is kept in `proxy.exchanges` with the bytes
that truly passed. Client connections are kept alive, the registry gets a new one for each request.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Self

from imagesmith.embedded.heads import Refusal
from imagesmith.embedded.wire import Connection, Gone, Request

_PIECE = 64 << 10
_OWN = {"connection", "keep-alive", "transfer-encoding", "expect", "content-length"}


class Fault:
    """What goes wrong with one exchange; as it is, nothing."""

    #: How many bytes of the request's body reach the registry before both connections break.
    cut_request: int | None = None

    def answer(self) -> tuple[int, dict[str, str], bytes] | None:
        """An answer in place of the registry's."""
        return None

    def headers(self, headers: dict[str, str]) -> dict[str, str]:
        """The answer's headers."""
        return headers

    def pieces(self, pieces: Iterable[bytes], exchange: Exchange) -> Iterable[bytes]:
        """The answer's body."""
        return pieces


class _Break(Exception):
    """Close the client's connection now."""


@dataclass(frozen=True)
class CutRequest(Fault):
    """The connection breaks after `after` bytes of the request's body."""

    after: int

    @property
    def cut_request(self) -> int:  # type: ignore[override]
        return self.after


@dataclass(frozen=True)
class CutResponse(Fault):
    """The connection breaks after `after` bytes of the answer's body."""

    after: int

    def pieces(self, pieces: Iterable[bytes], exchange: Exchange) -> Iterable[bytes]:
        yield from _first(pieces, self.after)
        raise _Break


@dataclass(frozen=True)
class Stall(Fault):
    """The answer stands still after `after` bytes, until the client leaves or `released` is set."""

    after: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def pieces(self, pieces: Iterable[bytes], exchange: Exchange) -> Iterable[bytes]:
        yield from _first(pieces, self.after)
        while not self.released.wait(0.02) and not exchange.left():
            pass
        raise _Break


@dataclass(frozen=True)
class Answer(Fault):
    """The proxy answers by itself; the registry sees nothing."""

    status: int
    more: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"errors":[{"code":"UNKNOWN","message":"made by the fault proxy"}]}'

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        return self.status, {"Content-Type": "application/json", **self.more}, self.body


@dataclass(frozen=True)
class Corrupt(Fault):
    """One byte of the answer's body is another: the length is right, the digest is not."""

    at: int = 0

    def pieces(self, pieces: Iterable[bytes], exchange: Exchange) -> Iterable[bytes]:
        offset = 0
        for piece in pieces:
            if offset <= self.at < offset + len(piece):
                changed = bytearray(piece)
                changed[self.at - offset] ^= 0x55
                piece = bytes(changed)
            offset += len(piece)
            yield piece


@dataclass(frozen=True)
class Length(Fault):
    """Content-Length is `by` bytes more (or fewer) than what is sent before the connection ends."""

    by: int

    def headers(self, headers: dict[str, str]) -> dict[str, str]:
        if "Content-Length" not in headers:
            return headers
        return {**headers, "Content-Length": str(int(headers["Content-Length"]) + self.by)}

    def pieces(self, pieces: Iterable[bytes], exchange: Exchange) -> Iterable[bytes]:
        yield from pieces
        raise _Break


@dataclass(frozen=True)
class Truncate(Fault):
    """Only `to` bytes are sent, and Content-Length says so: a document that ends too early."""

    to: int

    def headers(self, headers: dict[str, str]) -> dict[str, str]:
        return {**headers, "Content-Length": str(min(self.to, int(headers["Content-Length"])))}

    def pieces(self, pieces: Iterable[bytes], exchange: Exchange) -> Iterable[bytes]:
        yield from _first(pieces, self.to)


@dataclass(frozen=True)
class Header(Fault):
    """A header of the answer has another value; None takes it away."""

    name: str
    value: str | None

    def headers(self, headers: dict[str, str]) -> dict[str, str]:
        out = {k: v for k, v in headers.items() if k.lower() != self.name.lower()}
        return out if self.value is None else {**out, self.name: self.value}


@dataclass(frozen=True)
class Before(Fault):
    """Something happens before the request goes on, for instance all tokens expire."""

    what: Callable[[], object]

    def answer(self) -> None:
        self.what()


@dataclass(frozen=True)
class Away(Fault):
    """The registry is stopped, and started again after `seconds`: until then nothing listens."""

    proxy: FaultProxy
    seconds: float

    def answer(self) -> None:
        self.proxy.go_away(self.seconds)
        raise _Break


@dataclass(frozen=True)
class Reset(Fault):
    """The connection breaks in place of an answer."""

    def answer(self) -> None:
        raise _Break


@dataclass(frozen=True)
class LostAnswer(Fault):
    """The registry does what it is asked to; nobody hears of it."""

    def headers(self, headers: dict[str, str]) -> dict[str, str]:
        raise _Break


@dataclass
class Exchange:
    """One request and what became of it."""

    method: str
    target: str
    socket: socket.socket
    headers: dict[str, str]
    fault: Fault | None = None
    status: int = 0
    sent: int = 0  # bytes of the request's body that reached the registry
    got: int = 0  # bytes of the answer's body that reached the client

    def left(self) -> bool:
        """Whether the client closed its side."""
        try:
            return self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


@dataclass
class _Rule:
    method: re.Pattern[str]
    target: re.Pattern[str]
    fault: Fault
    times: int


class FaultProxy:
    """Listens on a free port and passes requests on to `upstream` (host:port)."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.exchanges: list[Exchange] = []
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address = self._listener.getsockname()
        self.host = f"127.0.0.1:{self._address[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()
        for thread in self._threads:
            thread.join(5)
        self._hang_up()  # it may have come back meanwhile

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            left = list(self._open)
        for sock in left:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def go_away(self, seconds: float) -> None:
        """Stop to listen, break what is open, and come back on the same port."""
        self._hang_up()

        def come_back() -> None:
            time.sleep(seconds)
            self._listener = socket.create_server(self._address)
            self._accept()

        self._threads.append(threading.Thread(target=come_back, daemon=True))
        self._threads[-1].start()

    def on(self, method: str, target: str, fault: Fault, *, times: int = 1) -> None:
        """Break the next `times` requests whose method and address fit the two patterns."""
        with self._lock:
            self._rules.append(_Rule(re.compile(method), re.compile(target), fault, times))

    @property
    def unused(self) -> list[Fault]:
        """The faults that have not happened as often as they were to."""
        return [rule.fault for rule in self._rules if rule.times]

    def seen(self, method: str = "", target: str = "") -> list[Exchange]:
        """The exchanges that fit two patterns."""
        return [
            e
            for e in list(self.exchanges)
            if (not method or re.fullmatch(method, e.method)) and re.search(target, e.target)
        ]

    def sent(self, target: str = "") -> int:
        """How many bytes of request bodies reached the registry."""
        return sum(e.sent for e in self.seen(target=target))

    def got(self, target: str = "") -> int:
        """How many bytes of answers reached the client."""
        return sum(e.got for e in self.seen(target=target))

    # inside

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock, idle_s=300, stall_s=300)
        try:
            while request := connection.read_request():
                self._exchange(connection, request)
        except (Gone, Refusal, _Break, OSError):
            pass
        finally:
            with self._lock:
                self._open.discard(sock)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _fault(self, request: Request) -> Fault | None:
        with self._lock:
            for rule in self._rules:
                fits = rule.method.fullmatch(request.method) and rule.target.search(request.target)
                if rule.times and fits:
                    rule.times -= 1
                    return rule.fault
        return None

    def _exchange(self, connection: Connection, request: Request) -> None:
        fault = self._fault(request)
        exchange = Exchange(request.method, request.target, connection.sock, request.headers, fault)
        self.exchanges.append(exchange)
        fault = fault or Fault()
        own = fault.answer()
        if own:
            request.body.discard(1 << 40)
            status, headers, body = own
            self._reply(connection, exchange, status, {**headers, "Content-Length": str(len(body))}, [body])
            return
        upstream = http.client.HTTPConnection(self.upstream, timeout=300)
        try:
            self._pass_on(upstream, request, exchange, fault)
            answer = upstream.getresponse()
            headers = {k: v for k, v in answer.getheaders() if k.lower() not in _OWN}
            length = answer.getheader("Content-Length")
            pieces: Iterable[bytes] = iter(lambda: answer.read1(_PIECE), b"")
            if length is None and answer.status not in (204, 304) and request.method != "HEAD":
                pieces = [answer.read()]
                length = str(len(pieces[0]))
            if length is not None:
                headers["Content-Length"] = length
            if request.method == "HEAD" or answer.status in (204, 304):
                pieces = []
            else:
                pieces = fault.pieces(pieces, exchange)
            self._reply(connection, exchange, answer.status, fault.headers(headers), pieces)
        finally:
            upstream.close()

    @staticmethod
    def _pass_on(
        upstream: http.client.HTTPConnection, request: Request, exchange: Exchange, fault: Fault
    ) -> None:
        body, chunked = request.body, request.body.length is None
        upstream.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            if name not in _OWN:
                upstream.putheader(name, value)
        if chunked:
            upstream.putheader("Transfer-Encoding", "chunked")
        elif body.length or "content-length" in request.headers:
            upstream.putheader("Content-Length", str(body.length))
        upstream.putheader("Connection", "close")
        upstream.endheaders()
        view = memoryview(bytearray(_PIECE))
        limit = fault.cut_request
        while True:
            room = len(view) if limit is None else min(len(view), limit - exchange.sent)
            if limit is not None and not room:
                _hang_up(upstream.sock)
                raise _Break
            got = body.readinto(view[:room])
            if not got:
                break
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it answered early
                upstream.send(b"%x\r\n%s\r\n" % (got, view[:got]) if chunked else view[:got])
            exchange.sent += got
        if chunked:
            upstream.send(b"0\r\n\r\n")

    @staticmethod
    def _reply(
        connection: Connection,
        exchange: Exchange,
        status: int,
        headers: dict[str, str],
        pieces: Iterable[bytes],
    ) -> None:
        lines = [f"HTTP/1.1 {status} From The Fault Proxy", *(f"{k}: {v}" for k, v in headers.items())]
        exchange.status = status  # before the client, who may look at it then, has the answer
        connection.send_all(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if exchange.method == "HEAD":
            return
        for piece in pieces:
            exchange.got += len(piece)
            connection.send_all(piece)


def _hang_up(sock: socket.socket) -> None:
    """Send no more, and wait until the registry has taken what came and hung up, too."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(5)
        while sock.recv(_PIECE):
            pass


def _first(pieces: Iterable[bytes], count: int) -> Iterable[bytes]:
    for piece in pieces:
        if len(piece) >= count:
            if count:
                yield piece[:count]
            return
        count -= len(piece)
        yield piece
