"""Slow matchers that fuzzing holds ours against: the languages' rules, one branch each, tried in every way.

They share no code with imagesmith. Each remembers where it was: none takes more than pattern times text.

Spec: Go's path/filepath.Match; moby/patternmatcher; BuildKit's shell patterns (`*` and `?` alone).
"""

from __future__ import annotations

import posixpath
from functools import cache

__all__ = ["BadPattern", "filepath_match", "ignored", "shell_match"]


class BadPattern(Exception):
    """A pattern that is none."""


def shell_match(pattern: str, text: str) -> bool:
    """Whether a pattern of `${name#pattern}` without escapes matches a whole text."""

    @cache
    def at(p: int, t: int) -> bool:
        if p == len(pattern):
            return t == len(text)
        if pattern[p] == "*":
            return at(p + 1, t) or (t < len(text) and at(p, t + 1))
        return t < len(text) and pattern[p] in ("?", text[t]) and at(p + 1, t + 1)

    return at(0, 0)


def _class(pattern: str, p: int) -> tuple[bool, list[tuple[str, str]], int]:
    """Negation, ranges and the end of a class that begins behind its bracket at `p`."""
    negated = pattern[p : p + 1] == "^"
    p += negated
    ranges = []
    while not (pattern[p : p + 1] == "]" and ranges):
        low, p = _bound(pattern, p)
        high = low
        if pattern[p : p + 1] == "-":
            high, p = _bound(pattern, p + 1)
        ranges.append((low, high))
    return negated, ranges, p + 1


def _bound(pattern: str, p: int) -> tuple[str, int]:
    if pattern[p : p + 1] in ("", "-", "]"):
        raise BadPattern
    if pattern[p] == "\\":
        p += 1
    if p + 1 >= len(pattern):
        raise BadPattern
    return pattern[p], p + 1


def _parsed(pattern: str) -> list[tuple[str, object]]:
    """A pattern of filepath.Match as its elements."""
    out: list[tuple[str, object]] = []
    p = 0
    while p < len(pattern):
        char = pattern[p]
        p += 1
        if char == "[":
            negated, ranges, p = _class(pattern, p)
            out.append(("class", (negated, ranges)))
        elif char == "\\":
            if p == len(pattern):
                raise BadPattern
            out.append(("char", pattern[p]))
            p += 1
        else:
            out.append(({"*": "star", "?": "any"}.get(char, "char"), char))
    return out


def _takes(element: tuple[str, object], char: str) -> bool:
    kind, value = element
    if kind == "char":
        return value == char
    if kind == "any":
        return char != "/"
    negated, ranges = value  # type: ignore[misc]
    return negated != any(low <= char <= high for low, high in ranges)


def filepath_match(pattern: str, name: str) -> bool:
    """Go's filepath.Match.

    Raises:
        BadPattern: Go's ErrBadPattern, wherever in the pattern.
    """
    elements = _parsed(pattern)

    @cache
    def at(p: int, n: int) -> bool:
        if p == len(elements):
            return n == len(name)
        if elements[p][0] == "star":
            return at(p + 1, n) or (n < len(name) and name[n] != "/" and at(p, n + 1))
        return n < len(name) and _takes(elements[p], name[n]) and at(p + 1, n + 1)

    return at(0, 0)


def _one(pattern: str, path: str) -> bool:
    """Whether one pattern of an ignore file, without classes, matches one path."""

    if pattern.startswith("**") and not set("*?") & set(pattern[2:]):  # any end of a path, not of an element
        return path.endswith(pattern[2:]) or f"/{path}" == pattern[2:]

    @cache
    def at(p: int, n: int) -> bool:
        if p == len(pattern):
            return n == len(path)
        if pattern.startswith("**", p):
            rest = p + 2 + pattern.startswith("/", p + 2)
            if rest == len(pattern):
                return True
            return at(rest, n) or any(path[m] == "/" and at(rest, m + 1) for m in range(n, len(path)))
        if pattern[p] == "*":
            return at(p + 1, n) or (n < len(path) and path[n] != "/" and at(p, n + 1))
        if n == len(path):
            return False
        if pattern[p] == "?":
            return path[n] != "/" and at(p + 1, n + 1)
        return pattern[p] == path[n] and at(p + 1, n + 1)

    return at(0, 0)


def ignored(patterns: list[str], path: str) -> bool:
    """Whether an ignore file, without classes and escapes, ignores a path: the last that fits decides."""
    parts = path.split("/")
    whole = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    found = False
    for line in patterns:
        text = line.strip()
        if text:
            clean = posixpath.normpath(text.removeprefix("!"))
            clean = clean[1:] if clean.startswith("//") else clean
            if any(_one(clean, each) for each in whole):
                found = not text.startswith("!")
    return found
