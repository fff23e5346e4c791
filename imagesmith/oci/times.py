"""Times as Go writes them: RFC 3339 in UTC, up to nanoseconds, trailing zeros cut."""

from __future__ import annotations

import datetime
import re

from imagesmith.errors import InvalidDocument

__all__ = ["format_ns", "parse_epoch", "parse_ns"]

_TIME = r"(?ai)(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)"
_SECONDS = r"[0-9]{1,12}"
#: The last second of the year 9999.
_LAST_S = 253_402_300_799
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def format_ns(ns: int) -> str:
    """The text of a time in nanoseconds since 1970."""
    seconds, rest = divmod(ns, 1_000_000_000)
    moment = _EPOCH + datetime.timedelta(seconds=seconds)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z".rjust(20, "0")


def parse_ns(text: str) -> int:
    """Nanoseconds since 1970 of a time's text.

    Raises:
        InvalidDocument: no RFC 3339 time.
    """
    match = re.fullmatch(_TIME, text)
    if match is None:
        raise InvalidDocument(f"not a time: {text[:60]!r}")
    *fields, fraction, zone = match.groups()
    try:
        moment = datetime.datetime(*map(int, fields), tzinfo=datetime.UTC)  # type: ignore[arg-type, misc]  # six numbers
        if zone not in "Zz":
            sign = -1 if zone[0] == "-" else 1
            moment -= sign * datetime.timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    except (ValueError, OverflowError) as e:
        raise InvalidDocument(f"not a time: {text[:60]!r}: {e}") from e
    whole = (moment - _EPOCH) // datetime.timedelta(seconds=1)
    return whole * 1_000_000_000 + int((fraction or "0").ljust(9, "0")[:9])


def parse_epoch(text: str) -> int | None:
    """The seconds of a SOURCE_DATE_EPOCH; None for what is no such number, or beyond what a time can say."""
    seconds = int(text) if re.fullmatch(_SECONDS, text) else _LAST_S + 1
    return seconds if seconds <= _LAST_S else None
