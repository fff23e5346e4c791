"""Folders for a while: those of killed processes go with the next that begins one, whatever they were for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.store.work import KINDS, WorkFolder, sweep
from tests.support import PROJECT

_HOLD = """
import sys
from pathlib import Path
from imagesmith.store.work import KINDS, WorkFolder
held = [WorkFolder(Path(sys.argv[1]), kind) for kind in KINDS]
(held[0].path / "folder").mkdir()
print("ready", flush=True)
sys.stdin.read()
"""


def names(work: Path) -> list[str]:
    return sorted(p.name for p in work.iterdir() if p.name != "lock")


def test_folders_of_a_killed_process_go_and_those_of_others_stay(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        first = WorkFolder(tmp_path, "run-")
        assert len(names(tmp_path)) == len(KINDS) + 1
        process.kill()
        process.wait()
        second = WorkFolder(tmp_path, "context-")
    assert names(tmp_path) == sorted((first.path.name, second.path.name))
    for folder in (first, second, first):
        folder.close()
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_folder_without_a_lock_is_swept(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"{kind}x" / "y").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    sweep(tmp_path)
    assert names(tmp_path) == ["other"]


def test_folder_is_this_users_alone(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path, "run-")
    assert folder.path.stat().st_mode & 0o7777 == 0o700
    folder.close()
