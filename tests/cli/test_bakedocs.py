"""docs/bake.md: what it says of targets, inheritance and --set (tests/docs runs its commands)."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import IMAGESMITH, PROJECT

TEXT = (PROJECT / "docs" / "bake.md").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    [text] = re.findall(r"```hcl\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "docker-bake.hcl").write_text(text)
    return tmp_path


def test_its_file_means_what_it_says(folder: Path) -> None:
    targets = printed(folder, (folder / "docker-bake.hcl").read_text())
    assert targets["app-large"]["labels"] == {"flavour": "LARGE"}
    assert targets["app-large"]["tags"] == ["example/app:latest-large"]


def test_every_attribute_is_named() -> None:
    from imagesmith.bake.target import ATTRIBUTES

    said = re.search(r"## What a target says\n\n`(.*?)`", TEXT, re.DOTALL)
    assert said is not None
    assert set(said[1].split()) | {"policy", "resources"} == {*ATTRIBUTES, "inherits", "matrix", "name"}


def printed(folder: Path, text: str, *words: str) -> dict[str, Any]:
    (folder / "other.hcl").write_text(text)
    done = subprocess.run(
        [*IMAGESMITH, "bake", "-f", "other.hcl", "--print", *words], cwd=folder, capture_output=True,
        text=True, env=dict(os.environ, PYTHONPATH=str(PROJECT), IMAGESMITH_ROOT=str(folder / "store")),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (folder / "store").exists()
    targets: dict[str, Any] = json.loads(done.stdout)["target"]
    return targets


def test_set_adds_and_counts(folder: Path) -> None:
    text = 'target "default" {\n  tags = ["a:1"]\n}\n'
    told = printed(
        folder, text, "--builder", "b", "--set", "default.tags+=a:2", "--set", "*.network=none",
        "--set", "*.no-cache-filter=x", "--set", "*.ulimits=nofile=9:9",
    )["default"]  # fmt: skip
    assert told["tags"] == ["a:1", "a:2"]
    assert (told["network"], told["no-cache-filter"]) == ("none", ["x"])
    assert told["ulimits"] == ["nofile=9:9"]


def test_what_comes_over_what(folder: Path) -> None:
    text = (
        'target "one" {\n  tags = ["a:1"]\n  args = { A = "1", B = "1" }\n  no-cache-filter = ["x"]\n}\n'
        'target "two" {\n  inherits = ["one"]\n  tags = ["a:2"]\n  args = { B = "2" }\n'
        '  no-cache-filter = ["y"]\n}\n'
    )
    told = printed(folder, text, "two")["two"]
    assert told["tags"] == ["a:2"]
    assert told["args"] == {"A": "1", "B": "2"}
    assert told["no-cache-filter"] == ["x", "y"]
    assert printed(folder, text, "--set", "one.args.A=7", "two")["two"]["args"] == {"A": "7", "B": "2"}


def test_now_is_one_time(folder: Path) -> None:
    text = 'target "default" {\n  labels = { a = timestamp(), b = timestamp() }\n}\n'
    labels = printed(folder, text)["default"]["labels"]
    assert labels["a"] == labels["b"]
