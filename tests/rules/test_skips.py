"""In CI nothing is skipped that is on no list, and the list holds nothing that nobody skips."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import skips
from tests.support import PROJECT

_TEST = """
import pytest

def test_that_is_fine():
    pass

def test_that_skips_itself():
    pytest.skip("the sandbox is broken")

@pytest.mark.skipif(True, reason="never runs")
def test_that_is_marked():
    pass
"""


@pytest.mark.slow
def test_a_skip_that_is_on_no_list_fails_in_ci_only(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(_TEST)
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
    ]
    said = {}
    for ci in ("", "true"):
        env = {**os.environ, "PYTHONPATH": str(PROJECT), "CI": ci}
        done = subprocess.run(
            [*words, "--rootdir", tmp_path, tmp_path], capture_output=True, text=True, env=env
        )
        said[ci] = done.stdout
    assert "1 passed, 2 skipped" in said[""]
    assert "1 failed, 1 passed, 1 error" in said["true"]
    assert "not in tests/skips.txt" in said["true"]
    assert "the sandbox is broken" in said["true"]


@pytest.mark.parametrize("row", skips.rows(), ids=lambda r: f"{r.test}: {r.reason}"[:80])
def test_rows_name_who_may_skip_a_test_that_says_so(row: skips.Row) -> None:
    assert row.who <= set(skips.WHO)
    assert row.who
    assert list(PROJECT.glob(row.test.partition("::")[0]))
    words = [part for part in row.reason.split("*") if part.strip()]
    texts = [p.read_text() for folder in ("tests", "imagesmith") for p in (PROJECT / folder).rglob("*.py")]
    assert words
    assert all(any(word.strip(": ") in text for text in texts) for word in words)


def test_what_one_kind_of_user_skips_another_one_runs() -> None:
    """A test is nobody's only where its reason is the machine's, never where it asks for another user."""
    everyone = [row for row in skips.rows() if row.who == set(skips.WHO)]
    assert [row for row in everyone if "needs" in row.reason] == []


def test_files_for_everyone_say_so_themselves() -> None:
    """CI looks for the mark in files of tests, and gives users no others to collect."""
    mark = "mark." + "everyone"
    marking = [p for p in (PROJECT / "tests").rglob("*.py") if mark in p.read_text()]
    assert len(marking) > 20
    assert [p for p in marking if not p.name.startswith("test_")] == []
    assert "'mark\\.everyone'" in (PROJECT / ".ci/run").read_text()
