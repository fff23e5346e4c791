"""Where the store is: what the user says, else the data folder, else a folder of the user's own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from imagesmith.settings import Settings


def test_what_is_said_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("IMAGESMITH_ROOT", raising=False)
    assert Settings.load().root == tmp_path / ".local/share/imagesmith"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert (Settings.load().root, Settings.load().instead) == (tmp_path / "data/imagesmith", "")
    monkeypatch.setenv("IMAGESMITH_ROOT", "/nowhere")
    assert (Settings.load().root, Settings.load().instead) == (Path("/nowhere"), "")
    assert Settings.load("/said").root == Path("/said")


def test_where_nothing_can_be_made_the_store_is_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("IMAGESMITH_ROOT", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).startswith("/proc"))
    found = Settings.load()
    assert found.root == tmp_path / f"imagesmith-{os.geteuid()}"
    assert found.instead == "/proc/nowhere/.local/share/imagesmith cannot be made"
