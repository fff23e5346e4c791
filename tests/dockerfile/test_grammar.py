"""The table that is kept beside the grammar is the grammar's own, and reads what one made anew reads."""

from __future__ import annotations

from pathlib import Path

import lark
from lark import Lark

from imagesmith import grammars
from imagesmith.dockerfile import grammar

_CASES = Path(__file__).parents[2] / "fixtures" / "conformance" / "cases"


def _anew() -> Lark:
    return Lark(grammar._filled_in("\\"), parser="lalr", lexer="contextual")


def _read(parser: Lark, text: str) -> object:
    try:
        return parser.parse(text)
    except lark.UnexpectedInput as e:
        return type(e), e.pos_in_stream


def test_the_kept_table_is_of_this_grammar() -> None:
    version, code = grammars.kept("dockerfile")["made"]
    if version == lark.__version__:  # another Lark makes its own, in each process
        assert code == grammar._filled_in("\\"), "write it anew: python -m imagesmith.dockerfile.grammar"
    assert grammar.table_text().startswith('{"made":')


def test_a_kept_table_reads_what_a_new_one_reads() -> None:
    kept, anew = grammar.compiled(), _anew()
    lines = {
        line
        for path in sorted(_CASES.rglob("*.toml"))
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
    }
    assert len(lines) > 1000
    for line in lines:
        assert _read(kept, line) == _read(anew, line), line
