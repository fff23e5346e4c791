"""Read a bake file that is written in JSON: the same tree as HCL's, its strings being templates.

    {"target": {"app": {"tags": ["a:${TAG}"]}}}        target "app" { tags = ["a:${TAG}"] }

Where HCL has several blocks JSON has a list, at each level; a key `//` of a body is a comment.
Why not the library's parser: whatever is wrong is shown at its place, also in a template within a string.
Spec: HCL's JSON syntax (json/spec.md), by bake's blocks: variable, function, group and target have one label,
`validation` within a variable none. A variable's `type` is an expression in a string.
Trust: a hostile file: its size and how deep it nests are limited, and nothing recurses without a count.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Iterator
from typing import NoReturn

from imagesmith.bake import hcl, nodes
from imagesmith.bake.nodes import Attribute, Block, Body, Expr, Label
from imagesmith.bake.pieces import Piece, whole
from imagesmith.bake.places import Source, Span, fault
from imagesmith.bake.scanner import NESTING
from imagesmith.bake.values import ARITHMETIC, Value
from imagesmith.values import frozen

__all__ = ["parse"]

#: Blocks, the number of their labels, and the blocks that stand in them.
_BLOCKS = {"variable": 1, "function": 1, "group": 1, "target": 1}
_INNER = {"variable": {"validation": 0}}

_BLANKS = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"((?:[^"\\\x00-\x1f]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.])")
_WORD = re.compile(r"[A-Za-z_]\w*")
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None}


@frozen(eq=False)
class _Text:
    """A string: its place with the quotes, and its text with where each character stands."""

    span: Span
    piece: Piece


@frozen(eq=False)
class _Object:
    """An object: its pairs in order, doubles included."""

    span: Span
    pairs: tuple[tuple[_Text, _Json], ...]


@frozen(eq=False)
class _Array:
    """An array."""

    span: Span
    items: tuple[_Json, ...]


_Json = nodes.Literal | _Text | _Object | _Array


def parse(source: Source) -> Body:
    """The body of a file.

    Raises:
        DefinitionError: it is no JSON, or not that of a bake file, too large, or nested too deeply.
    """
    piece = whole(source)
    return _body(_Reader(source, piece.text).whole(), _BLOCKS)


# --- JSON -----------------------------------------------------------------------------------------


class _Reader:
    """JSON, with the place of everything."""

    def __init__(self, source: Source, text: str) -> None:
        self._source, self._text = source, text
        self._at = 1 if text.startswith("\ufeff") else 0

    def whole(self) -> _Json:
        value = self._value(0)
        if self._peek():
            self._wrong("the file goes on behind its value")
        return value

    def _value(self, depth: int) -> _Json:
        sign, start = self._peek(), self._at
        if depth > NESTING:
            raise fault(Span(self._source, start, start + 1), f"nested deeper than {NESTING} levels")
        if sign == "{":
            return self._object(depth)
        if sign == "[":
            return self._array(depth)
        if sign == '"':
            return self._string()
        if found := _NUMBER.match(self._text, start):
            return self._number(found)
        if found := _WORD.match(self._text, start):
            span = self._span(start, found.end())
            if found[0] not in _WORDS:
                raise fault(span, f"{found[0]} is no JSON value", hint="strings are in quotes")
            self._at = found.end()
            return nodes.Literal(span, _WORDS[found[0]])
        return self._wrong("a value is needed")

    def _object(self, depth: int) -> _Object:
        start = self._at
        pairs: list[tuple[_Text, _Json]] = []
        self._at += 1
        while self._peek() != "}":
            if pairs:
                self._comma(start, "}")
            if self._peek() != '"':
                self._wrong("a key in quotes is needed", start)
            key = self._string()
            if self._peek() != ":":
                self._wrong("a colon is needed behind the key", start)
            self._at += 1
            pairs.append((key, self._value(depth + 1)))
        self._at += 1
        return _Object(self._span(start, self._at), tuple(pairs))

    def _array(self, depth: int) -> _Array:
        start = self._at
        items: list[_Json] = []
        self._at += 1
        while self._peek() != "]":
            if items:
                self._comma(start, "]")
            items.append(self._value(depth + 1))
        self._at += 1
        return _Array(self._span(start, self._at), tuple(items))

    def _comma(self, opened: int, closing: str) -> None:
        if self._peek() != ",":
            self._wrong(f"a comma or {closing} is needed", opened)
        self._at += 1
        if self._peek() == closing:
            self._wrong(f"JSON has no comma before {closing}")

    def _string(self) -> _Text:
        start = self._at
        found = _STRING.match(self._text, start)
        if found is None:
            raise fault(self._span(start, start + 1), 'this string is not closed: its " is missing')
        self._at = found.end()
        begin, raw = found.start(1), found[1]
        if "\\" not in raw:
            return _Text(self._span(start, self._at), Piece(self._source, raw, begin))
        text, offsets = self._decoded(begin, raw)
        return _Text(self._span(start, self._at), Piece(self._source, text, 0, offsets))

    def _decoded(self, begin: int, raw: str) -> tuple[str, list[int]]:
        """The text, and where each of its characters stands in the file, and its end."""
        texts: list[str] = []
        offsets: list[int] = []
        at = 0
        for found in _ESCAPE.finditer(raw):
            texts.append(raw[at : found.start()])
            offsets.extend(range(begin + at, begin + found.start()))
            at = found.end()
            sign = found[0][1]
            if len(found[0]) > 2:
                texts.append(chr(int(f"0x{found[0][2:]}", 0)))
            elif sign in _SIMPLE:
                texts.append(_SIMPLE[sign])
            else:
                place = self._span(begin + found.start(), begin + at)
                raise fault(place, f"{found[0]} is no escape sequence", hint=r"write \\ for a backslash")
            offsets.append(begin + found.start())
        texts.append(raw[at:])
        offsets.extend(range(begin + at, begin + len(raw) + 1))
        return _paired("".join(texts), offsets)

    def _number(self, found: re.Match[str]) -> nodes.Literal:
        span = self._span(found.start(), found.end())
        self._at = found.end()
        try:
            return nodes.Literal(span, ARITHMETIC.create_decimal(found[0]))
        except decimal.DecimalException:
            raise fault(span, "this number is too large") from None

    def _peek(self) -> str:
        blanks = _BLANKS.match(self._text, self._at)
        self._at = blanks.end() if blanks else self._at
        return self._text[self._at : self._at + 1]

    def _span(self, start: int, end: int) -> Span:
        return Span(self._source, start, end)

    def _wrong(self, message: str, opened: int | None = None) -> NoReturn:
        """Refuse what is here; at the end of the file, what was opened last."""
        if self._peek() or opened is None:
            raise fault(self._span(self._at, min(self._at + 1, len(self._text))), message)
        sign = self._text[opened]
        closing = "}" if sign == "{" else "]"
        raise fault(self._span(opened, opened + 1), f"this {sign} is not closed: its {closing} is missing")


def _paired(text: str, offsets: list[int]) -> tuple[str, list[int]]:
    """Two halves of a character (UTF-16's surrogates) as one; a half by itself as U+FFFD."""
    if not any("\ud800" <= c < "\ue000" for c in text):
        return text, offsets
    made: list[str] = []
    places: list[int] = []
    i = 0
    while i < len(text):
        first, second = text[i], text[i + 1 : i + 2]
        places.append(offsets[i])
        if "\ud800" <= first < "\udc00" <= second < "\ue000":
            made.append(chr(0x10000 + ((ord(first) - 0xD800) << 10) + ord(second) - 0xDC00))
            i += 2
        else:
            made.append("\ufffd" if "\ud800" <= first < "\ue000" else first)
            i += 1
    return "".join(made), [*places, offsets[-1]]


# --- bodies ---------------------------------------------------------------------------------------


def _body(value: _Json, blocks: dict[str, int], of: str = "") -> Body:
    attributes: dict[str, Attribute] = {}
    found: list[Block] = []
    for name, held in _pairs(value, "a body"):
        text = name.piece.text
        if text == "//":
            continue
        if text in blocks:
            found.extend(_blocks(text, name.span, held, blocks[text], ()))
        elif other := attributes.get(text):
            raise fault(name.span, f"{text} is set already, in line {other.span.line}")
        else:
            attributes[text] = Attribute(text, name.span, _attribute(held, of, text))
    return Body(attributes, tuple(found), value.span)


def _pairs(value: _Json, what: str) -> Iterator[tuple[_Text, _Json]]:
    """The pairs of an object, or of all objects of a list."""
    if isinstance(value, _Array):
        for item in value.items:
            if not isinstance(item, _Object):
                raise fault(item.span, f"{what} is an object, and a list of them holds nothing else")
            yield from item.pairs
    elif isinstance(value, _Object):
        yield from value.pairs
    else:
        raise fault(value.span, f"{what} is an object")


def _blocks(name: str, span: Span, held: _Json, labels: int, given: tuple[Label, ...]) -> Iterator[Block]:
    """The blocks of one name: under their labels, or each in a list."""
    if labels:
        for label, below in _pairs(held, f"{name} with a name"):
            if label.piece.text != "//":
                named = (*given, Label(label.piece.text, label.span))
                yield from _blocks(name, span, below, labels - 1, named)
        return
    for body in held.items if isinstance(held, _Array) else (held,):
        if isinstance(body, nodes.Literal) and body.value is None:
            continue
        yield Block(name, given, _body(body, _INNER.get(name, {}), name), span)


def _attribute(held: _Json, of: str, name: str) -> Expr:
    if isinstance(held, _Text) and (of, name) == ("variable", "type"):
        return hcl.expression(held.piece)
    return _expr(held)


def _expr(value: _Json) -> Expr:
    match value:
        case _Text():
            return _template(value)
        case _Array():
            return nodes.TupleExpr(value.span, tuple(_expr(item) for item in value.items))
        case _Object():
            return nodes.MapExpr(value.span, tuple(_pair(key, held) for key, held in value.pairs))
    return value


def _pair(key: _Text, held: _Json) -> tuple[Expr, Expr]:
    return _template(key), _expr(held)


def _template(text: _Text) -> Expr:
    if "${" in text.piece.text or "%{" in text.piece.text:
        return hcl.template(text.piece)
    return nodes.Literal(text.span, text.piece.text)
