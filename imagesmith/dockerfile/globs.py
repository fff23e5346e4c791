"""Patterns of `${name#p}`, `${name%p}` and `${name/p/r}`: `*` and `?`, matched in time that does not explode.

Why not one regular expression: Go's engine never backtracks, Python's does, and `*a*a*a*b` would take for
ever. A pattern is cut at its stars instead: of the parts in between, each but the last is best placed where
it first fits, so that no choice is ever taken back.
Spec: BuildKit's shell/lex.go (convertShellPatternToRegex), Go's regexp.ReplaceAllString.
Trust: patterns and texts of a Dockerfile; a bad escape is a ValueError that the lexer puts in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["Glob"]


class Glob:
    """A compiled pattern; `backwards` matches reversed texts, for suffixes."""

    def __init__(self, pattern: str, escape: str, *, backwards: bool = False) -> None:
        """Compile.

        Raises:
            ValueError: an escape that means nothing, as its argument.
        """
        parts: list[list[str]] = [[]]
        chars = iter(pattern)
        for char in chars:
            if char == "*":
                parts.append([])
                continue
            if char == escape:
                following = next(chars, "")
                if not following:
                    break
                if following not in (*"*?}/", escape):
                    raise ValueError(f"{escape}{following}")
                parts[-1].append(re.escape(following))
            else:
                parts[-1].append("." if char == "?" else re.escape(char))
        if backwards:
            parts = [part[::-1] for part in reversed(parts)]
        texts = ["".join(part) for part in parts]
        self._empty_last = not texts[-1]
        self._parts = [re.compile(text, re.DOTALL) for text in texts]
        self._last = re.compile(f".*(?:{texts[-1]})", re.DOTALL)

    def prefix(self, text: str, *, longest: bool) -> int:
        """The length of the prefix that the pattern matches, or -1."""
        match = self._parts[0].match(text)
        return -1 if match is None else self._rest(text, match.end(), longest=longest)

    def search(self, text: str, start: int = 0) -> tuple[int, int] | None:
        """Where the pattern first matches from `start` on, as much as it can."""
        match = self._parts[0].search(text, start)
        if match is None:
            return None
        end = self._rest(text, match.end(), longest=True)
        return None if end < 0 else (match.start(), end)

    def replace_all(self, text: str, by: Callable[[str], str]) -> str:
        """The text with every match replaced; as in Go, none is empty right after another."""
        out: list[str] = []
        at = done = 0
        while at <= len(text):
            found = self.search(text, at)
            if found is None:
                break
            start, end = found
            out.append(text[done:start])
            if end > done or start == 0:
                out.append(by(text[start:end]))
            done = end
            at = max(at + 1, end)
        return "".join([*out, text[done:]])

    def _rest(self, text: str, at: int, *, longest: bool) -> int:
        """The end of the parts after the first, which ended at `at`; -1 if they do not fit."""
        if len(self._parts) == 1:
            return at
        for part in self._parts[1:-1]:
            match = part.search(text, at)
            if match is None:
                return -1
            at = match.end()
        if self._empty_last:
            return len(text) if longest else at
        match = self._last.match(text, at) if longest else self._parts[-1].search(text, at)
        return -1 if match is None else match.end()
