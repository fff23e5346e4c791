"""Cut HCL into the words of its grammar.

Why by hand: what a newline, a brace or a name is depends on what it stands in, and templates hold expressions
that hold templates. The stack of what is open says it, and finds what was never closed where it was opened.
Spec: HCL's native syntax (hclsyntax/spec.md), and its scanner where that says less: `~` takes the blanks of
the text beside it, in a here-document those of one line; `<<-` counts the blanks after that.
Trust: a hostile file: its size and how deep it nests are limited, and no expression goes over a word twice.
"""

from __future__ import annotations

import re
from typing import NoReturn

from imagesmith.bake.pieces import Piece, Word, decoded
from imagesmith.bake.places import Span, fault
from imagesmith.values import record

__all__ = ["NESTING", "WORDS", "words_of"]

#: More names, numbers, signs and texts are refused: a parser takes some 20 us for each.
WORDS = 100_000
#: So deep brackets and templates may stand in each other.
NESTING = 100

#: The grammar's names of what is written with signs.
SIGNS = {
    "||": "OR", "&&": "AND", "==": "EQUAL", "!=": "UNEQUAL", "<": "LESS", "<=": "LESS_EQUAL", ">": "MORE",
    ">=": "MORE_EQUAL", "+": "PLUS", "-": "MINUS", "*": "STAR", "/": "SLASH", "%": "PERCENT", "!": "BANG",
    "...": "DOTS", "=": "ASSIGN", "=>": "ARROW", "?": "QUESTION", ":": "COLON", ",": "COMMA", ".": "DOT",
    "(": "LEFT_PAREN", ")": "RIGHT_PAREN", "[": "LEFT_BRACKET", "]": "RIGHT_BRACKET", "{": "LEFT_BRACE",
    "}": "RIGHT_BRACE",
}  # fmt: skip

_CODE = re.compile(
    r"""(?P<blank>[ \t]+ | (?:\#|//)[^\n]* | /\*.*?\*/)
    | (?P<newline>\r?\n)
    | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<name>(?:[A-Za-z_]|[^\x00-\x7f])(?:[A-Za-z0-9_-]|[^\x00-\x7f])*)
    | (?P<quote>")
    | (?P<heredoc><<(?P<flush>-?)(?P<marker>[^\W\d][\w-]*)\r?\n)
    | (?P<sign>\|\| | && | == | != | <= | >= | => | \.\.\. | ~\} | [-+*/%!<>=?:.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL,
)
#: Text up to what may end it; in quotes a backslash escapes, elsewhere it is itself.
_QUOTED = re.compile(r'(?:[^"\\\n$%]|\\[^\n]|\$\$\{|%%\{|[$%](?!\{))+')
_LINE = re.compile(r"(?:[^\n$%]|\$\$\{|%%\{|[$%](?!\{))*\n?")
_DIRECTIVE = re.compile(r"%\{~?\s*(?:(?P<open>if|for)(?![\w-])|(?P<whole>else|endif|endfor)\s*~?\})")

#: What an operand ends with, so that `[` behind it is an index, and `if` a condition.
_OPERAND_ENDS = frozenset(
    ("NAME", "NUMBER", "INTEGER", "UNQUOTE", "RIGHT_PAREN", "RIGHT_BRACKET", "RIGHT_BRACE")
)
_CLOSES = {")": "(", "]": "[", "}": "{"}


@record
class _Open:
    """What is open: a bracket `( [ {`, a `block`, a `for` in brackets, a `${`, or one of the texts.

    `shape` is one of these, `"`, `<<` or `template`; `bracket` is the sign that it began with. `pieces` are
    the indexes of a here-document's words, -1 for what is no text.
    """

    shape: str
    bracket: str
    start: int
    end: int
    marker: str = ""
    flush: bool = False
    pieces: list[int] | None = None


def words_of(piece: Piece, *, template: bool = False) -> list[Word]:
    """The words of a file, or of a template by itself.

    Raises:
        DefinitionError: with its place, for what is no word, or is never closed.
    """
    return _Scanner(piece, template).run()


class _Scanner:
    """The state of one run: the words so far, what is open, and where it is."""

    def __init__(self, piece: Piece, template: bool) -> None:
        self._piece, self._text = piece, piece.text
        self._words: list[Word] = []
        self._at = 1 if piece.text.startswith("\ufeff") and not template else 0
        self._open: list[_Open] = [_Open("template", "", 0, 0)] if template else []
        self._trim = False

    def run(self) -> list[Word]:
        """Scan everything."""
        while self._at < len(self._text):
            shape = self._shape()
            if shape in ('"', "<<", "template"):
                self._in_text(shape)
            else:
                self._in_code()
        if self._open and self._shape() != "template":
            self._never_closed(self._open[-1])
        return self._words

    # --- what is open -------------------------------------------------------------------------

    def _shape(self) -> str:
        return self._open[-1].shape if self._open else ""

    def _push(self, opened: _Open) -> None:
        if len(self._open) >= NESTING:
            raise fault(self._span(opened.start, opened.end), f"nested deeper than {NESTING} levels")
        self._open.append(opened)

    def _never_closed(self, opened: _Open) -> NoReturn:
        span = self._span(opened.start, opened.end)
        match opened.shape:
            case '"':
                raise fault(span, 'this string is not closed: its " is missing')
            case "<<":
                raise fault(span, f"this here-document is not ended: a line {opened.marker} is missing")
            case "${":
                text = "${" if self._text.startswith("$", opened.start) else "%{"
                raise fault(span, f"this {text} is not closed: its }} is missing")
        closing = {"(": ")", "[": "]", "{": "}"}[opened.bracket]
        raise fault(span, f"this {opened.bracket} is not closed: its {closing} is missing")

    # --- expressions and bodies ---------------------------------------------------------------

    def _in_code(self) -> None:
        found = _CODE.match(self._text, self._at)
        if found is None:
            self._no_word()
        start, end, kind = found.start(), found.end(), found.lastgroup or ""
        self._at = end
        match kind:
            case "blank":
                return
            case "newline":
                if self._shape() in ("", "block", "{") and (not self._words or self._last() != "NL"):
                    self._add("NL", "\n", start, end)
            case "number":
                self._number(start, end)
            case "name":
                self._name(found[0], start, end)
            case "quote":
                self._add("QUOTE", '"', start, end)
                self._push(_Open('"', '"', start, end))
            case "sign":
                self._sign(found[0], start, end)
            case _:
                self._add("HEREDOC", found["heredoc"], start, end)
                opened = _Open("<<", "<<", start, end - 1, found["marker"], bool(found["flush"]), [])
                self._push(opened)

    def _number(self, start: int, end: int) -> None:
        if self._last() == "DOT":
            text = self._text[start:end]
            if not text.isdigit():
                hint = f"write {''.join(f'[{part}]' for part in text.split('.'))}" if "." in text else ""
                raise fault(self._span(start, end), f"{text} is no index behind a dot", hint=hint)
            self._add("INTEGER", text, start, end)
        else:
            self._add("NUMBER", self._text[start:end], start, end)

    def _name(self, name: str, start: int, end: int) -> None:
        if not name.replace("-", "_").isidentifier():
            strange = (i for i, c in enumerate(name) if not ("a" + c.replace("-", "_")).isidentifier())
            self._at = start + next(strange, 0)  # else the first may stand in names, and begin none
            self._no_word()
        kinds = [word.kind for word in self._words[-4:]]
        if name == "for" and self._begins_for(kinds):
            if kinds[-1] == "NL":
                self._words.pop()
            self._open[-1].shape = "for"
            self._add("FOR", name, start, end)
        elif name == "in" and _wants_in(kinds):
            self._add("IN", name, start, end)
        elif name == "if" and self._shape() == "for" and (kinds[-1] == "DOTS" or _ends_operand(kinds)):
            self._add("IF", name, start, end)
        else:
            self._add("NAME", name, start, end)

    def _begins_for(self, kinds: list[str]) -> bool:
        if self._shape() == "[":
            return kinds[-1] == "LEFT_BRACKET"
        opened = kinds[-2:-1] if kinds[-1:] == ["NL"] else kinds[-1:]
        return self._shape() == "{" and opened == ["LEFT_BRACE"]

    def _sign(self, sign: str, start: int, end: int) -> None:
        if sign in ("}", "~}") and self._shape() == "${":
            self._open.pop()
            self._add("CLOSE", sign, start, end)
            self._trim = sign == "~}"
            return
        if sign == "~}" or self._text.startswith(("/*", "<<"), start):
            self._at = start
            self._no_word()
        if sign in "([{":
            self._push(_Open(self._shape_of(sign), sign, start, end))
        elif sign in _CLOSES:
            if not self._open:
                raise fault(self._span(start, end), f"this {sign} closes nothing")
            if self._open[-1].bracket != _CLOSES[sign]:
                self._never_closed(self._open[-1])
            self._open.pop()
        self._add(SIGNS[sign], sign, start, end)

    def _shape_of(self, sign: str) -> str:
        if sign == "{":
            named = self._shape() in ("", "block") and self._last() in ("NAME", "UNQUOTE")
            return "block" if named else "{"
        return "(" if sign == "[" and _ends_operand([word.kind for word in self._words[-2:]]) else sign

    def _no_word(self) -> NoReturn:
        sign, at = self._text[self._at], self._at
        if self._text.startswith("/*", at):
            raise fault(self._span(at, at + 2), "this comment is not closed: its */ is missing")
        if self._text.startswith("<<", at):
            raise fault(self._span(at, at + 2), "<< is followed by a name that ends its line, as in <<EOT")
        if sign == "'" or sign in "\u2018\u2019\u201c\u201d":
            raise fault(self._span(at, at + 1), f'{sign} is no quote here: strings are in "')
        shown = sign if sign.isprintable() and not sign.isspace() else f"U+{ord(sign):04X}"
        raise fault(self._span(at, at + 1), f"{shown} has no meaning here")

    # --- strings and here-documents -----------------------------------------------------------

    def _in_text(self, shape: str) -> None:
        at, text = self._at, self._text
        if shape == "<<" and text[at - 1] == "\n" and self._ends_heredoc(at):
            return
        if text.startswith("${", at):
            end = at + 3 if text.startswith("~", at + 2) else at + 2
            self._opens("OPEN", at, end)
        elif text.startswith("%{", at):
            self._directive(at)
        elif shape == '"':
            self._in_quotes(at)
        else:
            found = _LINE.match(text, at)
            end = found.end() if found else len(text)
            self._add_text(decoded(self._piece, at, end, escapes=False), at, end)

    def _in_quotes(self, at: int) -> None:
        if self._text[at] == '"':
            self._open.pop()
            self._at, self._trim = at + 1, False
            self._add("UNQUOTE", '"', at, at + 1)
        elif found := _QUOTED.match(self._text, at):
            self._add_text(decoded(self._piece, at, found.end(), escapes=True), at, found.end())
        else:  # the end of the line, or a backslash before it
            self._never_closed(self._open[-1])

    def _opens(self, kind: str, start: int, end: int) -> None:
        """A sequence within a text: `${`, or the beginning of a directive."""
        self._begins_sequence(start)
        self._push(_Open("${", "${", start, start + 2))
        self._at = end
        self._add(kind, self._text[start:end], start, end)

    def _begins_sequence(self, start: int) -> None:
        """A `~` at its beginning takes blanks of the text before; `<<-` has to know that it is there."""
        if self._text.startswith("~", start + 2) and self._last() == "TEXT":
            self._words[-1] = self._words[-1]._replace(text=self._words[-1].text.rstrip())
        if (pieces := self._open[-1].pieces) is not None:
            pieces.append(-1)
        self._trim = False

    def _directive(self, start: int) -> None:
        found = _DIRECTIVE.match(self._text, start)
        if found is None:
            hint = "write %%{ for the text %{"
            message = "%{ is followed by if, else, endif, for or endfor"
            raise fault(self._span(start, start + 2), message, hint=hint)
        if name := found["open"]:
            self._opens(f"{name.upper()}_OPEN", start, found.end())
            return
        self._begins_sequence(start)
        self._at = found.end()
        self._add(found["whole"].upper(), found[0], start, found.end())
        self._trim = found[0].endswith("~}")

    def _add_text(self, text: str, start: int, end: int) -> None:
        if self._trim:
            text = text.lstrip()
        self._trim = False
        if (pieces := self._open[-1].pieces) is not None:
            pieces.append(len(self._words))
        self._at = end
        self._add("TEXT", text, start, end)

    def _ends_heredoc(self, at: int) -> bool:
        """At the beginning of a line: whether it is the marker's, which ends the here-document."""
        opened = self._open[-1]
        stop = self._text.find("\n", at)
        line = self._text[at : stop if stop >= 0 else len(self._text)]
        if line.strip() != opened.marker:
            return False
        if opened.flush:
            self._dedent(opened.pieces or [])
        self._open.pop()
        self._trim = False
        end = at + len(line.rstrip())
        self._at = end
        self._add("UNQUOTE", opened.marker, end - len(opened.marker), end)
        return True

    def _dedent(self, pieces: list[int]) -> None:
        """Take from all lines the blanks that the least indented one has; blank lines do not count."""
        begins, least, at_line = [], len(self._text), True
        for i in pieces:
            text = self._words[i].text if i >= 0 else ""
            if at_line:
                bare = text.lstrip()
                if i < 0:
                    least = 0
                elif bare or not text.endswith("\n"):
                    least = min(least, len(text) - len(bare))
                    begins.append(i)
            at_line = text.endswith("\n")
        for i in begins:
            self._words[i] = self._words[i]._replace(text=self._words[i].text[least:])

    # --- small things -------------------------------------------------------------------------

    def _last(self) -> str:
        return self._words[-1].kind if self._words else ""

    def _add(self, kind: str, text: str, start: int, end: int) -> None:
        if len(self._words) >= WORDS:
            raise fault(self._span(start, end), f"a bake file has no more than {WORDS} words, signs included")
        self._words.append(Word(kind, text, start, end))

    def _span(self, start: int, end: int) -> Span:
        return self._piece.span(start, min(end, len(self._text)))


def _ends_operand(kinds: list[str]) -> bool:
    """Whether the last word can be an operand's last; a star only in `a.*`."""
    return bool(kinds) and (kinds[-1] in _OPERAND_ENDS or kinds[-2:] == ["DOT", "STAR"])


def _wants_in(kinds: list[str]) -> bool:
    """Whether the names of a `for` have just been given."""
    return kinds[-2:] in (["FOR", "NAME"], ["FOR_OPEN", "NAME"]) or (
        kinds[-3:] == ["NAME", "COMMA", "NAME"] and kinds[0] in ("FOR", "FOR_OPEN")
    )
