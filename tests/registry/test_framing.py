"""Answers as they are read: good ones, hostile ones, and random ones cut anywhere, as httpcore reads them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.registry.answers import Headers, RemoteProtocolError
from imagesmith.registry.framing import HEAD_BYTES, Head, Reader

#: Headers whose value h11 writes anew.
_REWRITTEN = (b"content-length", b"transfer-encoding")


def _receive(pieces: Iterable[bytes]) -> Callable[[int], bytes]:
    waiting = [p for p in pieces if p]

    def receive(most: int) -> bytes:
        assert most > 0
        if not waiting:
            return b""
        piece, waiting[0] = waiting[0][:most], waiting[0][most:]
        if not waiting[0]:
            waiting.pop(0)
        return piece

    return receive


def _read(pieces: Iterable[bytes], method: str = "GET") -> tuple[Head, bytes, bool]:
    """Head, body, and whether the connection can be used again."""
    reader = Reader(_receive(pieces))
    head = reader.head(method)
    body = b"".join(reader.body(head))
    return head, body, head.reusable and reader.is_clean()


_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = {
    "length": (_OK + b"Content-Length: 2\r\n\r\nok", b"ok", True),
    "nothing": (_OK + b"Content-Length: 0\r\n\r\n", b"", True),
    "chunks": (_CHUNKED + b"1\r\no\r\n001;x=y\r\nk\r\n0\r\n\r\n", b"ok", True),
    "blanks after a chunk's length": (_CHUNKED + b"2 \r\nok\r\n0\r\n\r\n", b"ok", True),
    "trailers": (_CHUNKED + b"2\r\nok\r\n0\r\nA: b\r\nC: d\r\n\r\n", b"ok", True),
    "up to the end": (_OK + b"\r\nok", b"ok", False),
    "close": (_OK + b"Connection: x, Close\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
    "length and chunks": (
        _OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok", False
    ),
    "one length, twice": (_OK + b"Content-Length: 2\r\nContent-Length: 2, 2\r\n\r\nok", b"ok", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
    "a reason beyond ASCII": (b"HTTP/1.1 200 \xc3\xa9\xff\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
    "LF alone": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"ok", True),
    "folded": (_OK + b"A: b\r\n\tc\r\n  d\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
    "1.0 kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
    "1.0 up to the end": (b"HTTP/1.0 200 OK\r\n\r\nok", b"ok", False),
    "interim": (
        b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n" + _OK + b"Content-Length: 2\r\n\r\nok",
        b"ok",
        True,
    ),
    "no content": (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", b"", True),
    "not modified": (b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", b"", True),
}  # fmt: skip

BAD = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "TLS": b"\x15\x03\x01\0\x02\x02\x50",
    "an empty line first": b"\r\n" + _OK + b"Content-Length: 0\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 OK\r\n\r\n" + _OK + b"\r\n",
    "another protocol": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    "interim ones for ever": b"HTTP/1.1 100 C\r\n\r\n" * 1000,
    "a head without end": _OK + b"A: " + b"x" * (HEAD_BYTES + 10),
    "a head that is long": _OK + b"A: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
    "interim ones that are long": (b"HTTP/1.1 100 C\r\nA:" + b"x" * 40_000 + b"\r\n\r\n") * 3 + _OK + b"\r\n",
    "very many headers": _OK + b"A:\r\n" * 2000 + b"\r\n",
    "a head that ends": _OK + b"A: b\r\n",
    "NUL": _OK + b"A: b\0c\r\n\r\n",
    "a bare CR": _OK + b"A: b\rSet: c\r\n\r\n",
    "no colon": _OK + b"A\r\n\r\n",
    "no name": _OK + b": b\r\n\r\n",
    "a blank before the colon": _OK + b"A : b\r\n\r\n",
    "a fold at once": _OK + b" A: b\r\n\r\n",
    "a negative length": _OK + b"Content-Length: -1\r\n\r\n",
    "a length with a sign": _OK + b"Content-Length: +1\r\n\r\nx",
    "a length with a line": _OK + b"Content-Length: 1_0\r\n\r\n" + b"x" * 10,
    "no length": _OK + b"Content-Length:\r\n\r\n",
    "a huge length": _OK + b"Content-Length: " + b"9" * 21 + b"\r\n\r\n",
    "two lengths": _OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "two lengths in one": _OK + b"Content-Length: 1, 2\r\n\r\nab",
    "another coding": _OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": _OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a body that ends": _OK + b"Content-Length: 3\r\n\r\nab",
}  # fmt: skip

BAD_CHUNKS = {
    "no end": b"2\r\nok\r\n",
    "cut": b"3\r\nok",
    "cut in the trailers": b"2\r\nok\r\n0\r\nA: b\r\n",
    "a line without end": b"2;" + b"x" * 40_000,
    "no length": b"\r\nok\r\n",
    "a negative length": b"-2\r\nok\r\n0\r\n\r\n",
    "a length with 0x": b"0x2\r\nok\r\n0\r\n\r\n",
    "a huge length": b"1" * 21 + b"\r\nok",
    "longer than said": b"2\r\noks\r\n0\r\n\r\n",
    "a line of LF alone": b"2\nok\r\n0\r\n\r\n",
    "trailers that are none": b"2\r\nok\r\n0\r\nnone\r\n\r\n",
    "trailers without end": b"2\r\nok\r\n0\r\nA: " + b"x" * (HEAD_BYTES + 10),
}


@pytest.mark.parametrize(("raw", "body", "again"), GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("size", [1, 7, 100_000], ids="pieces of {}".format)
def test_good_answers_are_read(raw: bytes, body: bytes, again: bool, size: int) -> None:
    head, got, reusable = _read(raw[at : at + size] for at in range(0, len(raw), size))
    assert (got, reusable, head.status >= 200) == (body, again, True)


def test_connection_that_sent_more_than_was_asked_for_is_not_used_again() -> None:
    assert _read([_OK + b"Content-Length: 2\r\n\r\nok" + _OK + b"\r\n"])[1:] == (b"ok", False)


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
@pytest.mark.parametrize("size", [1000, 200_000], ids="pieces of {}".format)
def test_bad_answers_are_refused(raw: bytes, size: int) -> None:
    with pytest.raises(RemoteProtocolError):
        _read(raw[at : at + size] for at in range(0, len(raw), size))


@pytest.mark.parametrize("raw", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
@pytest.mark.parametrize("size", [1, 200_000], ids="pieces of {}".format)
def test_bad_chunks_are_refused(raw: bytes, size: int) -> None:
    with pytest.raises(RemoteProtocolError):
        _read([_CHUNKED, *(raw[at : at + size] for at in range(0, len(raw), size))])


def test_heads_of_nothing_announce_no_body() -> None:
    for framing in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
        assert _read([_OK + framing + b"\r\n\r\n"], "HEAD")[1:] == (b"", True)


def test_headers_are_found_in_any_case_and_keep_their_bytes() -> None:
    head, _, _ = _read(
        [_OK + b"X-A: \xc3\xa9\r\nx-a:  b\t\r\nY: \xff\r\nFold: a\r\n b\r\nContent-Length: 0\r\n\r\n"]
    )
    headers = Headers(head.lines)
    assert headers["X-a"] == headers.get("x-A") == "é, b"
    assert headers.get_list("X-A") == ["é", "b"]
    assert (headers["y"], headers["FOLD"], headers.get_list("none")) == ("ÿ", "a b", [])
    assert ("Y" in headers, "z" in headers, headers.get("z", "-")) == (True, False, "-")
    assert list(headers) == ["x-a", "y", "fold", "content-length"]


def test_length_that_is_said_several_times_is_one_header() -> None:
    head, _, _ = _read([_OK + b"Content-Length: 2, 2\r\nX: y\r\ncontent-length: 2\r\n\r\nok"])
    assert dict(Headers(head.lines)) == {"x": "y", "content-length": "2"}


def test_small_chunks_come_together_and_none_is_held_back() -> None:
    small = b"".join(b"1\r\n%c\r\n" % c for c in b"abcdefgh")
    reader = Reader(_receive([_CHUNKED, small + b"2\r\n", b"ok\r\n0\r\n\r\n"]))
    body = reader.body(reader.head("GET"))
    assert list(body) == [b"abcdefgh", b"ok"]

    came = [_CHUNKED, b"3\r\nabc\r\n"]
    reader = Reader(lambda _: came.pop(0))  # an IndexError where it waits for more
    body = reader.body(reader.head("GET"))
    assert next(body) == b"abc"


# --- as httpcore reads them --------------------------------------------------------------------

_values = st.sampled_from([b"a", b"a b\tc", b"", b"\xff\xc3\xa9", b"x" * 300, b"a\r\n b", b"a, b", b"\x01"])
_names = st.sampled_from([b"A", b"x-b", b"Date", b"Server", b"connection", b"ETag"])
_extras = st.lists(st.tuples(_names, _values, st.sampled_from([b": ", b":", b":\t", b":  "])), max_size=4)
_ends = st.sampled_from([b"\r\n", b"\r\n", b"\n"])


@st.composite
def _answers(draw: st.DrawFn) -> bytes:
    end = draw(_ends)

    def head(line: bytes, *more: bytes) -> bytes:
        lines = [name + colon + value for name, value, colon in draw(_extras)]
        lines += more
        return end.join([line, *draw(st.permutations(lines)), b"", b""])

    raw = b""
    for status in draw(st.lists(st.sampled_from([b"100", b"102", b"103", b"199"]), max_size=2)):
        raw += head(b"HTTP/1.1 " + status + b" x")
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0", b"2.0"]))
    status = draw(st.sampled_from([b"200", b"200", b"404", b"204", b"304", b"206", b"999", b"101"]))
    first = b"HTTP/" + version + b" " + status + draw(st.sampled_from([b" OK", b"", b" ", b" \xe9 x"]))
    body = draw(st.binary(max_size=300))
    framing = draw(st.sampled_from(["length", "chunks", "both", "end", "close"]))
    more = []
    if framing in ("length", "both", "close"):
        more.append(b"Content-Length: %d" % len(body))
    if framing == "close":
        more.append(b"Connection: close")
    if framing in ("chunks", "both"):
        more.append(b"Transfer-Encoding: chunked")
        cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=6)))
        parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if a < b]
        extension = draw(st.sampled_from([b"", b";a=b", b" "]))
        body = b"".join(b"%x%b\r\n%b\r\n" % (len(p), extension, p) for p in parts)
        body += b"0\r\n" + draw(st.sampled_from([b"", b"T: u\r\n", b"T: u\r\n v\r\n"])) + b"\r\n"
    return raw + head(first, *more) + body


def _in_pieces(raw: bytes, cuts: list[float]) -> list[bytes]:
    at = [0, *sorted(int(c * len(raw)) for c in cuts), len(raw)]
    return [raw[a:b] for a, b in itertools.pairwise(at) if a < b]


def _ours(pieces: list[bytes], method: str) -> object:
    try:
        head, body, again = _read(pieces, method)
    except RemoteProtocolError:
        return None
    return head.status, [(n.lower(), v) for n, v in head.lines if n.lower() not in _REWRITTEN], body, again


def _theirs(pieces: list[bytes], method: str) -> object:
    with httpcore.ConnectionPool(network_backend=httpcore.MockBackend(list(pieces))) as pool:
        try:
            r = pool.request(method, "http://x/")
        except httpcore.RemoteProtocolError:
            return None
        again = bool(pool.connections) and pool.connections[0].is_idle()
    return r.status, [(n.lower(), v) for n, v in r.headers if n.lower() not in _REWRITTEN], r.content, again


def _agree(pieces: list[bytes], method: str) -> None:
    ours, theirs = _ours(pieces, method), _theirs(pieces, method)
    if ours is None or theirs is None:
        assert ours == theirs
        return
    assert isinstance(ours, tuple)
    assert isinstance(theirs, tuple)
    assert ours[:3] == theirs[:3]
    assert theirs[3] or not ours[3]  # never used again where httpcore would not


@given(_answers(), st.lists(st.floats(0, 1), max_size=8), st.sampled_from(["GET", "HEAD"]))
def test_answers_are_read_as_httpcore_does(raw: bytes, cuts: list[float], method: str) -> None:
    _agree(_in_pieces(raw, cuts), method)


@given(_answers(), st.lists(st.floats(0, 1), max_size=4), st.floats(0, 1), st.binary(max_size=3))
def test_broken_answers_are_read_as_httpcore_does_or_refused(
    raw: bytes, cuts: list[float], where: float, what: bytes
) -> None:
    at = int(where * len(raw))
    _agree(_in_pieces(raw[:at], cuts), "GET")  # it ends there
    _agree(_in_pieces(raw[:at] + what + raw[at + 1 :], cuts), "GET")
    _agree(_in_pieces(raw + what, cuts), "GET")
