"""The bytes of a Dockerfile as logical lines: directives, comments, continuations, here-documents.

Why: none of this is context-free: the escape character is set by a comment, comments vanish inside a
continued instruction, a here-document's body ends at a word that the line before it named. So lines are
joined here, by hand, and the grammar sees one clean line an instruction.
Spec: BuildKit's frontend/dockerfile/parser (parser.go, directives.go).
Trust: any bytes. Text is kept byte for byte (what is not UTF-8 as surrogates), lines are capped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagesmith.dockerfile.grammar import BLANKS
from imagesmith.dockerfile.heredocs import heredocs_of
from imagesmith.dockerfile.nodes import Directive, Heredoc, Span
from imagesmith.dockerfile.places import locate
from imagesmith.errors import DockerfileError
from imagesmith.values import field, record, replace

__all__ = ["Line", "Source", "read"]

_MAX_LINE = 65535
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*", re.DOTALL)
_KNOWN = ("syntax", "escape", "check")
_KEYWORD = re.compile(r"[^\t\v\f\r ]*")


@record
class Line:
    """An instruction as one line, without leading blanks; `comments` stood directly above it."""

    text: str
    span: Span
    comments: tuple[str, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()


@record
class Source:
    """A Dockerfile cut into lines."""

    text: str
    escape: str = "\\"
    directives: list[Directive] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    empty_continuations: list[int] = field(default_factory=list)


def read(data: bytes, file: str) -> Source:
    """Cut a Dockerfile into its logical lines.

    Raises:
        DockerfileError: a line that is too long, a bad directive, a here-document without its end.
    """
    if not data:
        raise DockerfileError("the Dockerfile cannot be empty", file=file)
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    reader = _Reader(text, file)
    reader.run()
    return reader.source


class _Reader:
    """The state of one pass over the physical lines."""

    def __init__(self, text: str, file: str) -> None:
        self.source, self.file = Source(text), file
        self.physical = text.split("\n")
        if self.physical and not self.physical[-1]:
            self.physical.pop()
        self.number = 0

    def run(self) -> None:
        """Read everything."""
        self._directives()
        self.number = 0
        comments: list[str] = []
        while (raw := self._next()) is not None:
            line = raw.lstrip(BLANKS)
            if not line:
                continue
            if line.startswith("#"):
                self._comment(raw, comments)
                continue
            self._instruction(line, len(raw) - len(line), tuple(comments))
            comments = []

    def _next(self) -> str | None:
        """The next physical line without its end, or None."""
        if self.number >= len(self.physical):
            return None
        raw = self.physical[self.number]
        self.number += 1
        if len(raw) > _MAX_LINE // 4 and len(raw.encode("utf-8", "surrogateescape")) > _MAX_LINE:
            raise self._error("dockerfile line greater than max allowed size of 65535", self.number)
        return raw.rstrip("\r")

    def _comment(self, raw: str, comments: list[str]) -> None:
        text = raw[1:].strip(BLANKS) if raw.startswith("#") else raw.strip(BLANKS)[0:]
        if not text:
            comments.clear()
        elif self.number > len(self.source.directives) or not self._is_directive_line(self.number):
            comments.append(text)

    def _is_directive_line(self, number: int) -> bool:
        return any(d.line == number for d in self.source.directives)

    # --- directives ----------------------------------------------------------------------------

    def _directives(self) -> None:
        """Directives stand at the very top, before any other comment, blank line or instruction."""
        seen: set[str] = set()
        while (raw := self._next()) is not None:
            line = raw.lstrip(BLANKS)
            match = _DIRECTIVE.fullmatch(line)
            if match is None:
                return
            name = match[1].lower()
            if name not in _KNOWN:
                return
            if name in seen:
                raise self._error(f"only one {name} parser directive can be used", self.number, word=match[1])
            seen.add(name)
            if raw != line and name != "escape":
                continue
            self.source.directives.append(Directive(name, match[2], self.number))
            if name == "escape":
                if match[2] not in ("\\", "`"):
                    told = f"invalid escape token '{match[2]}' does not match ` or \\"
                    raise self._error(told, self.number, word=match[2])
                self.source.escape = match[2]

    # --- instructions --------------------------------------------------------------------------

    def _instruction(self, first_line: str, indent: int, comments: tuple[str, ...]) -> None:
        first = self.number
        text, more = self._cut(first_line)
        parts, pieces, length = [text], [(0, first, indent)], len(text)
        blank = False
        while more:
            raw = self._next()
            if raw is None:
                break
            stripped = raw.strip(BLANKS)
            if stripped.startswith("#"):
                continue
            if not stripped:
                blank = True
                continue
            text, more = self._cut(raw)
            parts.append(text)
            pieces.append((length, self.number, 0))
            length += len(text)
        joined = "".join(parts)
        span = Span(first, self.number, tuple(pieces))
        heredocs = tuple(self._bodies(joined, span))
        if blank:
            self.source.empty_continuations.append(self.number)
        self.source.lines.append(Line(joined, replace(span, last=self.number), comments, heredocs))

    def _cut(self, line: str) -> tuple[str, bool]:
        """A physical line without a continuation at its end, and whether there was one."""
        bare = line.rstrip(" \t")
        escape = self.source.escape
        if bare.endswith(escape) and (len(bare) == 1 or bare[-2] != escape):
            return bare[:-1], True
        return line, False

    def _bodies(self, joined: str, span: Span) -> Iterator[Heredoc]:
        """The bodies of the here-documents that an instruction names, in order."""
        keyword = _KEYWORD.match(joined)
        assert keyword
        words = joined.split(None, 2)
        name = keyword[0].lower()
        if name == "onbuild" and len(words) > 1:
            name = words[1].lower()
        if name not in ("run", "copy", "add"):
            return
        for opening in heredocs_of(joined):
            body: list[str] = []
            while True:
                if self.number >= len(self.physical):
                    error = DockerfileError("unterminated heredoc").about(opening.word)
                    span = replace(span, last=self.number)
                    raise locate(error, self.file, span, joined, self.source.text)
                raw = self.physical[self.number]
                self._next()
                candidate = raw.rstrip("\r")
                if opening.chomp:
                    candidate = candidate.lstrip("\t")
                if candidate == opening.name:
                    break
                body.append(raw + "\n")
            yield Heredoc(opening.name, "".join(body), opening.expand, opening.chomp)

    def _error(self, message: str, number: int, *, word: str = "") -> DockerfileError:
        """A mistake of one physical line."""
        error = DockerfileError(message).about(word)
        return locate(error, self.file, Span(number, number), self.physical[number - 1], self.source.text)
