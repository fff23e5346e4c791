"""Man pages say what the reference says, in roff that man reads without a warning."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from imagesmith.cli.manpages import man_page, shared_files
from imagesmith.cli.reference import (
    Argument,
    CommandPage,
    Flag,
    commands,
    files,
    page_of,
    statuses,
    variables,
)
from tests.support import need_program

FILES = shared_files()
PAGES = {name.rpartition("/")[2]: text for name, text in FILES.items() if name.startswith("man/")}


def shown(text: str, tmp_path: Path) -> str:
    """A page as man shows it at 80 columns; warnings fail."""
    man = need_program("man")
    (tmp_path / "page.1").write_text(text)
    env = {**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANROFFOPT": "-ww"}
    done = subprocess.run(
        [man, "--warnings", "-E", "UTF-8", "-l", str(tmp_path / "page.1")],
        capture_output=True,
        text=True,
        env=env,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_command_and_verb_has_a_page() -> None:
    names = {f"imagesmith-{page.name.replace(' ', '-')}.1" for page in commands()}
    assert set(PAGES) == {"imagesmith.1", *names}
    assert {name for name in FILES if not name.startswith("man/")} == {
        "bash-completion/completions/imagesmith",
        "fish/vendor_completions.d/imagesmith.fish",
        "zsh/site-functions/_imagesmith",
    }


def test_all_pages_are_read_without_a_warning(tmp_path: Path) -> None:
    """At once, since a program for each would take seconds: each is a file of one document."""
    groff = need_program("groff")
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text)
    command = [groff, "-man", "-ww", "-Tutf8", "-z", *sorted(PAGES)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_page_shows_what_the_reference_has(tmp_path: Path) -> None:
    page = page_of("build")
    assert page is not None
    text = shown(PAGES["imagesmith-build.1"], tmp_path)
    assert "imagesmith-build - build an image from a Dockerfile" in text
    assert "imagesmith build [flags] [CONTEXT]" in text
    for flag in page.flags:
        assert any(line.strip().startswith(", ".join(flag.names)) for line in text.splitlines()), flag.name
    for example in page.examples:
        assert f"       {example}\n" in text
    assert "--isolation auto|native|chroot|oci how it is kept apart; default auto" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 90


def test_first_page_has_the_tables(tmp_path: Path) -> None:
    text = " ".join(shown(PAGES["imagesmith.1"], tmp_path).split())
    assert all(f" {page.status} " in text for page in statuses())
    assert all(f" {page.name} " in text for page in (*variables(), *commands()) if " " not in page.name)
    assert all(page.path in text for page in files() if len(page.path) < 40)


def test_signs_of_roff_are_words(tmp_path: Path) -> None:
    page = CommandPage(
        name="odd", summary="a \\fBb\\n(.x 'c' `d-e` \"f\" ^~", usage="imagesmith odd [flags] [A]",
        description=".so /x",
        arguments=(Argument("A", "'hy 1", required=False, repeatable=False),),
        flags=(Flag(("--x",), "…", ".ex \\", default="\\*(qq"),), verbs=(), examples=("printf '%s\\n' .\\a",),
    )  # fmt: skip
    text = shown(man_page(page, [page]), tmp_path)
    for words in ("a \\fBb\\n(.x 'c' d-e \"f\" ^~", "       .so /x\n", "'hy 1", ".ex \\; default \\*(qq",
                  "       printf '%s\\n' .\\a\n", "--x …"):  # fmt: skip
        assert words in text


@pytest.mark.parametrize("name", ["IMAGESMITH_ROOT", "BUILDKIT_PROGRESS", "COLUMNS", "SOURCE_DATE_EPOCH"])
def test_pages_are_the_same_in_any_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "40")
    assert shared_files() == FILES
