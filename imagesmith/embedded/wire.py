"""HTTP/1.1 on one connection: requests with bodies that are streamed, answers that may be files.

Why: http.server reads headers through `email` and knows no chunked request bodies; a registry needs little
of HTTP, but that exactly: bodies read straight into the caller's buffer, sendfile, limits and time-outs.
Spec: RFC 9112 (messages), RFC 9110 (Expect, ranges are the caller's matter).
Trust: every byte read here comes from a client. Lines, heads and their number are capped, time-outs end
slow ones, and whatever two readers could take for different messages (a body's length, a line that does not
end in CR LF, a control character) is refused and the connection closed.
Threads: a connection belongs to one thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import unquote

from imagesmith.embedded.heads import (
    HEAD_FIELDS,
    Refusal,
    body_length,
    parse_fields,
    parse_headers,
    parse_request_line,
)
from imagesmith.errors import ImagesmithError
from imagesmith.values import frozen

__all__ = ["Body", "Connection", "FileBody", "Gone", "Request", "Response"]

HEAD_BYTES = 64 << 10
LINGER_BYTES, LINGER_S = 1 << 30, 10.0
CHUNK = 1 << 20

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")


class Gone(Exception):
    """The client went away or was too slow: there is nobody to answer."""


@frozen
class FileBody:
    """A part of an open file, which is closed once it is sent."""

    file: BinaryIO
    offset: int
    count: int


@dataclass(slots=True)
class Response:
    """An answer. An iterator as body must give exactly the bytes of its Content-Length header."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | FileBody | Iterator[bytes] = b""
    close: bool = False


class Body:
    """The bytes of a request, of a known length or in chunks; ends by returning 0."""

    def __init__(self, connection: Connection, length: int | None, *, expects: bool) -> None:
        self._connection, self._expects = connection, expects
        self._left = length or 0
        self.length = length
        self.ended = length == 0

    def readinto(self, view: memoryview) -> int:
        """Fill a part of the buffer and tell how much.

        Raises:
            Gone: the connection broke or stood still before the body's end.
            Refusal: a chunk that is none.
        """
        if self.ended:
            return 0
        if self._expects:
            self._expects = False
            self._connection.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.length is None and not self._left:
            self._next_chunk()
            if self.ended:
                return 0
        got = self._connection.receive_into(view[: min(len(view), self._left)])
        if not got:
            raise Gone("the connection ended within a body")
        self._left -= got
        if not self._left:
            if self.length is None:
                if self._connection.read_line(2):
                    raise Refusal(400, "a chunk of the body is longer than it says")
            else:
                self.ended = True
        return got

    def read(self, limit: int) -> bytes:
        """All of a small body.

        Raises:
            Refusal: it is longer than `limit` bytes.
        """
        if self.length is not None and self.length > limit:
            raise Refusal(413, f"the body is larger than {limit} bytes")
        out = bytearray()
        view = memoryview(bytearray(64 << 10))
        while got := self.readinto(view):
            out += view[:got]
            if len(out) > limit:
                raise Refusal(413, f"the body is larger than {limit} bytes")
        return bytes(out)

    def discard(self, limit: int) -> bool:
        """Read and forget what is left, at most `limit` bytes; True where the end was reached."""
        if self._expects:
            return self.ended
        view = memoryview(bytearray(256 << 10))
        with contextlib.suppress(Refusal):  # there is an answer already
            while limit > 0 and (got := self.readinto(view)):
                limit -= got
        return self.ended

    def _next_chunk(self) -> None:
        match = _CHUNK_SIZE.fullmatch(self._connection.read_line(1024))
        if not match:
            raise Refusal(400, "a chunk of the body has no size")
        self._left = int(match[1], 16)
        if not self._left:
            for _ in range(HEAD_FIELDS):
                if not self._connection.read_line(8 << 10):  # trailers are read and ignored
                    self.ended = True
                    return
            raise Refusal(431, "too many trailers")


@dataclass(slots=True)
class Request:
    """A request: the decoded path, the query's fields in order, headers by lower-case name."""

    method: str
    target: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: Body
    keep: bool
    socket: socket.socket

    def param(self, name: str) -> str | None:
        """The first value of a field of the query."""
        return next((value for key, value in self.query if key == name), None)


class Connection:
    """One client's connection."""

    def __init__(self, sock: socket.socket, *, idle_s: float, stall_s: float) -> None:
        self.sock, self._idle_s, self._stall_s = sock, idle_s, stall_s
        self._buffer = bytearray()
        self._plain = not isinstance(sock, ssl.SSLSocket)
        if self._plain:
            limit = struct.pack("@ll", int(stall_s), int(stall_s % 1 * 1_000_000))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def read_request(self) -> Request | None:
        """The next request; None where the client has no more.

        Raises:
            Gone: it broke or was too slow.
            Refusal: it is no proper request.
        """
        head = self._read_head()
        if head is None:
            return None
        lines = head.decode("latin-1").split("\r\n")
        method, target, version = parse_request_line(lines[0])
        headers = parse_headers(lines[1:])
        keep = "close" not in headers.get("connection", "").lower() and version == "HTTP/1.1"
        if version == "HTTP/1.1" and "host" not in headers:
            raise Refusal(400, "the Host header is missing")
        length = body_length(headers)
        expects = headers.get("expect", "").lower() == "100-continue"
        path, _, query = target.partition("?")
        fields = parse_fields(query)
        body = Body(self, length, expects=expects)
        return Request(method, target, unquote(path), fields, headers, body, keep, self.sock)

    def send(self, request: Request | None, response: Response) -> bool:
        """Write an answer; True where the connection can be used again.

        Raises:
            Gone: the client does not read it.
        """
        keep = bool(request and request.keep and not response.close)
        if keep and request and not request.body.ended:
            keep = request.body.discard(CHUNK)
        body, names = response.body, {name.lower() for name, _ in response.headers}
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
        lines += [f"{name}: {_clean(value)}" for name, value in response.headers]
        if "content-length" not in names and response.status not in (204, 304):
            count = body.count if isinstance(body, FileBody) else len(body) if isinstance(body, bytes) else 0
            lines.append(f"Content-Length: {count}")
        if not keep:
            lines.append("Connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        try:
            self._send_body(head, b"" if request and request.method == "HEAD" else body)
        finally:
            if isinstance(body, FileBody):
                body.file.close()
        if not keep and not (request and request.body.ended):
            self._linger()
        return keep

    def receive_into(self, view: memoryview) -> int:
        """Read into a buffer: what was read ahead first, then from the socket; 0 at the end."""
        if self._buffer:
            got = min(len(view), len(self._buffer))
            view[:got] = self._buffer[:got]
            del self._buffer[:got]
            return got
        try:
            return self.sock.recv_into(view, 0, socket.MSG_WAITALL if self._plain else 0)
        except OSError as e:
            raise Gone(str(e)) from e

    def read_line(self, limit: int) -> bytes:
        """One line of at most `limit` bytes, without its end, which is CR LF."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > limit:
                raise Refusal(400, "a line of the body is too long")
            self._fill()
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Refusal(400, "a line of the body does not end in CR LF")
        return line[:-2]

    def send_all(self, data: bytes) -> None:
        """Write bytes."""
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Gone(str(e)) from e

    def _fill(self) -> None:
        try:
            data = self.sock.recv(64 << 10)
        except OSError as e:
            raise Gone(str(e)) from e
        if not data:
            raise Gone("the connection ended within a request")
        self._buffer += data

    def _read_head(self) -> bytes | None:
        """The head's bytes; the whole of it must come within the stall time once it has begun."""
        deadline = 0.0
        while True:
            while self._buffer.startswith(b"\r\n"):  # RFC 9112 2.2: empty lines before a request
                del self._buffer[:2]
            end = self._buffer.find(b"\r\n\r\n")
            if max(end, len(self._buffer) if end < 0 else 0) > HEAD_BYTES:
                raise Refusal(431, f"the headers are larger than {HEAD_BYTES} bytes")
            if end >= 0:
                break
            if self._buffer and not 0x21 <= self._buffer[0] <= 0x7E:
                # A TLS greeting: who tries https first must be told at once, or waits for its time-out.
                raise Refusal(400, "not an HTTP request")
            now = time.monotonic()
            if self._buffer and not deadline:
                deadline = now + self._stall_s
            if deadline and now >= deadline:
                raise Refusal(408, "the request came too slowly")
            self.sock.settimeout(deadline - now if deadline else self._idle_s)
            try:
                data = self.sock.recv(64 << 10)
            except TimeoutError as e:
                if not self._buffer:
                    return None
                raise Refusal(408, "the request came too slowly") from e
            except OSError as e:
                raise Gone(str(e)) from e
            if not data:
                return None
            self._buffer += data
        # The kernel keeps the time of a plain socket: then one call moves a whole buffer, or a whole file.
        self.sock.settimeout(None if self._plain else self._stall_s)
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return head

    def _send_body(self, head: bytes, body: bytes | FileBody | Iterator[bytes]) -> None:
        if isinstance(body, bytes):
            self.send_all(head + body)
            return
        self.send_all(head)
        if not isinstance(body, FileBody):
            try:
                for piece in body:
                    self.send_all(piece)
            except ImagesmithError as e:  # too late for another answer: the client sees a body cut short
                raise Gone(e.message) from e
            return
        try:
            offset, left = body.offset, body.count
            while self._plain and left:
                sent = os.sendfile(self.sock.fileno(), body.file.fileno(), offset, left)
                if not sent:
                    raise Gone("the file is shorter than it was")
                offset, left = offset + sent, left - sent
            body.file.seek(offset)
            while left:
                piece = body.file.read(min(left, 256 << 10))
                if not piece:
                    raise Gone("the file is shorter than it was")
                self.sock.sendall(piece)
                left -= len(piece)
        except OSError as e:
            raise Gone(str(e)) from e

    def _linger(self) -> None:
        """Read on a while after a refusal: a reset would take the answer from the client's hands."""
        deadline, left = time.monotonic() + LINGER_S, LINGER_BYTES
        view = memoryview(bytearray(256 << 10))
        with contextlib.suppress(OSError):
            if self._plain:
                self.sock.shutdown(socket.SHUT_WR)
            while left > 0 and (wait := deadline - time.monotonic()) > 0:
                self.sock.settimeout(wait)
                got = self.sock.recv_into(view)
                if not got:
                    return
                left -= got


def _clean(value: str) -> str:
    """A header's value without the line ends that would begin another header."""
    return re.sub(r"[\x00-\x1f\x7f]", " ", value)
