"""First pass over a line: its name, its flags and its arguments, by the grammar.

Why apart from instructions.py: mistakes of this pass (a JSON list with a number in it, ENV without a value)
are told before those of the second, wherever in the file they stand.
Spec: BuildKit's parser (line_parsers.go, split_command.go).
Trust: a Dockerfile is hostile: lines and their number are bounded by what is read (context/ignore.py), JSON
takes no NaN and no lone surrogates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from imagesmith.dockerfile.grammar import BLANKS, SPACE, compiled
from imagesmith.dockerfile.nodes import KeyValue
from imagesmith.dockerfile.reader import Line
from imagesmith.errors import DockerfileError
from imagesmith.values import field_names, frozen

if TYPE_CHECKING:
    from lark import Token, Tree

__all__ = ["Shape", "shape_of", "shapes_from_json", "shapes_to_json", "strip"]

_NAME = re.compile(r"[^\t\v\f\r ]*")
_FIRST = f"[^{SPACE}]+"
_NAMES = frozenset(
    (
        *("add", "arg", "cmd", "copy", "entrypoint", "env", "expose", "from", "healthcheck", "label"),
        *("maintainer", "onbuild", "run", "shell", "stopsignal", "user", "volume", "workdir"),
    )
)


@frozen
class Shape:
    """A line taken apart. `words` are the list, or the one text; `json` tells that they were a JSON list.

    `kind` is HEALTHCHECK's first word, `pairs` those of ENV, LABEL and ARG.
    """

    keyword: str
    flags: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    json: bool = False
    kind: str = ""
    pairs: tuple[KeyValue, ...] = ()
    legacy: bool = False
    text: str = ""

    @property
    def name(self) -> str:
        """The instruction's name in upper case."""
        return self.keyword.upper()


def shapes_to_json(shapes: Iterable[Shape]) -> str:
    """Shapes as text, to be remembered; see `shapes_from_json`."""
    rows = [[getattr(s, name) for name in field_names(s)] for s in shapes]
    return json.dumps(rows, default=lambda pair: [pair.key, pair.value])


def shapes_from_json(text: str) -> list[Shape]:
    """The shapes that `shapes_to_json` wrote."""
    out = []
    for keyword, flags, words, is_json, kind, pairs, legacy, rest in json.loads(text):
        known = tuple(KeyValue(*pair) for pair in pairs)
        out.append(Shape(keyword, tuple(flags), tuple(words), is_json, kind, known, legacy, rest))
    return out


def strip(text: str) -> str:
    """The text without blanks at its ends, as Go's TrimSpace."""
    return text.strip(BLANKS)


def shape_of(line: Line, escape: str) -> Shape:
    """Take a line apart.

    Raises:
        DockerfileError: a JSON list of anything but strings, or a malformed ENV or LABEL.
    """
    match = _NAME.match(line.text)
    assert match
    keyword = match[0]
    rest = strip(line.text[match.end() :])
    if keyword.lower() not in _NAMES:
        return Shape(keyword, text=rest)
    rule, tokens = _parsed(f"{keyword} {rest}", escape)
    flags = tuple(_flags(str(tokens[1] or ""), escape))
    arguments = [t for t in tokens[2:] if t is not None]
    after = strip(f"{keyword} {rest}"[arguments[0].start_pos :]) if arguments else ""
    made = Shape(keyword, flags, text=after)
    if rule == "pairs":
        return _pairs(made, [str(t) for t in arguments])
    if rule == "healthcheck" and arguments:
        kind, *arguments = arguments
        made = Shape(keyword, flags, text=after, kind=str(kind))
    words, is_json = _words([(t.type, str(t)) for t in arguments])
    return Shape(keyword, flags, words, is_json, made.kind, text=after)


def _parsed(text: str, escape: str) -> tuple[str, list[Token | None]]:
    """The rule that a line follows, and its tokens."""
    tree: Tree[Token | None] = compiled(escape).parse(text).children[0]  # type: ignore[assignment]
    return str(tree.data), tree.children  # type: ignore[return-value]


def _words(tokens: list[tuple[str, str]]) -> tuple[tuple[str, ...], bool]:
    if len(tokens) == 1 and tokens[0][0] == "JSON":
        values = json.loads(_without_surrogates(tokens[0][1]))
        if not all(isinstance(v, str) for v in values):
            raise _strings_only(tokens[0][1])
        return tuple(_whole(v) for v in values), True
    if len(tokens) == 1 and tokens[0][1].startswith("["):
        _refuse_nested(tokens[0][1])
    return tuple(text for _, text in tokens), False


def _refuse_nested(text: str) -> None:
    """Refuse a JSON list with lists or objects in it that the grammar has no words for."""
    try:
        json.loads(_without_surrogates(text), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return
    raise _strings_only(text)


def _strings_only(text: str) -> DockerfileError:
    told = DockerfileError("when using JSON array syntax, arrays must be comprised of strings only")
    return told.about(text)


def _no_constant(name: str) -> None:
    """NaN and Infinity are Python's, not JSON's."""
    raise ValueError(name)


def _without_surrogates(text: str) -> str:
    """Bytes that are no UTF-8 become U+FFFD, as in Go's JSON."""
    return "".join("\ufffd" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text)


def _whole(text: str) -> str:
    """Lone surrogates that JSON escapes made become U+FFFD."""
    return "".join("\ufffd" if 0xD800 <= ord(c) <= 0xDFFF else c for c in text)


def _flags(text: str, escape: str) -> list[str]:
    """The flags of a line, each without its quotes and escapes; a lone `--` at their end is dropped."""
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    at = 0
    while at < len(text):
        char = text[at]
        if not quote and char in "\t\v\f\r ":
            if word is not None:
                words.append("".join(word))
            word = None
            at += 1
            continue
        word = [] if word is None else word
        if char == escape:
            at += 1
            word.append(text[at : at + 1])
        elif quote:
            if char == quote:
                quote = ""
            else:
                word.append(char)
        elif char in "\"'":
            quote = char
        else:
            word.append(char)
        at += 1
    if word is not None:
        words.append("".join(word))
    return words[:-1] if words and words[-1] == "--" else words


def _pairs(shape: Shape, words: list[str]) -> Shape:
    """The pairs of ENV, LABEL and ARG; the first two know a legacy form."""
    if shape.name == "ARG":
        pairs = []
        for word in words:
            key, equals, value = word.partition("=")
            pairs.append(KeyValue(key, value if equals else None))
        return Shape(shape.keyword, shape.flags, pairs=tuple(pairs), text=shape.text)
    if not words:
        return shape
    if "=" not in words[0]:
        first = re.match(_FIRST, shape.text)
        assert first
        value = strip(shape.text[first.end() :])
        if not value:
            raise DockerfileError(f"{shape.name} must have two arguments").about(first[0])
        return Shape(
            shape.keyword, shape.flags, pairs=(KeyValue(first[0], value),), legacy=True, text=shape.text
        )
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise DockerfileError(
                f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value'
            ).about(word)
        pairs.append(KeyValue(key, value))
    return Shape(shape.keyword, shape.flags, pairs=tuple(pairs), text=shape.text)
