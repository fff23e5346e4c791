"""Folders of killed processes go with the next that starts, those of living ones stay."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from imagesmith.interfaces import Place
from imagesmith.store.store import Store
from imagesmith.store.work import sweep
from imagesmith.worker.snapshot import choose, overlay
from imagesmith.worker.snapshot.work import WorkFolder, keep_tree
from tests.support import PROJECT, need_root


def names(work: Path) -> list[str]:
    return sorted(p.name for p in work.iterdir() if p.name != "lock")


def test_folder_is_swept_once_its_process_is_dead(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from imagesmith.worker.snapshot.work import WorkFolder\n"
    code += "held = WorkFolder(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        ours = WorkFolder(tmp_path)
        assert len(names(tmp_path)) == 2
        process.kill()
    sweep(tmp_path)
    assert names(tmp_path) == [ours.path.name]
    ours.close()
    ours.close()
    assert names(tmp_path) == []


def test_folders_are_spread_over_the_disk_where_the_file_system_can(tmp_path: Path) -> None:
    """The T of lsattr; an inode that was just deleted is in the way of new ones otherwise."""

    def flags(folder: Path) -> str:
        listed = subprocess.run(["lsattr", "-d", str(folder)], capture_output=True, text=True)
        if listed.returncode:
            pytest.skip(listed.stderr.strip())
        return listed.stdout.split()[0]

    if subprocess.run(["chattr", "+T", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("this file system knows no such flag")
    wanted = flags(tmp_path)
    subprocess.run(["chattr", "-T", str(tmp_path)], check=True)
    WorkFolder(tmp_path).close()
    assert flags(tmp_path) == wanted
    WorkFolder(tmp_path).close()
    assert flags(tmp_path) == wanted


def test_folder_without_a_lock_is_swept(tmp_path: Path) -> None:
    (tmp_path / "snap-x" / "y").mkdir(parents=True)
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_probe_works_where_the_next_process_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def mount(_lowers: object, upper: Path, *_: object) -> NoReturn:
        seen.append([p.name.partition("-")[0] for p in upper.parents[2].iterdir() if p.is_dir()])
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(overlay, "mount_overlay", mount)
    with Store(tmp_path / "store") as store:
        reason = choose.why_not_overlay(Place(ids="root", mounts=True), store)
        assert reason == f"overlayfs cannot be used on {store.work} (operation not permitted)"
        assert seen == [["snap"]]
        assert names(store.work) == []


def test_tree_that_is_there_already_stays(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
        keep_tree(tmp_path / name, tmp_path / "layer" / "tree")
    assert (tmp_path / "layer" / "tree" / "f").read_text() == "one"
    assert not (tmp_path / "two").exists()


def test_what_is_mounted_in_a_work_folder_goes_with_it(tmp_path: Path) -> None:
    """As it is left by who is interrupted between two mounts; read-only: nothing in it can be deleted."""
    need_root()
    code = (
        "import sys; from pathlib import Path; from imagesmith.worker.sandbox import kernel as k, world\n"
        "from imagesmith.worker.snapshot.work import WorkFolder\n"
        "world.enter('native'); work = WorkFolder(Path(sys.argv[1])); made = work.new() / 'a b'\n"
        "made.mkdir(); k.mount('tmpfs', str(made), 'tmpfs'); (made / 'file').touch()\n"
        "k.mount(None, str(made), flags=k.MS_REMOUNT | k.MS_RDONLY)\n"
        "work.close(); print(work.path.exists())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "work")],
        capture_output=True, text=True, cwd=PROJECT,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("False\n", "")
