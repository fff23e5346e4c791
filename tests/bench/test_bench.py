"""The bench itself, at a thousandth of its size and without peers: that it still runs when it is needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support import need_program, need_root

sys.path.append(
    str(Path(__file__).resolve().parent)
)  # its modules are a program's, and find each other there
import bench as program
import measuring
import services
from builders import Imagesmith
from measuring import Bench, Figures, bound
from table import failures, table
from workloads import make_more, make_workloads


@pytest.mark.slow
def test_program_measures_and_prints() -> None:
    for name in ("docker-registry", "skopeo"):
        need_program(name)
    need_root()
    labels = ["small:warm", "npm:one", "copy:unchanged"]
    words = [sys.executable, program.__file__, "--scale", "0.001", "--runs", "1", "--peers", "crane"]
    words += ["--only", ",".join(labels), "--workers", "1,4096"]
    with tempfile.TemporaryDirectory() as tmp:
        Path(tmp).chmod(0o755)  # pytest's folders are closed to others
        words += ["--json", f"{tmp}/figures"]
        done = subprocess.run(words, env={**os.environ, "TMPDIR": tmp}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert [p.name for p in Path(tmp).iterdir()] == ["figures"]
        found = json.loads(Path(tmp, "figures").read_text())
    assert list(found) == [f"{label}@1" for label in labels]
    for row in found.values():
        for figures in row.values():
            assert figures["failed"] == ""
            assert len(figures["wall_s"]) == len(figures["cpu_s"]) == 1
            assert figures["cpu_s"][0] > 0
    assert set(found["npm:one@1"]) == {"one id", "root"}
    assert "4096 workers: not measured" in done.stdout
    assert ("crane: not measured" in done.stdout) == (shutil.which("crane") is None)


@pytest.mark.slow
def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    for name in ("docker-registry", "skopeo"):
        need_program(name)
    words = [sys.executable, program.__file__, "--scale", "0.001", "--only", "stages", "--peers", ""]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        while running.poll() is None and not list(tmp_path.glob("bench-data-*/stores/run0/now/store")):
            time.sleep(0.01)
        time.sleep(1)  # steps sleep for two
        running.terminate()
        running.communicate()
    assert running.returncode == 143
    assert list(tmp_path.iterdir()) == []
    left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(p)]
    assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


@pytest.mark.slow
def test_cached_build_takes_all_but_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache that is measured is really found, and the store really empty."""
    for name in ("docker-registry", "skopeo"):
        need_program(name)
    said: list[str] = []

    def recorded(words: list[str], env: dict[str, str]) -> measuring.Used:
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
        said.append(done.stdout + done.stderr)
        return measuring.Used(1.0, 1.0, 1.0)

    monkeypatch.setattr(measuring, "timed", recorded)
    with services.registry(tmp_path) as address:
        make_workloads(tmp_path, address, 0.001)
        make_more("cached", tmp_path, address, 0.001)
        (tmp_path / "stores").mkdir()
        row = Bench(tmp_path / "workloads", address, tmp_path / "stores").row(
            "cached:changed", [Imagesmith()], 0
        )
    assert row["imagesmith"].failed == ""
    first, second = said
    assert (first.count("CACHED"), second.count("CACHED")) == (0, 3)


def test_table_compares_pair_by_pair() -> None:
    own, peer = (
        Figures([1.0, 2.0, 3.0], [1.0] * 3, [0.0] * 3, [9.0] * 3),
        Figures([2.0, 8.0, 6.0], [4.0] * 3, [2.0] * 3),
    )
    rows = {
        "small@2": {"imagesmith": own, "peer": peer},
        "big": {"imagesmith": own, "peer": Figures(failed="no")},
    }
    above, heads, small, big = table(rows, {"small": "0.50"}).splitlines()
    assert above.replace("-", "").split() == ["imagesmith", "peer"]
    assert heads.split("  ")[-4:] == ["ratio", "cpu ratio", "started", "goal"]
    assert small.split() == ["small@2", "2.00", "1.00", "9", "6.00", "4.00", "0.50", "0.25", "0.25", "0.50"]
    assert big.split() == ["big", "2.00", "1.00", "9", "-", "-", "-", "-", "-"]
    assert failures(rows) == ["big: peer failed: no"]


def test_goals_are_of_what_is_measured() -> None:
    assert set(program.GOALS) <= set(program.MEASURED)
    assert all(map(program.known, program.MEASURED))


@pytest.mark.parametrize(
    "words", [["--only", "small,big:wram"], ["--only", "copy:one"], ["--peers", "buildkt"]]
)
def test_what_is_not_known_is_refused(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.py", *words])
    with pytest.raises(SystemExit, match="2"):
        program.main()


def test_numbers_of_cpus_are_those_that_there_are() -> None:
    here = sorted(os.sched_getaffinity(0))
    assert bound([len(here), 1, 1, 5000]) == ([here[:n] for n in sorted({1, len(here)})], [5000])


def test_server_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "PATIENCE_S", 0.1)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    server = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    assert server.stdout is not None
    with server.stdout:
        server.stdout.readline()
        services.stop(server)
    assert server.returncode == -9


def test_what_lies_mounted_below_a_folder_is_taken_away(tmp_path: Path) -> None:
    need_root()
    inner = tmp_path / "inner"
    inner.mkdir()
    for where in (tmp_path, inner):
        where.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", where], check=True)
    services.unmount(tmp_path)
    assert not os.path.ismount(tmp_path)


def test_cpu_of_a_process_is_with_that_of_its_children() -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass\n"
    run = f"subprocess.run([sys.executable, '-c', {burn!r}])"
    script = f"import subprocess, sys; {run}; print(flush=True); input()"
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    used = services.cpu_of(parent.pid)
    parent.communicate(b"\n")
    assert used >= 0.19
