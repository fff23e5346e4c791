"""Find and compile the grammar of instructions.

Why: the grammar is a file that people read (`grammar/dockerfile.lark`); in a wheel it lies beside this
package. The table is built anew in each process (some ten milliseconds) and never unpickled from a cache.
Three names are filled in here: VALUE (a JSON value), SPACE (Unicode's blanks) and ESC (the escape character).
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.errors import ImagesmithError

if TYPE_CHECKING:
    from lark import Lark

__all__ = ["BLANKS", "SPACE", "compiled", "grammar_text"]

#: Unicode's white space, as Go's unicode.IsSpace has it.
SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

#: The same, each by itself.
BLANKS = SPACE.replace("\u2000-\u200a", "".join(map(chr, range(0x2000, 0x200B))))

_STRING = r'"([^"\\\x00-\x1f]|\\(["\\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_VALUE = rf"({_STRING}|{_NUMBER}|true|false|null|\[[^\[\]]*\]|\{{[^{{}}]*\}})"


def grammar_text() -> str:
    """The grammar as it is written."""
    here = Path(__file__).resolve().parent.parent
    for folder in (here / "_grammar", here.parent / "grammar"):
        path = folder / "dockerfile.lark"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise ImagesmithError(
        "the installation is incomplete: grammar/dockerfile.lark is missing; install it again"
    )


@lru_cache(maxsize=2)
def compiled(escape: str = "\\") -> Lark:
    """The parser for one escape character."""
    from lark import Lark

    text = grammar_text()
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("//"))
    code = code.replace("ESC", r"\\" if escape == "\\" else escape)
    code = re.sub(r"\bVALUE\b", lambda _: _VALUE, code)
    code = re.sub(r"\bSPACE\b", lambda _: SPACE.encode("unicode_escape").decode(), code)
    return Lark(code, parser="lalr", lexer="contextual")
