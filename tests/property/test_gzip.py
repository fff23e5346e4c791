"""gzip as layers have it: whatever its members are, it is read or refused as by zlib."""

from __future__ import annotations

import gzip
import io
import random
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imagesmith.errors import InvalidDocument
from imagesmith.layer import decompress
from imagesmith.layer.codecs import Codec
from imagesmith.layer.decompress import GZIP_HEADER, decompressed

#: Bytes that are stored as they are.
_NOISE = random.Random(1).randbytes(500)


def _ours(data: bytes) -> bytes:
    """A member as our layers have it."""
    return Codec().compressor()(data)


def _read(raw: bytes, size: int) -> bytes | str:
    try:
        plain = decompressed(io.BytesIO(raw), "gzip")
        return b"".join(iter(lambda: plain.read(size), b""))
    except InvalidDocument as e:
        return e.message


def _by_zlib(raw: bytes) -> bytes | str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decompress, "_MOST_MEMBER", -1)
        return _read(raw, 1 << 16)


texts = st.one_of(
    st.binary(max_size=3000),
    st.integers(0, 1 << 18).map(lambda n: b"text of a line\n" * (n // 15)),
    st.integers(0, 1 << 18).map(lambda n: random.Random(n).randbytes(n)),
    st.just(GZIP_HEADER * 3),
    st.integers(0, 99).map(lambda n: random.Random(n).randbytes(900) + GZIP_HEADER[:3] + bytes([n]) * 9),
)
members = st.one_of(
    texts.map(_ours),
    texts.map(lambda data: gzip.compress(data, mtime=1)),
    texts.map(lambda data: gzip.compress(data, 0, mtime=0)),
    st.just(bytes(7)),
    st.binary(max_size=30),
    st.just(GZIP_HEADER),
)


@settings(max_examples=200)
@given(st.lists(members, max_size=6).map(b"".join), st.integers(1, 1 << 20))
@example(_ours(b"a" * (1 << 20)) * 3, 1 << 20)
@example(_ours(GZIP_HEADER * 50_000) + _ours(b"x"), 100_000)
@example(_ours(b"a") + gzip.compress(b"a", mtime=1) + _ours(b"x"), 5)
@example(b"".join(map(_ours, [b"1", _NOISE + GZIP_HEADER[:3], b"2", b"3", b"4"])), 5)
@example(_ours(b"") + _ours(b"") + _ours(b"x"), 5)
@example(_ours(b"x" * 100) + bytes(600) + _ours(b"y" * 100), 5)
@example(gzip.compress(b"x" * (9 << 20), mtime=0) + _ours(b"y"), 1 << 20)
def test_stream_is_what_zlib_says(raw: bytes, size: int) -> None:
    assert _read(raw, size) == _by_zlib(raw)


@settings(max_examples=200)
@given(st.lists(texts.map(_ours), min_size=1, max_size=5).map(b"".join), st.data())
def test_damaged_stream_gives_no_other_bytes_than_zlib(raw: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = bytearray(raw)
    if data.draw(st.booleans()):
        del changed[at:]
    else:
        changed[at] ^= 1 << data.draw(st.integers(0, 7))
    assert _read(bytes(changed), 1 << 16) == _by_zlib(bytes(changed))


def test_layer_of_our_own_is_decoded_by_members(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [random.Random(n).randbytes(1 << 19) * 2 for n in range(4)]
    raw = b"".join(map(_ours, blocks))
    zlibs: list[int] = []
    made = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", lambda *words: (zlibs.append(1), made(*words))[1])
    assert _read(raw, 1 << 20) == b"".join(blocks)
    assert len(zlibs) == 1  # the last member's
