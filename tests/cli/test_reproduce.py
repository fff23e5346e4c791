"""reproduce: what is told of an image that is equal, and of one that is not; in processes of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support import IMAGESMITH


@pytest.fixture
def folder(tmp_path: Path, context: Path) -> Path:
    """The folder of the context, with its image as a layout beside it."""
    output = "type=oci,tar=false,dest=layout,rewrite-timestamp=true"
    done = smith(
        tmp_path, "build", "-q", "--build-arg", "SOURCE_DATE_EPOCH=1100000000", "-o", output, "context"
    )
    assert done.returncode == 0, done.stderr
    return tmp_path


def smith(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process, which may enter namespaces."""
    command = [*IMAGESMITH, *words, "--root", str(folder / "store")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_equal_image_is_told_in_a_line(folder: Path) -> None:
    done = smith(folder, "reproduce", "-q", "layout", "context")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("layout: equal: image ID sha256:")
    assert done.stdout.endswith(", 1 layers\n")


def test_differences_are_told_and_in_json(folder: Path) -> None:
    (folder / "context/f").write_text("as it is now")
    done = smith(folder, "reproduce", "-q", "layout", "context")
    assert done.returncode == 10
    assert "layer 1 (COPY f /f" in done.stdout
    assert "error: layout: 1 of 1 layers" in done.stderr
    told = json.loads(smith(folder, "reproduce", "-q", "--json", "oci:layout", "context").stdout)
    assert not told["equal"]


def test_image_that_is_not_there_is_an_error(folder: Path) -> None:
    done = smith(folder, "reproduce", "-q", "oci:none", "context")
    assert done.returncode == 7
    assert done.stdout == ""
