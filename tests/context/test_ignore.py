from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.context.ignore import parse_ignore, read_ignore
from imagesmith.errors import ContextError
from tests.kitchen import Kitchen


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        (b"\xef\xbb\xbfa\r\nb\n", ["a", "b"]),
        (b"#no\n #yes\n", ["#yes"]),
        (b"  a  \n\n! b \n", ["a", "!b"]),
        (b"/a\n/a/../b\na/\n./c\n", ["a", "b", "a", "c"]),
        (b"!\n", ["!"]),
        (b"/\n", ["/"]),
        (b"a\\ b\n\xff\n", ["a\\ b", "\udcff"]),
    ],
)
def test_lines_are_read_as_mobys(text: bytes, patterns: list[str]) -> None:
    assert parse_ignore(text) == patterns


def test_a_line_of_more_than_64_kib_is_refused() -> None:
    with pytest.raises(ContextError, match="longer than 64 KiB"):
        parse_ignore(b"a" * 70_000)


def test_file_beside_the_dockerfile_takes_the_place_of_the_common_one(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("common")
    (tmp_path / "own.Dockerfile.dockerignore").write_text("special")
    own, digest = read_ignore(tmp_path, (tmp_path, "own.Dockerfile"))
    assert (own.matches("special"), own.matches("common")) == (True, False)
    assert len(digest) == 64
    common, digest = read_ignore(tmp_path, (tmp_path, "Dockerfile"))
    assert common.matches("common")
    assert digest == ""
    assert not read_ignore(tmp_path / "nothing")[0]


def test_a_bad_pattern_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("[")
    with pytest.raises(ContextError, match=r"\.dockerignore: syntax error in pattern: \["):
        read_ignore(tmp_path)


def test_ignored_files_are_not_copied_and_exceptions_are(kitchen: Kitchen) -> None:
    kitchen.write({"d/a": "a", "d/b": "b", "e/x": "x", ".dockerignore": "d\n!d/b\n*/x\n.dockerignore\n"})
    assert kitchen.names(kitchen.build("FROM scratch\nCOPY . /\n")) == ["d", "d/b", "e"]


def test_an_ignored_source_is_not_found(kitchen: Kitchen) -> None:
    kitchen.write({"a": "a", ".dockerignore": "a\n"})
    with pytest.raises(ContextError, match='"/a": not found') as caught:
        kitchen.build("FROM scratch\nCOPY a /\n")
    assert caught.value.hint == "it is in the folder, and the ignore file leaves it out"


def test_the_dockerfile_itself_may_be_ignored(kitchen: Kitchen) -> None:
    kitchen.write({"Dockerfile": "FROM scratch\nCOPY . /\n", "a": "a", ".dockerignore": "*file\n.*\n"})
    assert kitchen.names(kitchen.build()) == ["a"]


def test_ignore_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with (tmp_path / ".dockerignore").open("wb") as f:
        f.truncate((16 << 20) + 1)
    with pytest.raises(ContextError, match="more than 16 MiB"):
        read_ignore(tmp_path)
