"""Grammars as files that people read, and what Lark makes of them, kept beside them.

Why kept: to make a parser anew takes a sixth of the instructions of a small build. The table
`grammar/NAME.json` is used if it was made of this very grammar by this very version of Lark; else it is made
anew in the process. In a wheel the files lie beside this package.
Trust: both files are parts of the installation, as the code is; the table is JSON, nothing is unpickled.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.errors import ImagesmithError

if TYPE_CHECKING:
    from lark import Lark

__all__ = ["code_of", "kept", "made", "parser", "table", "text_of", "write"]


def text_of(name: str) -> str:
    """A grammar as it is written.

    Raises:
        ImagesmithError: the installation lacks it.
    """
    return (_folder(name) / f"{name}.lark").read_text(encoding="utf-8")


def code_of(text: str) -> str:
    """A grammar without the lines that are only comments."""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("//"))


def parser(name: str, code: str, **options: object) -> Lark:
    """The parser of a grammar: from the kept table if that was made of this code, else made anew."""
    from lark import Lark, __version__

    found = kept(name)
    if found.get("made") == [__version__, code]:
        loaded: Lark = Lark.load(found)
        return loaded
    return made(code, **options)


def made(code: str, **options: object) -> Lark:
    """A parser that is made anew."""
    from lark import Lark

    return Lark(code, parser="lalr", **options)


def kept(name: str) -> dict[str, Any]:
    """The table that lies beside a grammar; empty if there is none."""
    try:
        text = (_folder(name) / f"{name}.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    found: dict[str, Any] = json.loads(text, object_hook=lambda d: dict(d["#"]) if "#" in d else d)
    return found


def table(code: str, **options: object) -> str:
    """A grammar's table as it is to be kept: JSON, keys that are numbers in pairs."""
    from lark import __version__
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    data, memo = made(code, **options).memo_serialize([TerminalDef, Rule])
    found = {"made": [__version__, code], "data": data, "memo": memo}
    return json.dumps(_jsonable(found), separators=(",", ":")).replace('},{"', '},\n{"') + "\n"


def write(name: str, text: str) -> None:
    """Keep a table beside its grammar."""
    (_folder(name) / f"{name}.json").write_text(text, encoding="utf-8")


def _folder(name: str) -> Path:
    here = Path(__file__).resolve().parent
    for folder in (here / "_grammar", here.parent / "grammar"):
        if (folder / f"{name}.lark").is_file():
            return folder
    raise ImagesmithError(f"the installation is incomplete: grammar/{name}.lark is missing; install it again")


def _jsonable(value: object) -> object:
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _jsonable(v) for key, v in value.items()}
        return {"#": [[key, _jsonable(v)] for key, v in value.items()]}
    return [_jsonable(v) for v in value] if isinstance(value, list | tuple) else value
