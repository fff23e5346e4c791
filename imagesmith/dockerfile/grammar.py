"""Find and compile the grammar of instructions.

Why: the grammar is a file that people read (`grammar/dockerfile.lark`); in a wheel it lies beside this
package. Beside it lies what Lark makes of it for the usual escape character (`grammar/dockerfile.json`): to
make that anew takes a sixth of the instructions of a small build. It is used if it was made of this very
grammar by this very version of Lark, else it is made anew in the process. `python -m
imagesmith.dockerfile.grammar` writes it; a test says when that has to be done.
Three names are filled in here: VALUE (a JSON value), SPACE (Unicode's blanks) and ESC (the escape character).
Trust: both files are parts of the installation, as the code is; the table is JSON, nothing is unpickled.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.errors import ImagesmithError

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


def _folder() -> Path:
    here = Path(__file__).resolve().parent.parent
    for folder in (here / "_grammar", here.parent / "grammar"):
        if (folder / "dockerfile.lark").is_file():
            return folder
    raise ImagesmithError(
        "the installation is incomplete: grammar/dockerfile.lark is missing; install it again"
    )


def grammar_text() -> str:
    """The grammar as it is written."""
    return (_folder() / "dockerfile.lark").read_text(encoding="utf-8")


@lru_cache(maxsize=2)
def compiled(escape: str = "\\") -> Lark:
    """The parser for one escape character."""
    from lark import Lark, __version__

    code = _filled_in(escape)
    kept = _kept()
    if kept.get("made") == [__version__, code]:
        parser: Lark = Lark.load(kept)
        return parser
    return Lark(code, parser="lalr", lexer="contextual")


def _filled_in(escape: str) -> str:
    """The grammar as Lark reads it, for one escape character."""
    lines = grammar_text().splitlines()
    code = "\n".join(line for line in lines if not line.lstrip().startswith("//"))
    code = code.replace("ESC", r"\\" if escape == "\\" else escape)
    code = re.sub(r"\bVALUE\b", lambda _: _VALUE, code)
    return re.sub(r"\bSPACE\b", lambda _: SPACE.encode("unicode_escape").decode(), code)


# --- the table that is kept --------------------------------------------------------------------


def _kept() -> dict[str, Any]:
    """The table that lies beside the grammar; empty if there is none."""
    try:
        text = (_folder() / "dockerfile.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    kept: dict[str, Any] = json.loads(text, object_hook=lambda d: dict(d["#"]) if "#" in d else d)
    return kept


def table_text() -> str:
    """The table of the usual escape character, as it is to be kept: JSON, keys that are numbers in pairs."""
    from lark import Lark, __version__
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    code = _filled_in("\\")
    parser = Lark(code, parser="lalr", lexer="contextual")
    data, memo = parser.memo_serialize([TerminalDef, Rule])
    table = {"made": [__version__, code], "data": data, "memo": memo}
    return json.dumps(_jsonable(table), separators=(",", ":")).replace('},{"', '},\n{"') + "\n"


def _jsonable(value: object) -> object:
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _jsonable(v) for key, v in value.items()}
        return {"#": [[key, _jsonable(v)] for key, v in value.items()]}
    return [_jsonable(v) for v in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    (_folder() / "dockerfile.json").write_text(table_text(), encoding="utf-8")
