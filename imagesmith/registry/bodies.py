"""Bodies of answers: read as they arrive, given up where they drip, capped, and unpacked.

Why raw: digests are of the bytes as they are stored, and only those are asked for; some proxies and mirrors
send `Content-Encoding: gzip` all the same. Storage may give that header to a layer that is itself gzip, too,
and then the bytes are right as they are: their number, or their beginning, tells which of the two it is.
Trust: the other side may send anything, for ever; what is unpacked comes in small pieces, and is counted.
"""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Iterator

from imagesmith.errors import InvalidDocument, LimitExceeded, NetworkFault
from imagesmith.registry.answers import Answer, Failure
from imagesmith.registry.faults import Fault, network_fault, shown

__all__ = ["capped", "drain", "is_packed", "pieces", "unpacked", "whole"]

#: Answers that are read whole take so long at most.
_WHOLE_S = 300.0
#: A body that is waited for as long as this brings so much meanwhile, or is given up: a drip has no end.
_SPAN_S, _LEAST_BYTES = 60.0, 60 << 10
_GZIP, _PIECE_BYTES = b"\x1f\x8b", 1 << 18


def pieces(response: Answer) -> Iterator[bytes]:
    """The raw bytes of a body as they arrive.

    Raises:
        NetworkFault: the connection broke, stalled, drips, or ended before its length.
    """
    data, waited_s, got = response.iter_raw(), 0.0, 0
    try:
        while True:
            began = time.monotonic()
            piece = next(data, b"")
            waited_s += time.monotonic() - began  # the reader's own time does not count
            if not piece:
                return
            got += len(piece)
            if waited_s > _SPAN_S:
                if got < _LEAST_BYTES:
                    raise Fault(f"{shown(response.url)}: fewer than {_LEAST_BYTES} bytes a minute come")
                waited_s, got = 0.0, 0
            yield piece
    except Failure as e:
        raise network_fault(e, response.url) from e


def capped(response: Answer, cap: int, url: str) -> Iterator[bytes]:
    """The raw bytes of a body that has an end soon.

    Raises:
        LimitExceeded: it is longer than `cap`.
        NetworkFault: as `pieces`, or it takes too long.
    """
    seen, deadline = 0, time.monotonic() + _WHOLE_S
    for data in pieces(response):
        seen += len(data)
        if time.monotonic() > deadline:
            raise Fault(f"{shown(url)}: the answer does not end within {_WHOLE_S:.0f} s", tries=1)
        if seen > cap:
            raise LimitExceeded(f"{shown(url)}: the answer is longer than {cap} bytes")
        yield data


def whole(response: Answer, cap: int, url: str) -> bytes:
    """A body that is read whole, and unpacked if it came packed; raises as `capped` does."""
    data = b"".join(capped(response, cap, url))
    if not _says_gzip(response) or not data.startswith(_GZIP):
        return data
    out, got = [], 0
    for piece in unpacked(iter((data,)), shown(url)):
        got += len(piece)
        if got > cap:
            raise LimitExceeded(f"{shown(url)}: the answer is longer than {cap} bytes")
        out.append(piece)
    return b"".join(out)


def is_packed(response: Answer, size: int) -> bool:
    """True if a body is a blob of `size` bytes that was packed on the road."""
    return _says_gzip(response) and response.headers.get("content-length", "") != str(size)


def _says_gzip(response: Answer) -> bool:
    return str(response.headers.get("content-encoding", "")).strip().lower() in ("gzip", "x-gzip")


def unpacked(data: Iterator[bytes], where: str) -> Iterator[bytes]:
    """What was packed with gzip, in pieces of bounded size.

    Raises:
        InvalidDocument: it was not.
        NetworkFault: it ends too early.
    """
    inflate = zlib.decompressobj(31)
    try:
        for piece in data:
            rest = piece
            while rest and not inflate.eof:
                yield inflate.decompress(rest, _PIECE_BYTES)
                rest = inflate.unconsumed_tail
    except zlib.error as e:
        raise InvalidDocument(f"{where}: sent as gzip, and is not") from e
    if not inflate.eof:
        raise NetworkFault(f"{where}: what was sent as gzip ends too early")


def drain(response: Answer) -> None:
    """Read the rest of a small answer, so that its connection can be used again."""
    with contextlib.suppress(NetworkFault, LimitExceeded):
        for _ in capped(response, 64 << 10, response.url):
            pass
    response.close()
