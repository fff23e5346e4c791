"""Finding the here-documents that a line opens: `<<EOF`, `<<-EOF`, `<<"EOF"`, several in one line.

Spec: BuildKit's parser (heredocsFromLine, heredocFromMatch). The line is split as a shell would, always with
the backslash as escape; quotes stay in the words, for a quoted name means a body that is not expanded.
"""

from __future__ import annotations

import re

from imagesmith.values import frozen

__all__ = ["Opening", "heredocs_of", "opening_of"]

_OPENS = re.compile(r"(\d*)<<(-?)\s*([^<]*)", re.ASCII | re.DOTALL)


@frozen
class Opening:
    """A here-document's start: its name without quotes, what its form means, and the word itself."""

    name: str
    expand: bool
    chomp: bool
    word: str


def opening_of(word: str) -> Opening | None:
    """What a shell word opens, or None."""
    match = _OPENS.fullmatch(word)
    if match is None:
        return None
    rest = match[3]
    names = _split(rest, keep=False)
    if names is None or len(names) != 1 or not names[0]:
        return None
    raw = _split(rest, keep=True)
    quoted = raw is not None and ('"' in rest or "'" in rest)
    return Opening(names[0], not quoted, match[2] == "-", word)


def heredocs_of(line: str) -> list[Opening]:
    """The here-documents that a joined line opens; none if it cannot be split into words."""
    if "<<" not in line:
        return []
    words = _split(line, keep=True)
    return [o for w in words or [] if (o := opening_of(w)) is not None]


#: The pieces of a shell word, in the order in which they are tried; a quote that is not closed is none.
_PIECE = (
    r"""(?s)(?P<blank>[ \t\r\n\v\f\x85\xa0]+)|(?P<plain>[^ \t\r\n\v\f\x85\xa0'"\\<]+)|'(?P<single>[^']*)'"""
    r"""|"(?P<double>[^"\\]*(?:\\.[^"\\]*)*)"|\\(?P<escaped>.?)|(?P<opens><<+-?[ \t\r]*)|(?P<less><)"""
)
_ESCAPE = r'\\(["\\$])'


def _split(text: str, *, keep: bool) -> list[str] | None:
    """Shell words; `keep` leaves quotes and escapes in. None if a quote is not closed."""
    words: list[str] = []
    word: list[str] = []
    at = 0
    for match in re.finditer(_PIECE, text):
        if match.start() != at:
            return None
        at = match.end()
        kind = match.lastgroup or ""
        if kind == "blank":
            if word:
                words.append("".join(word))
            word = []
        elif keep or kind in ("plain", "opens", "less"):
            word.append(match[0])
        else:
            inside = match[kind]
            word.append(re.sub(_ESCAPE, r"\1", inside) if kind == "double" else inside)
    if at != len(text):
        return None
    if word:
        words.append("".join(word))
    return words
