"""Read a bake file that is written in HCL: its words, by the grammar, become a tree of nodes.

Spec: HCL's native syntax (hclsyntax/spec.md); the grammar is grammar/hcl.lark. `python -m
imagesmith.bake.hcl` writes the table that is kept of it; a test says when that has to be done.
Trust: a hostile file. The parser goes from word to word, without recursion; what it makes is no deeper than
building.DEPTH. Whatever is wrong is a DefinitionError with its place.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from imagesmith import grammars
from imagesmith.bake.building import built
from imagesmith.bake.nodes import Body, Expr
from imagesmith.bake.pieces import Piece, Word, whole
from imagesmith.bake.places import Source, fault
from imagesmith.bake.scanner import words_of

if TYPE_CHECKING:
    from lark import Lark, Token

__all__ = ["expression", "parse", "table_text", "template"]

_OPTIONS = {
    "start": ["file", "expression", "template"], "lexer": "basic", "propagate_positions": True,
    "maybe_placeholders": False,
}  # fmt: skip

#: What a message calls the words that have no text of their own.
_CALLED = {
    "NL": "the end of the line", "$END": "the end of the file", "UNQUOTE": "the end of the string",
    "TEXT": "text", "QUOTE": "a string", "HEREDOC": "a here-document",
}  # fmt: skip


def parse(source: Source) -> Body:
    """The body of a file.

    Raises:
        DefinitionError: it is no HCL, too large, or nested too deeply.
    """
    piece = whole(source)
    body = _parsed(piece, words_of(piece), "file")
    assert isinstance(body, Body)
    return body


def expression(piece: Piece) -> Expr:
    """An expression by itself, as JSON holds the types of variables.

    Raises:
        DefinitionError: it is none.
    """
    words = [word for word in words_of(piece) if word.kind != "NL"]
    return _parsed(piece, words, "expression")  # type: ignore[return-value]  # what the grammar says


def template(piece: Piece) -> Expr:
    """A text with templates in it, without quotes and escapes, as JSON's strings are.

    Raises:
        DefinitionError: its templates are wrong.
    """
    return _parsed(piece, words_of(piece, template=True), "template")  # type: ignore[return-value]  # likewise


def table_text() -> str:
    """The grammar's table, as it is to be kept."""
    return grammars.table(_code(), **_OPTIONS)


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return grammars.parser("hcl", _code(), **_OPTIONS)


def _code() -> str:
    return grammars.code_of(grammars.text_of("hcl"))


def _parsed(piece: Piece, words: list[Word], start: str) -> Body | Expr:
    from lark import Token
    from lark.exceptions import UnexpectedToken

    parsing = _parser().parse_interactive("", start=start)
    size = len(piece.text)
    try:
        for kind, text, begin, end in words:
            parsing.feed_token(Token(kind, text, begin, end_pos=end))
        tree = parsing.feed_token(Token("$END", "", size, end_pos=size))
    except UnexpectedToken as e:
        _unexpected(piece, words, e.token, set(parsing.accepts()))  # type: ignore[no-untyped-call]  # Lark's
    return built(piece, tree)


def _unexpected(piece: Piece, words: list[Word], token: Token, wanted: set[str]) -> NoReturn:
    """Refuse a word: what it is, and what is wanted instead where that is short to say."""
    start, end = token.start_pos or 0, token.end_pos or 0
    last = next((word for word in reversed(words) if word.end <= start), Word("", "", 0, 0))
    shown, hint = _CALLED.get(token.type) or str(token), ""
    if last.kind in ("QUOTE", "TEXT") and wanted <= {"TEXT", "UNQUOTE"}:
        raise fault(piece.span(start, end), "the label of a block holds no template")
    if last.kind == "NAME" and {"ASSIGN", "LEFT_BRACE"} <= wanted:
        need = f"{last.text} needs = or {{"
        hint = f'as in {last.text} = "value", or {last.text} "name" {{'
    elif "NUMBER" in wanted and "NAME" in wanted:
        need = "a value is needed"
    else:
        need = _needed(wanted)
    raise fault(piece.span(start, end), f"{shown} stands where {need}", hint=hint)


def _needed(wanted: set[str]) -> str:
    """What may follow, leaving out operators, which always may."""
    wanted = wanted - {"NL"} if "NAME" in wanted else wanted
    names = [text for kind, text in _FOLLOWS.items() if kind in wanted]
    if len(names) > 1:
        names[-2:] = [f"{names[-2]} or {names[-1]}"]
    return f"{', '.join(names)} is needed" if names else "the file ends"


#: What a message says that is missing: what ends something, or goes on with it.
_FOLLOWS = {
    "ENDIF": "%{endif}", "ENDFOR": "%{endfor}", "LEFT_BRACE": "{", "ASSIGN": "=", "IN": "in",
    "COMMA": "a comma", "NL": "a new line", "COLON": ":", "ARROW": "=>", "RIGHT_PAREN": ")",
    "RIGHT_BRACKET": "]", "RIGHT_BRACE": "}", "CLOSE": "}", "NAME": "a name",
}  # fmt: skip


if __name__ == "__main__":
    grammars.write("hcl", table_text())
