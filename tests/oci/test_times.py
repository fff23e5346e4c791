"""Times as Go writes them, and what is none."""

from __future__ import annotations

import pytest

from imagesmith.errors import InvalidDocument
from imagesmith.oci.times import format_ns, parse_epoch, parse_ns


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2024-02-29T23:59:59.123456789Z"]
)
def test_a_time_is_written_as_it_was_read(text: str) -> None:
    assert format_ns(parse_ns(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2023-02-29T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidDocument, match="not a time"):
        parse_ns(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1700000000", 1_700_000_000), ("253402300799", 253_402_300_799), ("253402300800", None),
     ("", None), ("-1", None), ("²", None), ("9" * 5000, None)],
)  # fmt: skip
def test_an_epoch_is_a_number_of_seconds_that_a_time_can_say(text: str, seconds: int | None) -> None:
    assert parse_epoch(text) == seconds
