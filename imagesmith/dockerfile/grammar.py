"""Find and compile the grammar of instructions.

The grammar is `grammar/dockerfile.lark`; the table that is kept of it (imagesmith/grammars.py) is for the
usual escape character. `python -m imagesmith.dockerfile.grammar` writes it; a test says when that has to be
done.
Three names are filled in here: VALUE (a JSON value), SPACE (Unicode's blanks) and ESC (the escape character).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from imagesmith import grammars

if TYPE_CHECKING:
    from lark import Lark

__all__ = ["BLANKS", "SPACE", "compiled", "grammar_text", "table_text"]

#: Unicode's white space, as Go's unicode.IsSpace has it.
SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

#: The same, each by itself.
BLANKS = SPACE.replace("\u2000-\u200a", "".join(map(chr, range(0x2000, 0x200B))))

_STRING = r'"([^"\\\x00-\x1f]|\\(["\\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_VALUE = rf"({_STRING}|{_NUMBER}|true|false|null|\[[^\[\]]*\]|\{{[^{{}}]*\}})"


def grammar_text() -> str:
    """The grammar as it is written."""
    return grammars.text_of("dockerfile")


@lru_cache(maxsize=2)
def compiled(escape: str = "\\") -> Lark:
    """The parser for one escape character."""
    return grammars.parser("dockerfile", _filled_in(escape), lexer="contextual")


def table_text() -> str:
    """The table of the usual escape character, as it is to be kept."""
    return grammars.table(_filled_in("\\"), lexer="contextual")


def _filled_in(escape: str) -> str:
    """The grammar as Lark reads it, for one escape character."""
    code = grammars.code_of(grammar_text())
    code = code.replace("ESC", r"\\" if escape == "\\" else escape)
    code = re.sub(r"\bVALUE\b", lambda _: _VALUE, code)
    return re.sub(r"\bSPACE\b", lambda _: SPACE.encode("unicode_escape").decode(), code)


if __name__ == "__main__":
    grammars.write("dockerfile", table_text())
