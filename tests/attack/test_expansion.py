"""Variables that stand for two of another, and so on: an error at the line, before the memory is full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.dockerfile import words
from imagesmith.dockerfile.words import ALL_GROWTH, WORD_GROWTH, Lexer
from imagesmith.errors import DockerfileError
from tests.attack.test_limits import _LIMITED
from tests.support import IMAGESMITH

pytestmark = pytest.mark.slow

_DOUBLES = "".join(f"{{0}} A{n + 1}=$A{n}$A{n}\n" for n in range(40))
_QUOTED = _DOUBLES.format("ENV").replace("=$", '="$').replace("\n", '"\n')
LINES: dict[str, str] = {
    "ENV": "FROM scratch\nENV A0=0123456789\n" + _DOUBLES.format("ENV"),
    "ARG": "FROM scratch\nARG A0=0123456789\n" + _DOUBLES.format("ARG"),
    "ARG before FROM": "ARG A0=0123456789\n" + _DOUBLES.format("ARG") + "FROM scratch\n",
    "quoted": "FROM scratch\nENV A0=0123456789\n" + _QUOTED,
    "one line": f"FROM scratch\nENV A={'x' * 1000}\nENV B={'$A' * 3000}\nENV C={'$B' * 3000}\n",
    "in words": f"FROM scratch\nENV A=\"{'x ' * 500}\"\nEXPOSE {'$A' * 3000}\n",
    "replaced": f"FROM scratch\nENV A={'x' * 60_000}\nENV B=${{A//x/$A}}\n",
    "a document": f"FROM scratch\nENV A={'x' * 60_000}\nCOPY <<E /f\n{'$A' * 3000}\nE\n",
    "many words": f"FROM scratch\nENV A={'x' * 60_000}\n" + f"LABEL a={'$A' * 16}\n" * 200,
    "what RUN repeats": f"FROM scratch\nENV A={'x' * 60_000}\nARG B={'$A' * 16}\n" + "RUN x\n" * 200,
}  # fmt: skip


@pytest.mark.parametrize(
    "line", ["COPY a\0b /x", "COPY a /x\0y", "ADD a\0b /", "WORKDIR /a\0b", "RUN --mount=target=/a\0b x"]
)
def test_word_with_a_nul_is_an_error_at_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "a").write_text("")
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\n{line}\n")
    command = ["build", "--root", str(tmp_path / "s"), str(tmp_path)]
    done = subprocess.run([*IMAGESMITH, *command], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert "NUL" in done.stderr
    assert "Dockerfile:2" in done.stderr


@pytest.mark.parametrize("what", LINES)
def test_expansion_without_end_is_an_error_at_its_line(tmp_path: Path, what: str) -> None:
    (tmp_path / "Dockerfile").write_text(LINES[what])
    command = [
        "build",
        "--root",
        str(tmp_path / "s"),
        "--progress",
        "plain",
        "--call",
        "outline",
        str(tmp_path),
    ]
    done = subprocess.run([sys.executable, "-c", _LIMITED, *command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.returncode == 3, done.stderr[-2000:]
    assert "characters" in done.stderr
    assert "Dockerfile:" in done.stderr


def test_what_is_long_and_does_not_grow_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "WORD_GROWTH", 1000)
    assert len(Lexer().expand_heredoc("x" * 5000, lambda _: None).text) == 5000
    assert len(Lexer().expand_heredoc("$A" * 1000, lambda _: "xxx").text) == 3000
    with pytest.raises(DockerfileError, match="expands to more than 3000"):
        Lexer().expand_heredoc("$A" * 1000, lambda _: "xxxx")


def test_all_words_together_grow_so_much() -> None:
    lexer = Lexer()
    assert len(lexer.expand("$A", lambda _: "x" * WORD_GROWTH).text) == WORD_GROWTH
    with pytest.raises(DockerfileError, match="expands to more than"):
        lexer.expand("$A", lambda _: "x" * (WORD_GROWTH + 3))
    for _ in range(ALL_GROWTH // WORD_GROWTH - 1):
        lexer.expand("$A", lambda _: "x" * WORD_GROWTH)
    with pytest.raises(DockerfileError, match="expands to more than"):
        lexer.expand("$A", lambda _: "x" * WORD_GROWTH)
