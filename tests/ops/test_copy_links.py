"""Hard links through COPY and ADD: names of one file stay one within what a source takes, nowhere else."""

from __future__ import annotations

import os
import tarfile

import pytest

from imagesmith.image.result import BuildResult
from tests.kitchen import Kitchen


def groups(kitchen: Kitchen, built: BuildResult) -> list[list[str]]:
    """The names of each file of the last layer that has several."""
    found: dict[str, list[str]] = {}
    for m in kitchen.layer(built).getmembers():
        if m.type in (tarfile.REGTYPE, tarfile.LNKTYPE):
            found.setdefault(m.linkname or m.name, []).append(m.name)
    return [names for names in found.values() if len(names) > 1]


@pytest.fixture
def linked(kitchen: Kitchen) -> Kitchen:
    """A context where d/a, d/b and d/e/c are one file, and of the empty d/0, d/y and d/z the last two."""
    kitchen.write({"d/0": "", "d/a": "text", "d/e/x": "x", "d/y": "", ".dockerignore": ""})
    os.link(kitchen.context / "d/a", kitchen.context / "d/b")
    os.link(kitchen.context / "d/a", kitchen.context / "d/e/c")
    os.link(kitchen.context / "d/y", kitchen.context / "d/z")
    kitchen.age()
    return kitchen


@pytest.mark.parametrize("source", ["", "--from=s "])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("d /q/", [["q/a", "q/b", "q/e/c"], ["q/y", "q/z"]]),
        ("--exclude=nothing d /q/", [["q/a", "q/b", "q/e/c"], ["q/y", "q/z"]]),
        ("--exclude=a d /q/", [["q/b", "q/e/c"], ["q/y", "q/z"]]),
        ("--exclude=e --exclude=!e/c d /q/", [["q/a", "q/b", "q/e/c"], ["q/y", "q/z"]]),
        ("--parents d /q/", [["q/d/a", "q/d/b", "q/d/e/c"], ["q/d/y", "q/d/z"]]),
        ("--parents d/./**/[abc] /q/", [["q/a", "q/b", "q/e/c"]]),
        ("--parents **/a **/b /q/", []),  # two sources, each copied by itself
        ("d/a d/b /q/", []),
        ("d/[ab] /q/", []),
        ("--link --chmod=600 d /q/", [["q/a", "q/b", "q/e/c"], ["q/y", "q/z"]]),
    ],
)
def test_names_of_one_file_stay_linked(
    linked: Kitchen, source: str, line: str, expected: list[list[str]]
) -> None:
    head = "FROM scratch AS s\nCOPY . /\n" if source else ""
    assert groups(linked, linked.build(f"{head}FROM scratch\nCOPY {source}{line}\n")) == expected


def test_add_of_a_folder_keeps_them_too(linked: Kitchen) -> None:
    expected = [["q/a", "q/b", "q/e/c"], ["q/y", "q/z"]]
    assert groups(linked, linked.build("FROM scratch\nADD d /q/\n")) == expected
    assert groups(linked, linked.build("FROM scratch\nADD --exclude=b d /q/\n")) == [
        ["q/a", "q/e/c"], ["q/y", "q/z"],
    ]  # fmt: skip


@pytest.mark.parametrize("flags", ["", "--exclude=nothing ", "--parents "])
def test_the_first_name_may_be_ignored(linked: Kitchen, flags: str) -> None:
    linked.write({".dockerignore": "d/a\nd/y\n"})
    found = groups(linked, linked.build(f"FROM scratch\nCOPY {flags}d /q/\n"))
    assert [[os.path.basename(name) for name in names] for names in found] == [["b", "c"]]


def test_empty_files_of_a_stage_are_not_taken_for_each_other(linked: Kitchen) -> None:
    os.chmod(linked.context / "d/0", 0o600)
    built = linked.build("FROM scratch AS s\nCOPY d /d\nFROM scratch\nCOPY --from=s /d /d\n")
    modes = {m.name: (m.mode, m.linkname) for m in linked.layer(built).getmembers()}
    assert (modes["d/0"], modes["d/y"], modes["d/z"][1]) == ((0o600, ""), (0o644, ""), "d/y")
