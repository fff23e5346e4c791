"""Words of instructions: variables, quotes and escapes, expanded when the scope is known.

Why: the same text means different things in different places: ENV takes quotes away, a here-document keeps
them, EXPOSE splits the result, RUN leaves it all to the shell. One lexer serves them; what a name means is
asked of a `lookup`.
Spec: BuildKit's frontend/dockerfile/shell/lex.go; POSIX parameter expansion as far as Docker has it.
Trust: text of a Dockerfile; every mistake is a DockerfileError that quotes the word. A variable may stand for
two of another, and so on without end: a word grows by WORD_GROWTH characters at most, all words of a lexer by
ALL_GROWTH, and more is refused before it is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from imagesmith.dockerfile.splitter import Splitter
from imagesmith.errors import DockerfileError
from imagesmith.values import field, record

if TYPE_CHECKING:
    from imagesmith.dockerfile.globs import Glob

__all__ = ["ALL_GROWTH", "WORD_GROWTH", "Expansion", "Lexer", "Lookup"]

Lookup = Callable[[str], str | None]

_SPECIAL = "@*#?-$!0"
_END = "\ufffd"

#: Substitutions within substitutions; more is an attack on the stack, not a Dockerfile.
_MAX_DEPTH = 100
#: So many characters one word may grow by when it is expanded, and all words that a lexer expands.
WORD_GROWTH, ALL_GROWTH = 1 << 20, 64 << 20


@record
class Expansion:
    """An expanded word; `unmatched` are the names that were used and not set."""

    text: str
    matched: set[str] = field(default_factory=set)
    unmatched: set[str] = field(default_factory=set)


class Lexer:
    """Expands words under an escape character."""

    def __init__(self, escape: str = "\\") -> None:
        self.escape = escape
        self._room = ALL_GROWTH

    def expand(self, word: str, lookup: Lookup) -> Expansion:
        """The word with variables expanded and quotes removed.

        Raises:
            DockerfileError: `failed to process "WORD": …`.
        """
        return self._run(word, lookup).expansion()

    def expand_words(self, word: str, lookup: Lookup) -> list[str]:
        """As `expand`, the result split at blanks outside quotes."""
        return self._run(word, lookup).words()

    def expand_heredoc(self, body: str, lookup: Lookup) -> Expansion:
        """A here-document's body: variables expanded, quotes kept, the backslash escaping any character."""
        run = _Run(body, "\\", lookup, keep_quotes=True)
        return self._guard(run, body).expansion()

    def _run(self, word: str, lookup: Lookup) -> _Run:
        return self._guard(_Run(word, self.escape, lookup), word)

    def _guard(self, run: _Run, word: str) -> _Run:
        run.most = len(word) + min(WORD_GROWTH, self._room)
        try:
            run.process()
        except _Bad as e:
            told = DockerfileError(f"failed to process {_quoted(word)}: {e}")
            raise told.about(word, *(e.span or (0, len(word)))) from None
        self._room -= max(0, sum(map(len, run.out)) - len(word))
        return run


class _Bad(Exception):
    """A mistake within a word; `span` are the offsets of what is wrong."""

    span: tuple[int, int] | None = None


def _quoted(text: str) -> str:
    from imagesmith.dockerfile.values import go_quote

    return go_quote(text)


def _is_name(char: str) -> bool:
    return char == "_" or char.isalpha() or (char.isnumeric() and char.isdecimal())


class _Run:
    """One pass over one word."""

    def __init__(
        self, text: str, escape: str, lookup: Lookup, *, keep_quotes: bool = False, raw_escapes: bool = False
    ) -> None:
        self.text, self.escape, self.lookup = text, escape, lookup
        self.keep_quotes, self.raw_escapes = keep_quotes, raw_escapes
        self.at = self.depth = 0
        self.matched: set[str] = set()
        self.unmatched: set[str] = set()
        self.out: list[str] = []
        self.split = Splitter()
        self.most, self.made = WORD_GROWTH, 0

    def process(self) -> None:
        """Read the whole text."""
        self.out.append(self.until(""))

    def expansion(self) -> Expansion:
        """The result as one text."""
        return Expansion("".join(self.out), self.matched, self.unmatched)

    def words(self) -> list[str]:
        """The result as words."""
        return self.split.done()

    # --- reading -------------------------------------------------------------------------------

    def peek(self) -> str:
        """The next character, or '' at the end."""
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self) -> str:
        """The next character, read."""
        char = self.peek()
        self.at += 1
        return char

    def until(self, stop: str) -> str:
        """Expand up to one of the characters of `stop` (not read), or to the end."""
        parts: list[str] = []
        while (char := self.peek()) and char not in stop:
            if char == "'" and not self.keep_quotes:
                piece = self.single()
                self.split.quoted(piece)
            elif char == '"' and not self.keep_quotes:
                piece = self.double()
                self.split.quoted(piece)
            elif char == "$":
                piece = self.dollar()
                self.split.raw(piece)
            elif char == self.escape:
                piece = self.escaped()
                self.split.quoted(piece)
            else:
                piece = self.take()
                self.split.raw(piece)
            parts.append(self.counted(piece))
        if stop and not self.peek():
            raise _Bad(f"unexpected end of statement while looking for matching {stop}")
        return "".join(parts)

    def counted(self, piece: str) -> str:
        """A piece of what the word expands to, while that is no longer than it may be."""
        self.made += len(piece)
        if self.made > self.most:
            raise self.too_long()
        return piece

    def too_long(self) -> _Bad:
        """The mistake of a word that stands for too much."""
        return _Bad(f"it expands to more than {self.most} characters")

    def escaped(self) -> str:
        """An escape character and what it protects."""
        self.take()
        char = self.take()
        if not char:
            self.at -= 1
            return ""
        return self.escape + char if self.raw_escapes else char

    def single(self) -> str:
        """Text in single quotes: all of it literal."""
        self.take()
        end = self.text.find("'", self.at)
        if end < 0:
            raise self.unclosed("single-quote", self.at - 1)
        piece = self.text[self.at : end]
        self.at = end + 1
        return piece

    def unclosed(self, what: str, start: int) -> _Bad:
        """The mistake of a quote that is open at the end."""
        self.at = len(self.text)
        bad = _Bad(f"unexpected end of statement while looking for matching {what}")
        bad.span = start, len(self.text)
        return bad

    def double(self) -> str:
        """Text in double quotes: variables expand, the escape works before `"`, `$` and itself."""
        start, made = self.at, 0
        self.take()
        parts: list[str] = []
        while True:
            char = self.peek()
            if not char:
                raise self.unclosed("double-quote", start)
            if char == '"':
                self.take()
                return "".join(parts)
            if char == "$":
                parts.append(self.dollar())
                made += len(parts[-1])
                if self.made + made > self.most:
                    raise self.too_long()
            elif char == self.escape:
                self.take()
                following = self.peek()
                if not following:
                    raise self.unclosed("double-quote", start)
                if following in ('"', "$", self.escape):
                    parts.append(self.take())
                else:
                    parts.append(char + self.take())
            else:
                parts.append(self.take())

    # --- variables -----------------------------------------------------------------------------

    def dollar(self) -> str:
        """A dollar sign and what follows it."""
        start = self.at
        try:
            return self.substitution()
        except _Bad as e:
            closed = self.text.find("}", max(start, self.at - 1)) + 1
            e.span = e.span or (start, closed or len(self.text))
            raise

    def substitution(self) -> str:
        """What a dollar sign and what follows it stand for."""
        self.take()
        if self.peek() != "{":
            name = self.name()
            if not name:
                return "$"
            return self.value(name) or ""
        self.take()
        if not self.peek() or self.peek() in ":{}":
            raise _Bad("syntax error: missing '}'" if not self.peek() else "syntax error: bad substitution")
        name = self.name()
        if not name:
            raise _Bad("syntax error: bad substitution")
        return self.modified(name)

    def name(self) -> str:
        """A variable's name: letters, digits and `_`, or one special character, or a run of digits."""
        start = self.at
        char = self.peek()
        if not char:
            return ""
        if char.isdecimal():
            while self.peek().isdecimal():
                self.at += 1
        elif _is_name(char):
            while (c := self.peek()) and _is_name(c):
                self.at += 1
        elif char in _SPECIAL:
            self.at += 1
        return self.text[start : self.at]

    def value(self, name: str) -> str | None:
        """What a name stands for, noted as matched or not."""
        value = self.lookup(name)
        (self.unmatched if value is None else self.matched).add(name)
        return value

    def modified(self, name: str) -> str:
        """The rest of `${name…}`."""
        char = self.take()
        if char == "}":
            return self.value(name) or ""
        if not char:
            raise _Bad("syntax error: missing '}'")
        colon = char == ":"
        modifier = self.take() if colon else char
        if modifier in ("+", "-", "?") and modifier:
            return self.conditional(name, modifier, colon=colon)
        if modifier in ("%", "#") and modifier and not colon:
            return self.trimmed(name, modifier)
        if modifier == "/" and not colon:
            return self.replaced(name)
        raise _Bad(f"unsupported modifier ({':' if colon else ''}{modifier or _END}) in substitution")

    def inner(self, stop: str, *, raw: bool = False) -> str:
        """An expanded part of a substitution, up to one of the characters of `stop`, which is read."""
        if self.depth >= _MAX_DEPTH:
            raise _Bad(f"substitutions are nested more than {_MAX_DEPTH} deep")
        sub = _Run(self.text, self.escape, self.lookup, keep_quotes=self.keep_quotes, raw_escapes=raw)
        sub.at, sub.depth, sub.most = self.at, self.depth + 1, self.most
        try:
            piece = sub.until(stop)
        except _Bad:
            self.at = sub.at
            if sub.at >= len(self.text):  # whatever else is wrong, as BuildKit has it
                raise _Bad(
                    "syntax error: missing '}'" if "}" in stop else "syntax error: missing '/' in ${}"
                ) from None
            raise
        self.at = sub.at + 1
        self.matched |= sub.matched
        self.unmatched |= sub.unmatched
        return piece

    def conditional(self, name: str, modifier: str, *, colon: bool) -> str:
        """`-`, `+` and `?`, with or without a colon."""
        word = self.inner("}")
        value = self.value(name)
        use = value is not None and not (colon and not value)
        if modifier == "?":
            if not use:
                default = "is not allowed to be empty" if value is not None else "is not allowed to be unset"
                raise _Bad(f"{name}: {word or default}")
            return value or ""
        if modifier == "+":
            return word if use else ""
        return (value or "") if use else word

    def trimmed(self, name: str, modifier: str) -> str:
        """`#`, `##`, `%` and `%%`."""
        longest = self.peek() == modifier
        if longest:
            self.take()
        pattern = self.inner("}", raw=True)
        value = self.value(name) or ""
        if modifier == "#":
            end = self.glob(pattern).prefix(value, longest=longest)
            return value[max(0, end) :]
        end = self.glob(pattern, backwards=True).prefix(value[::-1], longest=longest)
        return value[: len(value) - max(0, end)]

    def glob(self, pattern: str, *, backwards: bool = False) -> Glob:
        """A pattern of a substitution."""
        from imagesmith.dockerfile.globs import Glob

        try:
            return Glob(pattern, self.escape, backwards=backwards)
        except ValueError as e:
            raise _Bad(f"invalid pattern ({pattern}) in substitution: invalid escape '{e}'") from None

    def replaced(self, name: str) -> str:
        """`/` and `//`."""
        every = self.peek() == "/"
        if every:
            self.take()
        pattern = self.inner("/", raw=True)
        replacement = self.inner("}", raw=True)
        value = self.value(name) or ""
        glob = self.glob(pattern)
        if every:
            made = 0

            def by(whole: str) -> str:
                nonlocal made
                text = _template(replacement, whole)
                made += len(text)
                if made > self.most:
                    raise self.too_long()
                return text

            return glob.replace_all(value, by)
        found = glob.search(value)
        return value[: found[0]] + replacement + value[found[1] :] if found else value


def _template(text: str, whole: str) -> str:
    """Go's regexp template: `$0` is the match, `$$` a dollar, other names nothing."""

    def one(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if match[0] == "$$":
            return "$"
        return whole if name == "0" else ""

    return re.sub(r"\$(?:\$|\{(\w+)\}|(\w+))", one, text)
