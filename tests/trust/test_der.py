"""DER: what is encoded by the rules is read, and nothing else is."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import InvalidDocument
from imagesmith.trust.der import INTEGER, OBJECT, OCTETS, SEQUENCE, TIME, Fields, Value, parse, within
from tests.trust.issuers import der, integer, object_id


def read(raw: bytes, tag: int) -> Value:
    fields = Fields(raw, "it")
    found = fields.take(tag)
    fields.end()
    return found


@given(st.binary(max_size=70_000) | st.integers(0, 300).map(bytes))
def test_what_is_encoded_is_read(content: bytes) -> None:
    raw = der(OCTETS, content)
    found = read(raw, OCTETS)
    assert (found.content, found.encoded) == (content, raw)


@given(st.integers(-(1 << 200), 1 << 200))
def test_numbers_are_read(number: int) -> None:
    size = number.bit_length() // 8 + 1
    assert read(der(INTEGER, number.to_bytes(size, "big", signed=True)), INTEGER).integer == number


@given(st.integers(0, 2), st.integers(0, 39), st.lists(st.integers(0, 1 << 40), max_size=8))
def test_object_identifiers_are_read(first: int, second: int, rest: list[int]) -> None:
    dotted = ".".join(map(str, (first, second, *rest)))
    assert read(object_id(dotted), OBJECT).dotted == dotted


@given(st.integers(-62_000_000_000, 253_402_300_799))
def test_times_are_read(seconds: int) -> None:
    gone = time.gmtime(seconds)
    text = f"{gone.tm_year:04}" + time.strftime("%m%d%H%M%SZ", gone)
    assert read(der(TIME, text.encode()), TIME).seconds == seconds


def test_fields_are_taken_one_after_the_other() -> None:
    fields = parse(der(SEQUENCE, integer(5), der(within(0), integer(6)), der(OCTETS, b"x")), "it")
    assert fields.take(INTEGER).integer == 5
    assert fields.maybe(within(1)) is None
    numbered = fields.maybe(within(0))
    assert numbered is not None
    assert numbered.fields.take(INTEGER).integer == 6
    assert fields.left
    assert fields.take(INTEGER, OCTETS).content == b"x"
    fields.end()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "its end where 0x30"),
        (b"\x31\x00", "0x31 where 0x30"),
        (b"\x30", "ends in the middle"),
        (b"\x30\x02\x05", "ends in the middle"),
        (b"\x30\x81", "a length that DER does not have"),
        (b"\x30\x80\x00\x00", "a length that DER does not have"),
        (b"\x30\x81\x05abcde", "a length that DER does not have"),
        (b"\x30\x82\x00\x80" + bytes(128), "a length that DER does not have"),
        (b"\x30\x85\x01\x00\x00\x00\x00", "a length that DER does not have"),
        (b"\x30\x84\x7f\xff\xff\xff", "ends in the middle"),
        (b"\x30\x00\x00", "1 bytes too many"),
    ],
)
def test_what_is_no_der_is_told(raw: bytes, says: str) -> None:
    with pytest.raises(InvalidDocument, match=f"^it: {says}"):
        parse(raw, "it")


@pytest.mark.parametrize("content", [b"", b"\x80\x01", b"\x2a\x80\x01", b"\x2a\x86", b"\x2a" + b"\xff" * 64])
def test_what_is_no_object_identifier_is_told(content: bytes) -> None:
    with pytest.raises(InvalidDocument, match="no object identifier"):
        _ = read(der(OBJECT, content), OBJECT).dotted


@pytest.mark.parametrize(
    "content",
    [b"", b"20250101000000", b"202501010000Z", b"20251301000000Z", b"20250101000060Z", b"20250101000000.10Z",
     b"20250101000000+0100", b"20250101000000.Z"],
)  # fmt: skip
def test_what_is_no_time_is_told(content: bytes) -> None:
    with pytest.raises(InvalidDocument, match="not a time"):
        _ = read(der(TIME, content), TIME).seconds


def test_parts_of_a_second_are_left_out() -> None:
    assert read(der(TIME, b"20250101000000.25Z"), TIME).seconds == 1_735_689_600


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(InvalidDocument):
        fields = Fields(raw, "it")
        while fields.left:
            found = fields.take(*range(256))
            assert found.encoded in raw
            with contextlib.suppress(InvalidDocument):
                _ = found.dotted
            with contextlib.suppress(InvalidDocument):
                _ = found.seconds
