"""A test that waits for what never comes fails, with stacks; the others run on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import PROJECT

_TESTS = """
import threading

def test_that_waits_for_ever() -> None:
    threading.Event().wait()

def test_that_is_next() -> None:
    pass
"""


def test_test_that_hangs_fails_and_tells_where(tmp_path: Path) -> None:
    (tmp_path / "test_hangs.py").write_text(_TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.patience", "-p", "no:cacheprovider", "test_hangs.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "IMAGESMITH_TEST_PATIENCE_S": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "the run of test_hangs.py::test_that_waits_for_ever took longer than 1 s" in done.stdout
    assert "in test_that_waits_for_ever" in done.stdout + done.stderr
