"""WWW-Authenticate headers: every challenge in every header, whatever their writers left out.

Why: one header may hold several challenges, values may be unquoted and hold colons and slashes, keys and
schemes come in any case. Parsers that read one challenge a header fail where Basic and Bearer are offered.
Spec: RFC 9110 section 11.6.1; the distribution project's token specification.
Trust: a registry may send anything; nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from imagesmith.values import frozen

__all__ = ["Challenge", "parse_challenges", "split_scope"]

_GAP = re.compile(r"[\s,]*")
_WORD = re.compile(r"[^\s,=\"]+")
_EQUALS = re.compile(r"\s*=\s*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"?', re.DOTALL)
_BARE = re.compile(r"[^\s,]*")


@frozen
class Challenge:
    """A scheme and its parameters, both in lower case; values as they came."""

    scheme: str
    params: Mapping[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of WWW-Authenticate headers, in order."""
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        at = _end(_GAP, header, 0)
        while at < len(header):
            word = _WORD.match(header, at)
            if word is None:  # a stray quote or equals sign
                at = _end(_GAP, header, at + 1)
                continue
            equals = _EQUALS.match(header, word.end())
            if equals is None:
                found.append((word[0].lower(), {}))
                at = word.end()
            else:
                value, at = _value(header, equals.end())
                if found:
                    found[-1][1].setdefault(word[0].lower(), value)
            at = _end(_GAP, header, at)
    return [Challenge(scheme, params) for scheme, params in found]


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return at if match is None else match.end()


def _value(text: str, at: int) -> tuple[str, int]:
    quoted = _QUOTED.match(text, at)
    if quoted is not None:
        return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL), quoted.end()
    end = _end(_BARE, text, at)
    return text[at:end], end


def split_scope(text: str) -> tuple[str, str, frozenset[str]]:
    """Type, name and actions of `repository:host:5000/a:pull,push`: cut at the first and the last colon."""
    kind, _, rest = text.partition(":")
    name, _, actions = rest.rpartition(":")
    return kind, name, frozenset(filter(None, actions.split(",")))
