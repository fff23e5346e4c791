"""Patterns of paths: those of .dockerignore, --exclude and --parents, and those of COPY's sources.

Why two kinds: ignore patterns know `**`, match parents and take back with `!`; COPY's wildcards are Go's
filepath.Match, where `*` stays within one path element and there is nothing else.
Spec: moby/patternmatcher; Go's path/filepath.Match.
Trust: text of a Dockerfile or ignore file; a bad pattern is a ContextError that quotes it, and none takes
long (context/wildcards.py). A path costs one look-up for all patterns without wildcards.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from imagesmith.errors import ContextError

__all__ = ["Matcher", "has_wildcards", "match_name"]


class _Pattern:
    """One pattern: exact, prefix, suffix, or with wildcards that are matched by an expression."""

    __slots__ = ("_match", "exclusion", "kind", "text")

    def __init__(self, text: str, exclusion: bool) -> None:
        self.text, self.exclusion = text, exclusion
        self.kind, tokens = _tokens(text)
        self._match: Callable[[str], object] | None = None
        if self.kind == "wild":
            from imagesmith.context.wildcards import wildcards

            try:
                self._match = wildcards(tokens)
            except re.error:
                raise ContextError(f"syntax error in pattern: {text}") from None

    def matches(self, path: str) -> bool:
        """True if the pattern matches this very path."""
        if self._match is not None:
            return bool(self._match(path))
        if self.kind == "exact":
            return path == self.text
        if self.kind == "prefix":
            return path.startswith(self.text[:-2])
        suffix = self.text[2:]
        return path.endswith(suffix) or (suffix[:1] == "/" and path == suffix[1:])


def _tokens(text: str) -> tuple[str, list[str]]:
    """The kind of a pattern and what it is made of, as patternmatcher reads it."""
    kind, out, at = "exact", list[str](), 0
    while at < len(text):
        char, first = text[at], not at
        at += 1
        if char == "*" and text[at : at + 1] == "*":
            from imagesmith.context.wildcards import FOLDERS, REST

            at += 1
            if text[at : at + 1] == "/":
                at += 1
            if at < len(text):
                out.append(FOLDERS)
                kind = "wild"
            elif kind == "exact":
                kind = "prefix"
            else:
                out.append(REST)
                kind = "wild"
            if first:
                kind = "suffix"
        elif char == "\\" and at == len(text):
            out.append(re.escape(char))
        else:
            token, at = _token(text, at - 1)
            out.append(token)
            if char in "*?[\\":
                kind = "wild"
    return kind, out


def _token(text: str, at: int, *, empty: bool = False) -> tuple[str, int]:
    """One element of filepath.Match's language, and where the next begins; `empty` as for `_class`."""
    char = text[at]
    if char == "*":
        from imagesmith.context.wildcards import STAR

        return STAR, at + 1
    if char == "?":
        return "[^/]", at + 1
    if char == "\\" and at + 1 < len(text):
        return re.escape(text[at + 1]), at + 2
    if char == "[":
        end = _class_end(text, at + 1)
        return _class(text[at + 1 : end], empty=empty), end + 1
    return re.escape(char), at + 1


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


def _class(body: str, *, empty: bool) -> str:
    """The expression of a class; with `empty` a range that ends before it begins holds nothing."""
    negated = body.startswith("^")
    inner = body[1:] if negated else body
    out, at = "", 0
    while at < len(inner):
        low, at = _bound(inner, at)
        high = low
        if inner[at : at + 1] == "-" and at + 1 < len(inner):
            high, at = _bound(inner, at + 1)
        if low <= high or not empty:
            out += f"{re.escape(low)}-{re.escape(high)}"
    if not out:
        return "(?s:.)" if negated else "(?!)"
    return f"[{'^' if negated else ''}{out}]"


def _bound(inner: str, at: int) -> tuple[str, int]:
    """A character of a class, and where the next begins."""
    at += inner[at] == "\\" and at + 1 < len(inner)
    return inner[at], at + 1


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
        numbered = list(enumerate(self.patterns))
        self._exact = {p.text: n for n, p in numbered if p.kind == "exact"}
        self._others = [(n, p) for n, p in reversed(numbered) if p.kind != "exact"]
        self._folders: dict[str, int] = {"": -1}

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def matches(self, path: str) -> bool:
        """True if the path is matched in the end."""
        last = self._last(path, self._above(path.rpartition("/")[0]))
        return last >= 0 and not self.patterns[last].exclusion

    def _last(self, path: str, above: int) -> int:
        """The last pattern that matches a path, or its parents, for which it is `above`; -1 for none."""
        best = max(above, self._exact.get(path, -1))
        for n, pattern in self._others:
            if n < best:
                break
            if pattern.matches(path):
                return n
        return best

    def _above(self, folder: str) -> int:
        """The last pattern that matches a folder or one above it."""
        missing = []
        while (found := self._folders.get(folder)) is None:
            missing.append(folder)
            folder = folder.rpartition("/")[0]
        for below in reversed(missing):
            found = self._folders[below] = self._last(below, found)
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
def _name_matcher(pattern: str) -> Callable[[str], object]:
    from imagesmith.context.wildcards import wildcards

    tokens, at = list[str](), 0
    while at < len(pattern):
        token, at = _token(pattern, at, empty=True)
        tokens.append(token)
    try:
        return wildcards(tokens)
    except re.error:
        raise ContextError(f"syntax error in pattern: {pattern}") from None


def match_name(pattern: str, name: str) -> bool:
    """Go's filepath.Match for one path element.

    Raises:
        ContextError: a bad pattern.
    """
    return bool(_name_matcher(pattern)(name))
