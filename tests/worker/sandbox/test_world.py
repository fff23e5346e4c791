"""Which world a process gets and what it leaves behind; in processes of their own: entering is for good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagesmith.interfaces import Place
from imagesmith.worker.sandbox import world
from imagesmith.worker.sandbox.container import container
from tests.support import IMAGESMITH, PROJECT, need_program, need_root

pytestmark = pytest.mark.everyone

_ENTER = """
import json, os, sys
from imagesmith.errors import ImagesmithError
from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox.world import enter
try:
    w = enter(sys.argv[1])
    told = {"ids": w.place.ids, "mounts": w.place.mounts, "isolation": w.isolation, "hint": w.hint}
    told["refused"] = dict(w.refused)
    told["uid"] = os.geteuid()
    if w.place.mounts:
        k.mount("tmpfs", sys.argv[2], "tmpfs")
        open(sys.argv[2] + "/seen-inside", "w").close()
    w.sandbox().close()
except ImagesmithError as e:
    told = {"error": e.message, "hint": e.hint, "code": e.code}
print(json.dumps(told))
"""


def entered(isolation: str, folder: Path, *contained: str) -> dict[str, Any]:
    """What a new process finds."""
    before = [sys.executable, "-m", "tests.worker.sandbox.contained", *contained] if contained else []
    command = [*before, sys.executable, "-c", _ENTER, isolation, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_mounts_are_seen_by_no_other_process(tmp_path: Path) -> None:
    world = entered("auto", tmp_path)
    if not world.get("mounts"):
        pytest.skip(str(world))
    assert os.listdir(tmp_path) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_process_is_root_in_its_world(tmp_path: Path) -> None:
    world = entered("auto", tmp_path)
    if not world.get("mounts"):
        pytest.skip(str(world))
    assert (world["isolation"], world["uid"]) == ("native", 0)
    assert world["ids"] == "root" if os.geteuid() == 0 else world["ids"] in ("subid", "single")


def test_isolation_that_does_not_work_is_one_line_with_the_reason(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        told = entered("native", tmp_path, "0")
        assert told["error"].startswith("--isolation native does not work here: user namespaces are refused")
    else:
        told = entered("chroot", tmp_path)
        assert told["error"] == (
            "--isolation chroot does not work here: "
            "a chroot needs root with its capabilities (the user is not root)"
        )
    assert told["code"] == "sandbox-unavailable"
    assert "\n" not in told["error"]


def test_root_in_an_ordinary_container_gets_a_chroot(tmp_path: Path) -> None:
    need_root()
    world = entered("auto", tmp_path, "0")
    assert (world["isolation"], world["ids"], world["mounts"]) == ("chroot", "root", False)
    assert list(world["refused"]) == ["root", "subid"]


def test_root_on_a_machine_gets_a_chroot_only_by_its_name(tmp_path: Path) -> None:
    need_root()
    if container():
        pytest.skip("this is a container itself")
    told = entered("auto", tmp_path, "bare")
    assert told["code"] == "sandbox-unavailable"
    assert told["error"].endswith("a chroot alone keeps no step from the machine, and this is no container")
    assert told["hint"] == "where all that is built is trusted with the machine: --isolation chroot"
    assert entered("chroot", tmp_path, "bare")["isolation"] == "chroot"


def test_root_without_its_admin_right_gets_a_namespace_of_all_ids(tmp_path: Path) -> None:
    need_root()
    world = entered("auto", tmp_path, "admin")
    assert (world["isolation"], world["ids"], world["mounts"]) == ("native", "subid", True)


def test_user_in_an_ordinary_container_is_told_what_is_missing(tmp_path: Path) -> None:
    who = "12345" if os.geteuid() == 0 else str(os.geteuid())
    tmp_path.chmod(0o755)
    told = entered("auto", tmp_path, who)
    assert told["code"] == "sandbox-unavailable"
    assert told["error"].startswith("RUN cannot be executed here: user namespaces are refused (unshare: ")
    assert told["hint"]


@pytest.mark.slow
@pytest.mark.parametrize("who", ["0", "12345"])
def test_container_without_privileges_builds_what_it_can(who: str, tmp_path: Path) -> None:
    """As root with RUN; as a user without, and with it only a refusal of one line."""
    need_root()
    (tmp_path / "ctx").mkdir()
    (tmp_path / "ctx" / "busybox").write_bytes(Path(need_program("busybox")).read_bytes())
    (tmp_path / "ctx" / "busybox").chmod(0o755)
    copying = "FROM scratch\nCOPY busybox /bin/sh\n"
    (tmp_path / "ctx" / "Copies").write_text(copying)
    (tmp_path / "ctx" / "Runs").write_text(copying + "RUN echo here > /out\n")
    (tmp_path / "store").mkdir(mode=0o700)
    for path in (tmp_path, tmp_path / "store"):
        os.chown(path, int(who), int(who))

    def build(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.worker.sandbox.contained", who, *IMAGESMITH, "build", "-q",
             "--root", str(tmp_path / "store"), "-f", str(tmp_path / "ctx" / name), "-o",
             f"type=tar,dest={tmp_path / name}.tar", str(tmp_path / "ctx")],
            capture_output=True, text=True, cwd=PROJECT, env={**os.environ, "HOME": str(tmp_path)},
            check=False,
        )  # fmt: skip

    for parent in tmp_path.parents:
        if (
            parent.stat().st_uid == 0
            and parent != Path("/")
            and parent.name.startswith(("pytest-", "popen-"))
        ):
            parent.chmod(0o755)
    assert build("Copies").returncode == 0
    done = build("Runs")
    if who == "0":
        assert (done.returncode, done.stderr) == (0, "")
        assert b"here\n" in (tmp_path / "Runs.tar").read_bytes()
    else:
        assert done.returncode == 9
        assert "error: RUN cannot be executed here: user namespaces are refused" in done.stderr


@pytest.mark.parametrize(
    ("below", "covered"),
    [("", False), ("/proc/sys/fs/binfmt_misc", False), ("/proc/acpi", True), ("/proc/sys", True)],
)
def test_covered_proc_is_told_where_steps_get_the_machine_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str, covered: bool
) -> None:
    lines = ["22 1 0:20 / / rw - ext4 x rw", "23 22 0:21 / /proc rw - proc proc rw"]
    lines += [f"24 23 0:22 / {below} ro - tmpfs x rw"] if below else []
    (tmp_path / "mountinfo").write_text("\n".join(lines) + "\n")
    assert world.proc_is_covered(str(tmp_path / "mountinfo")) is covered
    monkeypatch.setattr(world, "proc_is_covered", lambda: covered)
    for ids, told in (("subid", covered), ("single", covered), ("root", False)):
        weaker = world.World(Place(ids=ids, mounts=True), "native").weaker  # type: ignore[arg-type]
        assert any("/proc" in text for text in weaker) is told
