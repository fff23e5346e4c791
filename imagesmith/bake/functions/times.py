"""Functions of time.

Spec: RFC 3339; cty's stdlib: datetime.go; buildx's formattimestamp and unixtimestampparse. What is now is
asked once in a run, so that two tags of one definition do not differ.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from imagesmith.bake.functions.calling import CallError, Function, Parameter, anything, integer, string
from imagesmith.bake.values import Unsuitable, Value, kind_of

__all__ = ["FUNCTIONS"]

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:[.,](\d{1,40}))?(?:(Z)|([+-])(\d\d):(\d\d))", re.ASCII
)
_DURATION = re.compile(r"(\d{1,19}(?:\.\d{0,19})?|\.\d{1,19})(ns|us|\u00b5s|\u03bcs|ms|s|m|h)", re.ASCII)
_UNITS_NS = {"ns": 1, "us": 10**3, "\u00b5s": 10**3, "\u03bcs": 10**3, "ms": 10**6, "s": 10**9}
_UNITS_NS |= {"m": 60 * 10**9, "h": 3600 * 10**9}
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TOKEN = re.compile(r"''|'((?:[^']|'')*)'|([a-zA-Z])\2*|[^a-zA-Z']+")
#: Verbs of formatdate: letters and what they show.
_VERBS: Mapping[str, Callable[[datetime], str]] = {
    "YY": lambda t: f"{t.year % 100:02}", "YYYY": lambda t: f"{t.year:04}",
    "M": lambda t: f"{t.month}", "MM": lambda t: f"{t.month:02}",
    "MMM": lambda t: _MONTHS[t.month - 1][:3], "MMMM": lambda t: _MONTHS[t.month - 1],
    "D": lambda t: f"{t.day}", "DD": lambda t: f"{t.day:02}",
    "EEE": lambda t: _DAYS[t.weekday()][:3], "EEEE": lambda t: _DAYS[t.weekday()],
    "h": lambda t: f"{t.hour}", "hh": lambda t: f"{t.hour:02}",
    "H": lambda t: f"{t.hour % 12 or 12}", "HH": lambda t: f"{t.hour % 12 or 12:02}",
    "AA": lambda t: "PM" if t.hour >= 12 else "AM", "aa": lambda t: "pm" if t.hour >= 12 else "am",
    "m": lambda t: f"{t.minute}", "mm": lambda t: f"{t.minute:02}",
    "s": lambda t: f"{t.second}", "ss": lambda t: f"{t.second:02}",
    "Z": lambda t: _offset(t, ":") if t.utcoffset() else "Z",
    "ZZZ": lambda t: _offset(t, "") if t.utcoffset() else "UTC",
    "ZZZZ": lambda t: _offset(t, ""), "ZZZZZ": lambda t: _offset(t, ":"),
}  # fmt: skip


@functools.cache
def _now() -> str:
    return _rfc3339(_EPOCH + timedelta(seconds=int(time.time())))


def _offset(moment: datetime, colon: str) -> str:
    seconds = int((moment.utcoffset() or timedelta()).total_seconds())
    minutes = abs(seconds) // 60
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02}{colon}{minutes % 60:02}"


def _rfc3339(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}".join((f"{moment.year:04}-{moment:%m-%d}T", _VERBS["Z"](moment)))


def _parsed(text: str, argument: int) -> tuple[datetime, int]:
    """A timestamp to the second, and the nanoseconds beyond."""
    found = _RFC3339.fullmatch(text)
    try:
        if found:
            offset = timedelta(hours=int(found[6] or 0), minutes=int(found[7] or 0))
            if offset >= timedelta(days=1) or int(found[7] or 0) > 59:
                raise ValueError(text)
            zone = timezone(-offset if found[5] == "-" else offset)
            moment = datetime.fromisoformat(f"{found[1]} {found[2]}").replace(tzinfo=zone)
            return moment, int((found[3] or "").ljust(9, "0")[:9])
    except (ValueError, OverflowError) as e:
        raise CallError(f"{text!r:.60} has no such date, time or offset", argument) from e
    raise CallError(f"{text!r:.60} is no timestamp such as 2006-01-02T15:04:05Z", argument)


def _timeadd(timestamp: str, duration: str) -> Value:
    moment, nanoseconds = _parsed(timestamp, 0)
    sign, rest = (duration[0], duration[1:]) if duration[:1] in ("-", "+") else ("", duration)
    if rest != "0" and not re.fullmatch(f"(?:{_DURATION.pattern})+", rest, re.ASCII):
        raise CallError(f"duration: {duration!r:.60} is none such as 1h30m", 1)
    total = sum(int(Decimal(count) * _UNITS_NS[unit]) for count, unit in _DURATION.findall(rest))
    if total >= 1 << 63:
        raise CallError(f"duration: {duration!r:.60} is too long", 1)
    total = nanoseconds + (-total if sign == "-" else total)
    try:
        return _rfc3339(moment + timedelta(seconds=total // 10**9))
    except OverflowError as e:
        raise CallError("the result is not within the years 1 to 9999") from e


def _formatted(spec: str, moment: datetime) -> str:
    out: list[str] = []
    at = 0
    while at < len(spec):
        found = _TOKEN.match(spec, at)
        if found is None:
            raise CallError("format: a quote ' that is not closed", 0)
        at = found.end()
        token = found[0]
        if token[0] == "'":
            out.append((found[1] or "''").replace("''", "'"))
        elif not found[2]:
            out.append(token)
        elif token in _VERBS:
            out.append(_VERBS[token](moment))
        else:
            known = ", ".join(verb for verb in _VERBS if verb[0] == token[0])
            raise CallError(
                f"format: {token[:20]!r} is unknown; {known or 'letters are quoted by single quotes'}", 0
            )
    return "".join(out)


def _formatdate(spec: str, text: str) -> Value:
    return _formatted(spec, _parsed(text, 1)[0])


def _formattimestamp(spec: str, moment: str | Decimal) -> Value:
    when = _parsed(moment, 1)[0] if isinstance(moment, str) else _moment(moment, 1)
    if spec == "X":
        return str((when - _EPOCH) // timedelta(seconds=1))
    return _formatted(spec, when)


def _unixtimestampparse(seconds: Decimal) -> Value:
    t = _moment(seconds, 0)
    year, week, _ = t.isocalendar()
    numbers = {"year": t.year, "year_day": t.timetuple().tm_yday, "day": t.day, "month": t.month,
               "weekday": t.isoweekday() % 7, "hour": t.hour, "minute": t.minute, "second": t.second,
               "iso_year": year, "iso_week": week}  # fmt: skip
    texts = {"month_name": _MONTHS[t.month - 1], "weekday_name": _DAYS[t.weekday()], "rfc3339": _rfc3339(t)}
    found: dict[str, Value] = {**{k: Decimal(v) for k, v in numbers.items()}, **texts}
    return {name: found[name] for name in sorted(found)}


def _moment(seconds: Decimal, argument: int) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=int(seconds))
    except OverflowError as e:
        raise CallError("the time is not within the years 1 to 9999", argument) from e


def _whole_number(value: Value) -> Value:
    """A whole number, and no string that spells one."""
    if isinstance(value, Decimal):
        return integer(value)
    raise Unsuitable(f"a whole number is needed, not a {kind_of(value)}")


def _when(value: Value) -> Value:
    return value if isinstance(value, str) else _whole_number(anything(value))


FUNCTIONS = (
    Function("timestamp", lambda: _now()),
    Function("timeadd", _timeadd, (Parameter("timestamp", string), Parameter("duration", string))),
    Function("formatdate", _formatdate, (Parameter("format", string), Parameter("time", string))),
    Function("formattimestamp", _formattimestamp, (Parameter("format", string), Parameter("time", _when))),
    Function("unixtimestampparse", _unixtimestampparse, (Parameter("unix_timestamp", _whole_number),)),
)
