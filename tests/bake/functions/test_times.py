"""Times, by the cases of cty's and buildx's own tests and documentation."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bake.functions.calls import call, refused, same

AT = "2006-01-02T15:04:05-07:00"
LATER = "2023-11-22T07:08:09Z"

#: Each verb of formatdate, and what it shows of AT and of LATER.
VERBS = [
    ("YY", "06", "23"), ("YYYY", "2006", "2023"), ("M", "1", "11"), ("MM", "01", "11"), ("MMM", "Jan", "Nov"),
    ("MMMM", "January", "November"), ("D", "2", "22"), ("DD", "02", "22"), ("EEE", "Mon", "Wed"),
    ("EEEE", "Monday", "Wednesday"), ("h", "15", "7"), ("hh", "15", "07"), ("H", "3", "7"),
    ("HH", "03", "07"),
    ("AA", "PM", "AM"), ("aa", "pm", "am"), ("m", "4", "8"), ("mm", "04", "08"), ("s", "5", "9"),
    ("ss", "05", "09"), ("Z", "-07:00", "Z"), ("ZZZ", "-0700", "UTC"), ("ZZZZ", "-0700", "+0000"),
    ("ZZZZZ", "-07:00", "+00:00"),
]  # fmt: skip

CASES: list[tuple[str, list[Any], Any]] = [
    ("formatdate", ["", AT], ""),
    ("formatdate", ["2006-01-02", AT], "2006-01-02"),
    ("formatdate", ["DD MMM YYYY hh:mm ZZZ", "2018-01-02T23:12:01Z"], "02 Jan 2018 23:12 UTC"),
    (
        "formatdate",
        ["EEEE, DD-MMM-YY hh:mm:ss ZZZ", "2018-01-02T23:12:01Z"],
        "Tuesday, 02-Jan-18 23:12:01 UTC",
    ),
    ("formatdate", ["YYYY-MM-DD'T'hh:mm:ssZ", AT], AT),
    ("formatdate", ["h 'o''clock'", AT], "15 o'clock"),
    ("formatdate", ["''hh''''", AT], "'15''"),
    ("formatdate", ["'T'hh", "2018-01-02T00:12:01Z"], "T00"),
    ("formatdate", ["H AA", "2018-01-02T00:12:01Z"], "12 AM"),
    ("formatdate", ["H AA", "2018-01-02T12:12:01Z"], "12 PM"),
    ("formatdate", ["ss", "2018-01-02T00:12:01.999+00:30"], "01"),
    ("timeadd", ["2017-11-22T00:00:00Z", "1s"], "2017-11-22T00:00:01Z"),
    ("timeadd", ["2017-11-22T00:00:00Z", "10m1s"], "2017-11-22T00:10:01Z"),
    ("timeadd", ["2017-11-22T00:00:00Z", "-1h"], "2017-11-21T23:00:00Z"),
    ("timeadd", ["2017-11-22T00:00:00Z", "+1.5h"], "2017-11-22T01:30:00Z"),
    ("timeadd", ["2017-11-22T00:00:00Z", "0"], "2017-11-22T00:00:00Z"),
    ("timeadd", ["2017-11-22T00:00:00+05:30", "72h"], "2017-11-25T00:00:00+05:30"),
    ("timeadd", ["2017-11-22T00:00:00.6Z", "400ms"], "2017-11-22T00:00:01Z"),
    ("timeadd", ["2017-11-22T00:00:00Z", "-1ns"], "2017-11-21T23:59:59Z"),
    ("timeadd", ["2017-11-22T00:00:00Z", "1000000us"], "2017-11-22T00:00:01Z"),
    ("formattimestamp", ["X", "2015-10-21T00:00:00Z"], "1445385600"),
    ("formattimestamp", ["X", 1445385600], "1445385600"),
    ("formattimestamp", ["YYYY-MM-DD", "2025-09-16T12:00:00Z"], "2025-09-16"),
    ("formattimestamp", ["YYYY-MM-DD'T'hh:mm:ssZ", 1690328596], "2023-07-25T23:43:16Z"),
    ("formattimestamp", ["YYYY-MM-DD'T'hh:mm:ssZ", -1], "1969-12-31T23:59:59Z"),
]

PARSED = {
    1690328596: (2023, 206, 25, 7, "July", 2, "Tuesday", 23, 43, 16, "2023-07-25T23:43:16Z", 2023, 30),
    0: (1970, 1, 1, 1, "January", 4, "Thursday", 0, 0, 0, "1970-01-01T00:00:00Z", 1970, 1),
    -1: (1969, 365, 31, 12, "December", 3, "Wednesday", 23, 59, 59, "1969-12-31T23:59:59Z", 1970, 1),
    1672531200: (2023, 1, 1, 1, "January", 0, "Sunday", 0, 0, 0, "2023-01-01T00:00:00Z", 2022, 52),
}
NAMES = (
    "year", "year_day", "day", "month", "month_name", "weekday", "weekday_name", "hour", "minute", "second",
    "rfc3339", "iso_year", "iso_week",
)  # fmt: skip

NONE = "is no timestamp such as 2006-01-02T15:04:05Z"
REFUSED: list[tuple[str, list[Any], str, int | None]] = [
    ("formatdate", ["Y", AT], "format: 'Y' is unknown; YY, YYYY", 0),
    ("formatdate", ["W", AT], "format: 'W' is unknown; letters are quoted by single quotes", 0),
    ("formatdate", ["'hh", AT], "format: a quote ' that is not closed", 0),
    ("formatdate", ["YY", ""], f"'' {NONE}", 1),
    ("formatdate", ["YY", "2018-01-02"], f"'2018-01-02' {NONE}", 1),
    ("formatdate", ["YY", "2018-01-02 23:12:01Z"], f"'2018-01-02 23:12:01Z' {NONE}", 1),
    ("formatdate", ["YY", "2018-13-02T23:12:01Z"],
     "'2018-13-02T23:12:01Z' has no such date, time or offset", 1),
    ("formatdate", ["YY", "2018-01-02T23:12:01+24:00"],
     "'2018-01-02T23:12:01+24:00' has no such date, time or offset", 1),
    ("timeadd", ["2017-11-22", "1s"], f"'2017-11-22' {NONE}", 0),
    ("timeadd", [LATER, "1d"], "duration: '1d' is none such as 1h30m", 1),
    ("timeadd", [LATER, ""], "duration: '' is none such as 1h30m", 1),
    ("timeadd", [LATER, "1 h"], "duration: '1 h' is none such as 1h30m", 1),
    ("timeadd", [LATER, "9999999999h"], "duration: '9999999999h' is too long", 1),
    ("timeadd", ["9999-12-31T23:59:59Z", "1s"], "the result is not within the years 1 to 9999", None),
    ("formattimestamp", ["X", "0"], f"'0' {NONE}", 1),
    ("formattimestamp", ["X", 1.2], "time: a whole number is needed", 1),
    ("formattimestamp", ["X", True], "time: a whole number is needed, not a bool", 1),
    ("unixtimestampparse", [1.2], "unix_timestamp: a whole number is needed", 0),
    ("unixtimestampparse", ["0"], "unix_timestamp: a whole number is needed, not a string", 0),
    ("unixtimestampparse", [2**62], "the time is not within the years 1 to 9999", 0),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "at", "later"), VERBS)
def test_verb_of_formatdate(verb: str, at: str, later: str) -> None:
    assert call("formatdate", verb, AT) == at
    assert call("formatdate", f"{verb}.", LATER) == f"{later}."


@pytest.mark.parametrize(("name", "args", "want"), CASES)
def test_value(name: str, args: list[Any], want: Any) -> None:
    assert same(call(name, *args), want)


@pytest.mark.parametrize("seconds", PARSED)
def test_parts_of_a_time(seconds: int) -> None:
    assert call("unixtimestampparse", seconds) == dict(zip(NAMES, PARSED[seconds], strict=True))


@pytest.mark.parametrize(("name", "args", "message", "argument"), REFUSED)
def test_refusal(name: str, args: list[Any], message: str, argument: int | None) -> None:
    assert refused(name, *args) == (message, argument)


def test_now_is_the_same_throughout_a_run() -> None:
    now = call("timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", now)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(now)) < timedelta(days=1)
    assert call("timestamp") == now
    assert call("timeadd", now, "0") == now


@given(st.integers(-(10**10), 2 * 10**11))
def test_time_is_what_it_was_made_of(seconds: int) -> None:
    text = call("formattimestamp", "YYYY-MM-DD'T'hh:mm:ssZ", seconds)
    assert call("formattimestamp", "X", text) == str(seconds)
    assert call("unixtimestampparse", seconds)["rfc3339"] == text


@given(st.integers(0, 4 * 10**9), st.integers(-(10**6), 10**6))
def test_adding_and_taking_away_is_nothing(seconds: int, minutes: int) -> None:
    start = call("formattimestamp", "YYYY-MM-DD'T'hh:mm:ssZ", seconds)
    then = call("timeadd", start, f"{minutes}m")
    assert call("formattimestamp", "X", then) == str(seconds + 60 * minutes)
    assert call("timeadd", then, f"{-minutes}m") == start
