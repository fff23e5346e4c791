"""Where something stands in a bake or compose file, and the error that points there.

Why: whatever is wrong with a definition is shown with its line and a caret, as with Dockerfiles; so every
node and every value that may be refused later keeps its span.
"""

from __future__ import annotations

from imagesmith.errors import DefinitionError
from imagesmith.values import frozen

__all__ = ["Source", "Span", "fault"]

#: Of a message that is longer the end is left out.
_LONGEST = 300


@frozen(eq=False)
class Source:
    """A file: its name as the user gave it, and its text."""

    name: str
    text: str


@frozen(eq=False)
class Span:
    """Characters of a file, from offset `start` up to `end`."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        """The characters."""
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        """The line of the first, from 1."""
        return self.source.text.count("\n", 0, self.start) + 1

    def to(self, last: Span) -> Span:
        """From the beginning of this to the end of another one."""
        return Span(self.source, self.start, max(self.end, last.end))


def fault(span: Span, message: str, *, hint: str = "") -> DefinitionError:
    """The error for what stands there; the caret is under its first line.

    Messages quote what files say: what cannot be printed is escaped, and of a long one the end is left out.
    """
    error = DefinitionError(_on_one_line(message), hint=_on_one_line(hint))
    text, first = span.source.text, span.line
    begin = text.rfind("\n", 0, span.start) + 1
    stop = text.find("\n", span.start)
    stop = len(text) if stop < 0 else stop
    last = first + text.count("\n", span.start, max(span.start, span.end - 1))
    error.located(span.source.name, first, last, text)
    error.line, error.column = first, span.start - begin
    error.end = max(min(span.end, stop) - begin, error.column)
    return error


def _on_one_line(message: str) -> str:
    if len(message) > _LONGEST:
        message = f"{message[:_LONGEST]}..."
    if message.isprintable():
        return message
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
