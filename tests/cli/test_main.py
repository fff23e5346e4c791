"""The command as a process: what becomes of output that nobody takes, and of flags that are not there."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from imagesmith.cli.buildflags import add_build_flags
from imagesmith.cli.fronts import make_front
from imagesmith.cli.main import main
from imagesmith.errors import UsageError


def status_of(words: Sequence[str], out: int) -> tuple[int, str]:
    """The exit status of a command with buffered output to a descriptor, and what it said."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-m", "imagesmith", *words], stdout=out, stderr=subprocess.PIPE, env=env, check=False
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("words", [["--help"], ["build", "--help"]])
def test_a_reader_that_went_away_is_no_mistake(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert status_of(words, writer) == (141, "")
    finally:
        os.close(writer)


def test_output_that_cannot_be_written_is_told_in_one_line() -> None:
    with open("/dev/full", "wb") as full:
        status, said = status_of(["--version"], full.fileno())
    assert status == 8
    assert said.startswith("error: standard output: no space left on device\nhint: ")


def test_a_flag_is_not_guessed_from_its_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "ls", "--js"]) == 2
    assert "unknown flag: --js" in capsys.readouterr().err


@pytest.mark.parametrize(("said", "mode"), [(None, "auto"), ("", "auto"), ("plain", "plain")])
def test_progress_may_be_chosen_by_the_environment(
    said: str | None, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if said is None:
        monkeypatch.delenv("BUILDKIT_PROGRESS", raising=False)
    else:
        monkeypatch.setenv("BUILDKIT_PROGRESS", said)
    parser = argparse.ArgumentParser()
    add_build_flags(parser)
    assert parser.parse_args(["."]).progress == mode


def test_progress_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="invalid progress mode loud"):
        make_front("loud")


def test_help_keeps_the_case_of_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--help"]) == 0
    assert "Build an image from a Dockerfile." in capsys.readouterr().out
