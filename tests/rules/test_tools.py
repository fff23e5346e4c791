"""The checkers find nothing: ruff, its formatter, mypy. One that is missing is skipped, in CI it fails."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from tests.support import PROJECT, lacking


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=["ruff", "format", "mypy"],
)
def test_checker_finds_nothing(words: list[str]) -> None:
    if importlib.util.find_spec(words[0]) is None:
        lacking(f"{words[0]} is not installed")
    done = subprocess.run([sys.executable, "-m", *words], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
