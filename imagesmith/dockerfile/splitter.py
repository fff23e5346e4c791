"""Gathers the words that an expanded text falls into.

Why: EXPOSE and its like split at blanks outside quotes, also at those that a variable brings; where a blank
came from is known only while the text is expanded (words.py).
Trust: what is gathered is bounded by who expands.
"""

from __future__ import annotations

import re

from imagesmith.dockerfile.grammar import SPACE

__all__ = ["Splitter"]

_BLANKS = re.compile(f"[{SPACE}]")


class Splitter:
    """Gathers words: blanks outside quotes part them, also those that a variable brings."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._word: list[str] = []

    def quoted(self, text: str) -> None:
        """Text whose blanks do not count."""
        self._word.append(text)

    def raw(self, text: str) -> None:
        """Text whose blanks part words."""
        first, *others = _BLANKS.split(text)
        self._word.append(first)
        for other in others:
            self._close()
            self._word.append(other)

    def _close(self) -> None:
        word = "".join(self._word)
        if word:
            self._words.append(word)
        self._word = []

    def done(self) -> list[str]:
        """The words."""
        self._close()
        return self._words
