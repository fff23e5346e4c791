"""Patterns of paths: those of .dockerignore, --exclude and --parents, and those of COPY's sources.

Why two kinds: ignore patterns know `**`, match parents and take back with `!`; COPY's wildcards are Go's
filepath.Match, where `*` stays within one path element and there is nothing else.
Spec: moby/patternmatcher; Go's path/filepath.Match.
Trust: text of a Dockerfile or ignore file; a bad pattern is a ContextError that quotes it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from functools import lru_cache

from imagesmith.errors import ContextError

__all__ = ["Matcher", "has_wildcards", "match_name"]


class _Pattern:
    """One pattern: exact, prefix, suffix, or a regular expression."""

    __slots__ = ("exclusion", "kind", "regex", "text")

    def __init__(self, text: str, exclusion: bool) -> None:
        self.text, self.exclusion = text, exclusion
        self.kind, expression = _compile(text)
        try:
            self.regex = re.compile(expression, re.DOTALL) if self.kind == "regex" else None
        except re.error:
            raise ContextError(f"syntax error in pattern: {text}") from None

    def matches(self, path: str) -> bool:
        """True if the pattern matches this very path."""
        if self.regex is not None:
            return self.regex.match(path) is not None
        if self.kind == "exact":
            return path == self.text
        if self.kind == "prefix":
            return path.startswith(self.text[:-2])
        suffix = self.text[2:]
        return path.endswith(suffix) or (suffix[:1] == "/" and path == suffix[1:])


def _compile(text: str) -> tuple[str, str]:
    """The kind of a pattern and its regular expression, as patternmatcher translates it."""
    kind, out, at, first = "exact", "^", 0, True
    while at < len(text):
        char = text[at]
        at += 1
        if char == "*" and text[at : at + 1] == "*":
            at += 1
            if text[at : at + 1] == "/":
                at += 1
            if at >= len(text):
                if kind == "exact":
                    kind = "prefix"
                else:
                    out, kind = out + ".*", "regex"
            else:
                out, kind = out + "(.*/)?", "regex"
            if first:
                kind = "suffix"
        elif char == "*":
            out, kind = out + "[^/]*", "regex"
        elif char == "?":
            out, kind = out + "[^/]", "regex"
        elif char == "\\":
            if at < len(text):
                out, kind = out + re.escape(text[at]), "regex"
                at += 1
            else:
                out += "\\\\"
        elif char == "[":
            end = _class_end(text, at)
            out, kind, at = out + _class(text[at:end]), "regex", end + 1
        else:
            out += re.escape(char)
        first = False
    return kind, out + r"\Z"


def _class_end(text: str, at: int) -> int:
    """The place of the bracket that closes a class."""
    start = at
    if text[at : at + 1] == "^":
        at += 1
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "]" and at > start:
            return at
        at += 1
    raise ContextError(f"syntax error in pattern: {text}")


def _class(body: str) -> str:
    negated = body.startswith("^")
    inner = body[1:] if negated else body
    out, at = "", 0
    while at < len(inner):
        char = inner[at]
        if char == "\\" and at + 1 < len(inner):
            at += 1
            out += re.escape(inner[at])
        elif char == "-" and 0 < at < len(inner) - 1:
            out += "-"
        else:
            out += re.escape(char)
        at += 1
    return f"[{'^' if negated else ''}{out}]"


class Matcher:
    """Several patterns in order: the last one that matches a path or a parent of it decides."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Compile patterns.

        Raises:
            ContextError: a bad pattern.
        """
        self.patterns: list[_Pattern] = []
        for raw in patterns:
            text = raw.strip()
            if not text:
                continue
            exclusion = text.startswith("!")
            if exclusion:
                text = text[1:]
                if not text:
                    raise ContextError('illegal exclusion pattern: "!"')
            text = posixpath.normpath(text)
            self.patterns.append(_Pattern(text[1:] if text.startswith("//") else text, exclusion))
        self.has_exclusions = any(p.exclusion for p in self.patterns)
        self._folders: dict[str, tuple[bool, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def matches(self, path: str) -> bool:
        """True if the path is matched in the end."""
        above = self._above(path.rpartition("/")[0])
        matched = False
        for n, pattern in enumerate(self.patterns):
            if pattern.exclusion == matched and (above[n] or pattern.matches(path)):
                matched = not pattern.exclusion
        return matched

    def _above(self, folder: str) -> tuple[bool, ...]:
        """For each pattern, whether it matches a folder or one above it."""
        if not folder:
            return (False,) * len(self.patterns)
        found = self._folders.get(folder)
        if found is None:
            above = self._above(folder.rpartition("/")[0])
            found = tuple(a or p.matches(folder) for a, p in zip(above, self.patterns, strict=True))
            self._folders[folder] = found
        return found


def has_wildcards(text: str) -> bool:
    """True if Go's filepath.Match would see a wildcard."""
    at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] in "*?[":
            return True
        at += 1
    return False


@lru_cache(maxsize=256)
def _name_regex(pattern: str) -> re.Pattern[str]:
    out, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "\\" and at < len(pattern):
            out += re.escape(pattern[at])
            at += 1
        elif char == "[":
            end = _class_end(pattern, at)
            out += _class(pattern[at:end])
            at = end + 1
        else:
            out += re.escape(char)
    try:
        return re.compile(out + r"\Z", re.DOTALL)
    except re.error:
        raise ContextError(f"syntax error in pattern: {pattern}") from None


def match_name(pattern: str, name: str) -> bool:
    """Go's filepath.Match for one path element.

    Raises:
        ContextError: a bad pattern.
    """
    return _name_regex(pattern).match(name) is not None
