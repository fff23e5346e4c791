"""HTTP/1.1 as it is read: heads, and the bodies that they announce.

Why by hand: the standard library's client reads a body that ends early without an error, skips one kind of
interim answer only, and imports the parsers of e-mail. What is needed of RFC 9112 is this file. It takes what
h11 took: lines that end in LF alone, folded headers, no reason, bytes beyond ASCII.
Spec: RFC 9112, sections 2 to 7; RFC 9110, 15.2 (interim answers).
Trust: all of it is the other side's. A head, with the interim ones before it, is HEAD_BYTES long at most, and
so are the trailers; lengths have 20 digits; lines that no header can be are errors, and so are lengths that
contradict each other. Where a length and chunks are both announced the chunks count, as everywhere, and the
connection is not used again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from imagesmith.registry.answers import RemoteProtocolError
from imagesmith.values import frozen

__all__ = ["HEAD_BYTES", "PIECE_BYTES", "Head", "Reader"]

#: What heads may be long, how many headers and interim answers there may be, and how long a chunk's line is.
HEAD_BYTES, _MOST_LINES, _MOST_INTERIM, _CHUNK_LINE_BYTES = 100 << 10, 1000, 100, 16 << 10
#: As much is read at once; pieces of bodies are so long at most.
PIECE_BYTES = 1 << 19
_FIRST_BYTES = 1 << 16
_MOST_DIGITS = 20
_CUT = "peer unexpectedly closed connection"
_STATUS = re.compile(rb"HTTP/(\d\.\d) (\d{3})(?: .*)?")
_END = re.compile(rb"\n\r?\n")
#: White space that neither parts lines nor words, and what ends texts elsewhere.
_BAD = re.compile(rb"[\0\v\f]|\r(?!\n)")
_TOKEN = b"-!#$%&'*+.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_HEX = b"0123456789abcdefABCDEF"


@frozen
class Head:
    """Status line and headers; `length` is the body's, -1 for chunks, None for up to the connection's end."""

    status: int
    lines: tuple[tuple[bytes, bytes], ...]
    length: int | None
    reusable: bool


class Reader:
    """Reads answers from one connection, each head before its body."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        """`receive` gives so many bytes at most, none at the end, and raises our errors."""
        self._receive = receive
        self._held, self._at = b"", 0  # what came, and how much of it was taken

    def is_clean(self) -> bool:
        """True if nothing came that was not asked for."""
        return self._at == len(self._held)

    def head(self, method: str) -> Head:
        """The next head that is no interim one.

        Raises:
            RemoteProtocolError: it is none, or too long.
        """
        room = HEAD_BYTES
        for _ in range(_MOST_INTERIM):
            raw = self._until_blank(room)
            room -= len(raw)
            head = _parsed(raw, method)
            if head.status >= 200:
                return head
            if head.status < 100 or head.status == 101:  # nobody asked for another protocol
                raise RemoteProtocolError(f"an answer of status {head.status:03}")
        raise RemoteProtocolError(f"more than {_MOST_INTERIM} interim answers")

    def body(self, head: Head) -> Iterator[bytes]:
        """The body that a head announces, in pieces.

        Raises:
            RemoteProtocolError: it ends too early, or is not in chunks as was announced.
        """
        if head.length is None:
            return self._to_end()
        return self._chunks() if head.length < 0 else self._counted(head.length)

    # --- bodies --------------------------------------------------------------------------------

    def _counted(self, length: int) -> Iterator[bytes]:
        left = length
        while left:
            piece = self._taken(left) or self._receive(min(left, PIECE_BYTES))
            if not piece:
                raise RemoteProtocolError(
                    "peer closed connection without sending complete message body "
                    f"(received {length - left} bytes, expected {length})"
                )
            left -= len(piece)
            yield piece

    def _to_end(self) -> Iterator[bytes]:
        while piece := self._taken(PIECE_BYTES) or self._receive(PIECE_BYTES):
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        """Chunks' bytes; those that came together are given together, for small ones are many."""
        ready: list[bytes] = []
        while left := self._chunk_length():
            while left:
                piece = self._taken(left)
                if not piece:
                    if ready:
                        yield b"".join(ready)
                        ready.clear()
                    piece = self._received(min(left, PIECE_BYTES))
                left -= len(piece)
                ready.append(piece)
            if self._held.find(b"\r\n", self._at + 2) < 0:  # what follows is waited for
                yield b"".join(ready)
                ready.clear()
            self._line_end()
        if ready:
            yield b"".join(ready)
        self._trailers()

    def _chunk_length(self) -> int:
        """The length that a chunk's line says."""
        while (end := self._held.find(b"\r\n", self._at)) < 0:
            if len(self._held) - self._at > _CHUNK_LINE_BYTES:
                raise RemoteProtocolError("the line of a chunk has no end")
            self._hold()
        line, self._at = self._held[self._at : end], end + 2
        digits, semicolon, _ = line.partition(b";")
        digits = digits if semicolon else digits.rstrip(b" \t")
        if not 0 < len(digits) <= _MOST_DIGITS or digits.translate(None, _HEX) or b"\n" in line:
            raise RemoteProtocolError(f"illegal chunk header: {line[:100]!r}")
        return int(digits, 16)

    def _line_end(self) -> None:
        while (found := self._held[self._at : self._at + 2]) in (b"", b"\r"):
            self._hold()
        if found != b"\r\n":
            raise RemoteProtocolError(f"malformed chunk footer: {found!r}")
        self._at += 2

    def _trailers(self) -> None:
        """Read what may follow the last chunk; it is of no use."""
        while (found := self._held[self._at : self._at + 2]) in (b"", b"\r"):
            self._hold()
        if found == b"\r\n" or found[:1] == b"\n":
            self._at += len(found) if found == b"\r\n" else 1
        else:
            _headers(_lines(self._until_blank(HEAD_BYTES)))

    # --- bytes ---------------------------------------------------------------------------------

    def _taken(self, most: int) -> bytes:
        """What is held, `most` bytes at most."""
        piece = self._held[self._at : self._at + most]
        self._at += len(piece)
        return piece

    def _received(self, most: int) -> bytes:
        """What comes next of a body in chunks, which has not ended."""
        data = self._receive(most)
        if not data:
            raise RemoteProtocolError(
                "peer closed connection without sending complete message body (incomplete chunked read)"
            )
        return data

    def _hold(self) -> None:
        self._held, self._at = self._held[self._at :] + self._received(_FIRST_BYTES), 0

    def _until_blank(self, most: int) -> bytes:
        """All up to an empty line."""
        held, seen = bytearray(self._held[self._at :]), 0
        while (end := _END.search(held, seen)) is None:
            seen = max(0, len(held) - 2)
            if len(held) > most:
                raise RemoteProtocolError("Receive buffer too long")
            if held and held[0] <= 0x20:
                raise RemoteProtocolError(f"illegal beginning of a line: {bytes(held[:40])!r}")
            data = self._receive(_FIRST_BYTES)
            if not data:
                raise RemoteProtocolError(_CUT if held else "Server disconnected without sending a response.")
            held += data
        if end.end() > most:
            raise RemoteProtocolError("Receive buffer too long")
        self._held, self._at = bytes(held), end.end()
        return self._held[: end.start()]


def _lines(raw: bytes) -> list[bytes]:
    """The lines of a head."""
    if _BAD.search(raw.removesuffix(b"\r")):
        raise RemoteProtocolError("a head with bytes that no header has")
    lines = raw.split(b"\n")
    if len(lines) > _MOST_LINES:
        raise RemoteProtocolError(f"more than {_MOST_LINES} headers")
    return [line.removesuffix(b"\r") for line in lines]


def _headers(lines: list[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """Names and values; what is folded is one value."""
    found: list[tuple[bytes, bytes]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and found:
            name, value = found.pop()
            found.append((name, (value + b" " + line.lstrip(b" \t")).strip(b" \t")))
            continue
        name, colon, value = line.partition(b":")
        if not colon or not name or name.translate(None, _TOKEN):
            raise RemoteProtocolError(f"illegal header line: {line[:100]!r}")
        found.append((name, value.strip(b" \t")))
    return tuple(found)


def _parsed(raw: bytes, method: str) -> Head:
    """A head, and how the body after it is framed."""
    first, *rest = _lines(raw)
    match = _STATUS.fullmatch(first)
    if match is None:
        raise RemoteProtocolError(f"illegal status line: {first[:100]!r}")
    status, lines = int(match[2]), _headers(rest)
    length, chunked, keep = None, False, match[1] >= b"1.1"
    for name, value in lines:
        key = name.lower()
        if key == b"content-length":
            length = _length(value, length)
        elif key == b"transfer-encoding":
            if chunked or value.lower() != b"chunked":
                raise RemoteProtocolError("Only Transfer-Encoding: chunked is supported")
            chunked = True
        elif key == b"connection" and b"close" in (w.strip() for w in value.lower().split(b",")):
            keep = False
    if length is not None:
        lines = (*(line for line in lines if line[0].lower() != b"content-length"), _said_once(length))
        keep = keep and not chunked
    if method == "HEAD" or status in (204, 304):
        framed: int | None = 0
    else:
        framed = -1 if chunked else length
    return Head(status, lines, framed, keep and framed is not None)


def _said_once(length: int) -> tuple[bytes, bytes]:
    """The header of a length that may have been said several times."""
    return b"Content-Length", b"%d" % length


def _length(value: bytes, before: int | None) -> int:
    """A Content-Length; said several times, it is always the same one."""
    said = {v.strip() for v in value.split(b",")}
    text = said.pop()
    if said or not text.isdigit() or len(text) > _MOST_DIGITS or before not in (None, int(text)):
        raise RemoteProtocolError("bad or conflicting Content-Length headers")
    return int(text)
