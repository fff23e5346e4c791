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


def _split(text: str, *, keep: bool) -> list[str] | None:
    """Shell words; `keep` leaves quotes and escapes in. None if a quote is not closed."""
    words: list[str] = []
    word, started, at = "", False, 0
    while at < len(text):
        char = text[at]
        if char in " \t\r\n\v\f\x85\xa0":
            if started:
                words.append(word)
            word, started = "", False
            at += 1
        elif char in "'\"":
            end = _closing(text, at)
            if end < 0:
                return None
            inner = text[at + 1 : end]
            if not keep and char == '"':
                inner = re.sub(r'\\(["\\$])', r"\1", inner)
            word += text[at : end + 1] if keep else inner
            started, at = True, end + 1
        elif char == "\\":
            piece = text[at : at + 2]
            word += piece if keep else piece[1:]
            started, at = True, at + 2
        elif text.startswith("<<", at):
            run = re.match(r"<<+-?[ \t\r]*", text[at:])
            assert run
            word += run[0]
            started, at = True, at + run.end()
        else:
            word += char
            started, at = True, at + 1
    if started:
        words.append(word)
    return words


def _closing(text: str, at: int) -> int:
    quote = text[at]
    at += 1
    while at < len(text):
        if text[at] == "\\" and quote == '"':
            at += 2
            continue
        if text[at] == quote:
            return at
        at += 1
    return -1
