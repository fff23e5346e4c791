"""docs/bake.md: its file is read, and each of its commands is run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support import IMAGESMITH, PROJECT

TEXT = (PROJECT / "docs" / "bake.md").read_text()
COMMANDS = [
    line.split("  #")[0].strip()
    for line in re.findall(r"^    (.*imagesmith bake .*)$", TEXT, re.MULTILINE)
    if "TARGET" not in line
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    [text] = re.findall(r"```hcl\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "docker-bake.hcl").write_text(text)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_command_works(folder: Path, command: str) -> None:
    words = shlex.split(command)
    env = dict(os.environ, PYTHONPATH=str(PROJECT), IMAGESMITH_ROOT=str(folder / "store"))
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    assert words.pop(0) == "imagesmith"
    done = subprocess.run([*IMAGESMITH, *words], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if "--print" in words:
        targets = json.loads(done.stdout)["target"]
        assert targets["app-large"]["labels"] == {"flavour": "LARGE"}
        assert targets["app-large"]["tags"] == ["example/app:latest-large"]


def test_every_attribute_is_named() -> None:
    from imagesmith.bake.target import ATTRIBUTES

    said = re.search(r"## What a target says\n\n`(.*?)`", TEXT, re.DOTALL)
    assert said is not None
    assert set(said[1].split()) | {"policy", "resources"} == {*ATTRIBUTES, "inherits", "matrix", "name"}
