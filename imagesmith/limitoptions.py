"""Reading what limits a step: --resource KEY=VALUE as buildx has it, and docker's flags for each.

Spec: buildx's util/buildflags/resources.go; docker run's checks of the same values.
Trust: words of a command line or of a bake file; every mistake is a UsageError that quotes the word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import UsageError
from imagesmith.options import parse_size
from imagesmith.quotas import Limits

__all__ = ["KEYS", "parse_limits"]

#: What may be limited, in the words of --resource; each is a flag of docker's as well.
KEYS = (
    "memory", "memory-swap", "cpus", "cpu-shares", "cpu-period", "cpu-quota", "cpuset-cpus", "cpuset-mems",
)  # fmt: skip
#: Docker's least memory, in bytes: with less no process starts.
_LEAST_BYTES = 6 << 20
_SHARES, _PERIODS_US, _LEAST_QUOTA_US = (2, 262_144), (1_000, 1_000_000), 1_000
_SET = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*")


def parse_limits(words: Iterable[str]) -> Limits:
    """The limits that some words `KEY=VALUE` say; of two with one key the last one counts, an empty one none.

    Raises:
        UsageError: there is no such key, the value cannot be, or two of them contradict each other.
    """
    said: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--resource {word}: expected KEY=VALUE", hint=f"keys are {', '.join(KEYS)}")
        if key not in KEYS:
            raise UsageError(f"--resource {word}: unknown key {key}{suggest(key, KEYS)}")
        said[key] = value
    said = {key: value for key, value in said.items() if value}
    memory = _memory(said.get("memory", ""))
    shares = _between(said, "cpu-shares", *_SHARES)
    quota, period = _time(said)
    return Limits(
        memory_bytes=memory,
        swap_bytes=_swap(said.get("memory-swap", ""), memory),
        quota_us=quota,
        period_us=period,
        shares=shares,
        cpus=_set(said, "cpuset-cpus"),
        nodes=_set(said, "cpuset-mems"),
    )


def _memory(text: str) -> int:
    found = parse_size(text, "memory") if text else 0
    if 0 < found < _LEAST_BYTES:
        raise UsageError(f"memory={text}: the least is 6m")
    return found


def _swap(text: str, memory: int) -> int:
    """Of memory and swap together; -1 for all there is."""
    if not text or text == "-1":
        return -1 if text else 0
    found = parse_size(text, "memory-swap")
    if found and not memory:
        raise UsageError(f"memory-swap={text}: memory is to be limited as well", hint="give --memory")
    if 0 < found < memory:
        raise UsageError(f"memory-swap={text}: it is of memory and swap together, and less than memory")
    return found


def _time(said: dict[str, str]) -> tuple[int, int]:
    """The quota and the period of processors' time, in microseconds."""
    period = _between(said, "cpu-period", *_PERIODS_US)
    quota = _whole(said, "cpu-quota")
    if 0 < quota < _LEAST_QUOTA_US:
        raise UsageError(f"cpu-quota={quota}: the least is {_LEAST_QUOTA_US} microseconds")
    if not (text := said.get("cpus", "")):
        return max(quota, 0), period
    if quota or period:
        raise UsageError("cpus says what cpu-quota and cpu-period say: give one or the other")
    try:
        count = Decimal(text)
    except InvalidOperation:
        count = Decimal(-1)
    if not count.is_finite() or count < 0 or count > 10_000 or 0 < count < Decimal("0.01"):
        raise UsageError(f"cpus={text}: a number of processors is needed, such as 2 or 0.5")
    return int(count * 100_000), 0


def _whole(said: dict[str, str], key: str) -> int:
    text = said.get(key, "0")
    if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        raise UsageError(f"{key}={text}: a whole number is needed")
    return int(text)


def _between(said: dict[str, str], key: str, least: int, most: int) -> int:
    """A whole number; 0 is none."""
    found = _whole(said, key)
    if found and not least <= found <= most:
        raise UsageError(f"{key}={found}: it is between {least} and {most}")
    return found


def _set(said: dict[str, str], key: str) -> str:
    text = said.get(key, "")
    if text and not _SET.fullmatch(text):
        raise UsageError(f"{key}={text}: expected numbers as 0-3 or 0,1")
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if dash and int(first) > int(last):
            raise UsageError(f"{key}={text}: expected numbers as 0-3 or 0,1")
    return text
