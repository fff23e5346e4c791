"""`regex`, `regexall` and `regex_replace`.

Spec: cty's stdlib: regexp.go, string_replace.go; what `$1` and `${name}` stand for, Go's Regexp.Expand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from imagesmith.bake.functions.calling import CallError, Function, Parameter, bounded, string
from imagesmith.bake.functions.re2 import Match, Pattern
from imagesmith.bake.values import Unsuitable, Value, text_of

__all__ = ["FUNCTIONS"]

#: What the longest search that is not refused takes, in steps of a Budget.
_MOST_COST = 150_000
_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


def _pattern(text: str, argument: int) -> Pattern:
    pattern = Pattern(text, argument)
    if any(pattern.groups) and not all(pattern.groups):
        raise CallError("pattern: either all groups have names, or none has", argument)
    return pattern


def _regex(pattern: str, text: str) -> Value:
    wanted = _pattern(pattern, 0)
    found = next(wanted.matches(text), None)
    if found is None:
        raise CallError("the pattern matches no part of the string", 1)
    return _result(wanted, text, found)


def _regexall(pattern: str, text: str) -> Value:
    wanted = _pattern(pattern, 0)
    out: list[Value] = []
    for found in wanted.matches(text):
        out.append(_result(wanted, text, found))
        bounded(items=len(out))
    return tuple(out)


def _result(pattern: Pattern, text: str, found: Match) -> Value:
    """The whole match, or its groups: a list, or a map where they have names."""
    parts = tuple(None if span is None else text[span[0] : span[1]] for span in found)
    if not pattern.groups:
        return parts[0]
    if not pattern.groups[0]:
        return parts[1:]
    return dict(sorted(zip(pattern.groups, parts[1:], strict=True)))


def _regex_replace(text: str, pattern: str, new: str) -> Value:
    wanted = Pattern(pattern, 1)
    out: list[str] = []
    at = size = 0
    for found in wanted.matches(text):
        assert found[0] is not None
        out += (text[at : found[0][0]], _expanded(new, wanted, text, found))
        size += len(out[-1])
        bounded(characters=size + len(text))
        at = found[0][1]
    return "".join((*out, text[at:]))


def _expanded(new: str, pattern: Pattern, text: str, found: Match) -> str:
    def replaced(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        if name.isdecimal():
            number = int(name) if len(name) < 6 else len(found)
        else:
            number = pattern.groups.index(name) + 1 if name in pattern.groups else len(found)
        span = found[number] if number < len(found) else None
        return "" if span is None else text[span[0] : span[1]]

    return _REFERENCE.sub(replaced, new) if "$" in new else new


def _cost(args: Sequence[Value], *, every: bool = False) -> int:
    """At worst each step of the pattern comes to each place of the text, and so from each match."""
    try:
        pattern, text = (text_of(arg) for arg in args[:2])
        places = len(text) + 1
        return min(_MOST_COST, 200 + Pattern(pattern, 0).size * places * (places if every else 4) // 16)
    except (CallError, Unsuitable):
        return 200  # the call says what is wrong


def _cost_of_all(args: Sequence[Value]) -> int:
    return _cost(args, every=True)


def _cost_of_replacing(args: Sequence[Value]) -> int:
    return _cost(args[1::-1], every=True)


_PATTERN = (Parameter("pattern", string), Parameter("string", string))

FUNCTIONS = (
    Function("regex", _regex, _PATTERN, cost=_cost),
    Function("regexall", _regexall, _PATTERN, cost=_cost_of_all),
    Function(
        "regex_replace",
        _regex_replace,
        (Parameter("str", string), Parameter("pattern", string), Parameter("replace", string)),
        cost=_cost_of_replacing,
    ),
)
