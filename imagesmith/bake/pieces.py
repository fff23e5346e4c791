"""Text that is to be read as HCL, and what its escapes mean.

Spec: HCL's native syntax (hclsyntax/spec.md): text is in Unicode's form C.
Trust: a hostile file: its size is limited.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from imagesmith.bake.places import Source, Span, fault
from imagesmith.errors import DefinitionError
from imagesmith.values import frozen

__all__ = ["CHARACTERS", "Piece", "Word", "decoded", "whole"]

#: A file of more characters is refused.
CHARACTERS = 1 << 20

_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)|\$\$\{|%%\{", re.DOTALL)
_DOUBLED = re.compile(r"\$\$\{|%%\{")
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


@frozen(eq=False)
class Piece:
    """Text to be read as HCL, and where its characters stand: `offsets` has one more than the text.

    Without `offsets` they follow each other from `begin`.
    """

    source: Source
    text: str
    begin: int = 0
    offsets: Sequence[int] | None = None

    def span(self, start: int, end: int) -> Span:
        """The place of some of its characters."""
        if self.offsets is not None:
            return Span(self.source, self.offsets[start], self.offsets[end])
        return Span(self.source, self.begin + start, self.begin + end)


class Word(NamedTuple):
    """A word: its name in the grammar, its text (that of TEXT is decoded), and its offsets in the piece."""

    kind: str
    text: str
    start: int
    end: int


def whole(source: Source) -> Piece:
    """All of a file.

    Raises:
        DefinitionError: it is too large.
    """
    if len(source.text) > CHARACTERS:
        size = f"{len(source.text)} characters, more than {CHARACTERS}"
        raise DefinitionError(f"{source.name} is too large for a bake file: {size}")
    return Piece(source, source.text)


def decoded(piece: Piece, start: int, end: int, *, escapes: bool) -> str:
    """The text that is meant: `$${` and `%%{` are `${` and `%{`; `escapes` are those with a backslash."""

    def meant(found: re.Match[str]) -> str:
        sequence = found[0]
        if sequence[0] != "\\":
            return sequence[1:]
        if sequence[1] in "uU" and len(sequence) > 2:
            code = int(f"0x{sequence[2:]}", 0)
            if code < 0x110000 and not 0xD800 <= code < 0xE000:
                return chr(code)
        if sequence[1] not in _SIMPLE:
            hint = r"known are \n \r \t \" \\ \uNNNN \UNNNNNNNN; write \\ for a backslash"
            place = piece.span(start + found.start(), start + found.end())
            raise fault(place, f"{sequence} is no escape sequence", hint=hint)
        return _SIMPLE[sequence[1]]

    text = (_ESCAPE if escapes else _DOUBLED).sub(meant, piece.text[start:end])
    return text if text.isascii() else unicodedata.normalize("NFC", text)
