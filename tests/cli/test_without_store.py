"""Verbs that only look go on where the store cannot be used; those that need it say what is wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.attack.test_limits import implying, layout
from tests.support import IMAGESMITH


@pytest.mark.parametrize(
    ("words", "status"),
    [(["inspect"], 0), (["digest"], 0), (["validate"], 0), (["images"], 8), (["prune"], 8)],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_store_that_cannot_be_used(tmp_path: Path, words: list[str], status: int) -> None:
    layout(tmp_path / "image", implying(0))
    (tmp_path / "s").write_text("no folder")
    more = [f"oci:{tmp_path / 'image'}"] if status == 0 else []
    done = subprocess.run(
        [*IMAGESMITH, *words, "--root", str(tmp_path / "s"), *more], capture_output=True, text=True
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "cannot use the store" in line]
    assert line.startswith("warning: " if status == 0 else "error: ")
    assert (tmp_path / "s").read_text() == "no folder"
