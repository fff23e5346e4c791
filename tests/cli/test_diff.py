"""diff: config, files and sizes of two images."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest

from imagesmith.cli.diff import configure
from imagesmith.cli.diff import run as diff
from imagesmith.errors import Different
from tests.cli.conftest import Run
from tests.registry.images import layer_tar


@pytest.fixture
def more(run: Run, image: str, tmp_path: Path) -> str:
    """The image with a layer more, and another user."""
    (tmp_path / "l.tar").write_bytes(layer_tar({"new": b"n", "a": b"other"}))
    run("append", "l.tar", "-b", "app:1", "-t", "store:more:1")
    run("mutate", "more:1", "--user", "5", "-t", "store:more:1")
    return "more:1"


def told(capfdbinary: pytest.CaptureFixture[bytes], *words: str) -> str:
    """What the verb prints of images that differ."""
    parser = argparse.ArgumentParser()
    configure(parser)
    capfdbinary.readouterr()
    with pytest.raises(Different):
        diff(parser.parse_args(words))
    sys.stdout.flush()
    return capfdbinary.readouterr().out.decode()


def test_an_image_does_not_differ_from_itself(run: Run, image: str) -> None:
    assert run("diff", "app:1", "store:app:1") == ""
    assert run("diff", "--only", "sizes", "app:1", "app:1").startswith("layers: 2 -> 2, ")


def test_lines_tell_what_differs(more: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    out = told(capfdbinary, "app:1", more)
    assert out.index("config:\n") < out.index("files:\n") < out.index("layers: 2 -> 3, ")
    assert "new" in told(capfdbinary, "--only", "files", "app:1", more)
    assert "files:" not in told(capfdbinary, "--only", "config", "app:1", more)


def test_json_has_the_same(more: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    found = json.loads(told(capfdbinary, "--json", "app:1", more))
    assert [d["where"] for d in found["files"]] == ["/a", "/new"]
    assert found["layers"] == [2, 3]
    assert found["sizes"][0] < found["sizes"][1]


def test_times_are_of_files(run: Run, image: str) -> None:
    assert "--times is for files" in run("diff", "--times", "--only", "config", "app:1", "app:1", status=2)
