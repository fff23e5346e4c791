"""A part of a file is read as a file that has these bytes and no others."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.sbom.parts import Part, exactly


@given(st.binary(max_size=60), st.integers(0, 70), st.integers(0, 70), st.data())
def test_part_is_what_a_file_of_its_bytes_is(raw: bytes, begin: int, size: int, data: st.DataObject) -> None:
    begin = min(begin, len(raw))
    size = min(size, len(raw) - begin)
    part, plain = Part(io.BytesIO(raw), begin, size), io.BytesIO(raw[begin : begin + size])
    for _ in range(4):
        at, length = data.draw(st.integers(0, 80)), data.draw(st.integers(0, 80))
        assert part.seek(at) == plain.seek(at)
        assert part.read(length) == plain.read(length)
    assert part.seek(0, io.SEEK_END) == size
    with pytest.raises(ValueError, match="negative place"):
        part.seek(-1)


@pytest.mark.parametrize("owns", [False, True])
def test_file_is_closed_by_who_owns_it(owns: bool) -> None:
    inner = io.BytesIO(b"abc")
    Part(inner, 0, 3, owns=owns).close()
    assert inner.closed == owns


@given(st.binary(max_size=20), st.integers(-3, 25), st.integers(-3, 25))
def test_bytes_are_all_there_or_refused(raw: bytes, offset: int, length: int) -> None:
    inside = offset >= 0 <= length and offset + length <= len(raw)
    if inside:
        assert exactly(io.BytesIO(raw), len(raw), offset, length, "it") == raw[offset : offset + length]
    else:
        with pytest.raises(ValueError, match="outside"):
            exactly(io.BytesIO(raw), len(raw), offset, length, "it")
    with pytest.raises(ValueError, match="ends early"):
        exactly(io.BytesIO(raw), 100, 0, len(raw) + 1, "it")
