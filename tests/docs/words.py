"""Lines of shell as our parsers see them: which command of ours each has, and whether its flags are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from imagesmith.cli.main import _parser
from imagesmith.errors import ImagesmithError
from imagesmith.plugins import COMMANDS

__all__ = ["check", "ours_in", "subcommands"]

_ENDS = re.compile(r"[();<>|&]+")


def subcommands(line: str) -> Iterator[list[str]]:
    """The commands of a line of shell, as words; variables before them and redirections are left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    words: list[str] = []
    redirected = False
    for word in [*lexer, ";"]:
        if redirected:
            redirected = False
        elif "<" in word[:1] or ">" in word[:1]:
            redirected = True
        elif _ENDS.fullmatch(word):
            if words:
                yield words
            words = []
        elif words or not re.match(r"\w+=", word):
            words.append(word)


def ours_in(text: str) -> list[list[str]]:
    """What follows `imagesmith` in each command of some shell."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words[1:] for line in lines for words in subcommands(line) if words[:1] == ["imagesmith"]]


def check(words: list[str]) -> None:
    """Fail the running test unless the real parser of the command takes the words."""
    while words[:1] == ["-v"]:
        words = words[1:]
    assert words, "no command"
    assert words[0] in COMMANDS, f"no command: {words[0]}"
    try:
        _parser(words[0])[0].parse_args(words[1:])
    except SystemExit as e:
        if e.code:
            pytest.fail(f"the parser refuses: imagesmith {shlex.join(words)}")
    except ImagesmithError as e:
        pytest.fail(f"{e}: imagesmith {shlex.join(words)}")
