"""The Slurm engine with a real Slurm: what tasks do, what is left of them, and nodes and controllers lost."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.fleet import slurm
from imagesmith.fleet.engine import ENDED, RUNNING, WAITING
from imagesmith.fleet.slurm import Slurm, SlurmOptions, SlurmRun
from imagesmith.fleet.units import Unit
from tests.fleet.cluster import Cluster, need_slurm, running, wait_for

PLACE = "registry.example/cache@sha256:" + "0" * 64
#: A worker's stand-in: it writes its words, then waits for a file unless it was started again.
WORKER = """
import os, pathlib, sys, time
place, flag, index = sys.argv[2:]
print(index, os.environ["SLURMD_NODENAME"], os.environ.get("IMAGESMITH_ROOT", "-"), flush=True)
folder = pathlib.Path(sys.argv[1])
(folder / f"started-{index}").touch()
while not (folder / "go").exists() and "SLURM_RESTART_COUNT" not in os.environ:
    time.sleep(0.05)
print("done", place == "PLACE", flag, flush=True)
""".replace("PLACE", PLACE)


def units(count: int, platform: str = "linux/amd64") -> list[Unit]:
    """Units that differ."""
    return [
        Unit(target=f"t{n}", platform=platform, definition={"target": {f"t{n}": {}}}) for n in range(count)
    ]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    need_slurm()
    with running(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture
def engine(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """An engine whose tasks are stand-ins; what they wait for is `go`, which comes at the end."""
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    yield made(tmp_path)
    (tmp_path / "go").touch()
    wait_for(lambda: not slurm._queue())


def made(folder: Path, **options: object) -> Slurm:
    """An engine that keeps all its files in a folder."""
    script = folder / "worker.py"
    script.write_text(WORKER)
    given = SlurmOptions(logs=folder / "100% logs", **options)  # type: ignore[arg-type]
    return Slurm(given, command=[sys.executable, str(script), str(folder)])


def text(run: SlurmRun) -> dict[int, str]:
    """What each unit has written since."""
    found: dict[int, str] = {}
    for piece in run.output():
        found[piece.index] = found.get(piece.index, "") + piece.data.decode()
    return found


def ended(run: SlurmRun) -> bool:
    return set(run.poll().values()) == {ENDED}


def test_a_wave_is_run_and_told_of(engine: Slurm, tmp_path: Path) -> None:
    run = engine.submit(units(6), PLACE)
    wait_for(lambda: sorted(run.poll().values()) == [RUNNING] * 4 + [WAITING] * 2)
    assert sorted(run.poll()) == list(range(6))
    (tmp_path / "go").touch()
    wait_for(lambda: ended(run))
    said = text(run)
    assert {index: line.split()[0] for index, line in said.items()} == {n: str(n) for n in range(6)}
    assert {line.split()[1] for line in said.values()} == {"n1", "n2"}
    assert all(line.splitlines()[1] == "done True --index" for line in said.values())
    assert text(run) == {}
    assert not list((tmp_path / "100% logs").glob("*.json"))


def test_a_tasks_words_name_its_unit_where_nodes_differ(
    cluster: Cluster, engine: Slurm, tmp_path: Path
) -> None:
    engine = made(tmp_path, constraints={"amd64": "amd", "arm64": "arm"}, root="/a store", parallelism=1)
    wave = [u for pair in zip(units(2), units(2, "linux/arm64"), strict=True) for u in pair]
    run = engine.submit(wave, PLACE)
    wait_for(lambda: sorted(run.poll().values()) == [RUNNING] * 2 + [WAITING] * 2)
    (tmp_path / "go").touch()
    wait_for(lambda: ended(run))
    assert {index: line.splitlines()[0] for index, line in text(run).items()} == {
        0: "0 n1 /a store", 1: "1 n2 /a store", 2: "2 n1 /a store", 3: "3 n2 /a store"
    }  # fmt: skip


def test_cancelled_units_end(engine: Slurm) -> None:
    run = engine.submit(units(5), PLACE)
    wait_for(lambda: RUNNING in run.poll().values())
    run.cancel()
    wait_for(lambda: ended(run))
    assert not any("done" in line for line in text(run).values())
    run.cancel()  # once more is nothing


def test_a_later_client_waits_for_what_still_runs(engine: Slurm, tmp_path: Path) -> None:
    first = engine.submit(units(2), PLACE)
    wait_for(lambda: set(first.poll().values()) == {RUNNING})
    later = made(tmp_path).submit(units(4)[1:], PLACE)  # unit 1 runs; 2 and 3 are new
    wait_for(lambda: set(later.poll().values()) == {RUNNING})
    assert len({task.array for task in later._tasks.values()}) == 2
    (tmp_path / "go").touch()
    wait_for(lambda: ended(later) and ended(first))
    assert text(later)[0].startswith("1 n")
    assert not list((tmp_path / "100% logs").glob("*.json"))


def test_a_lost_nodes_units_run_again(cluster: Cluster, engine: Slurm, tmp_path: Path) -> None:
    run = engine.submit(units(4), PLACE)
    wait_for(lambda: len(list(tmp_path.glob("started-*"))) == 4)
    time.sleep(4)  # Slurm takes a younger task for one that has still to start
    cluster.kill("n2")
    cluster.node("n2")
    first = text(run)
    lost = {index for index, line in first.items() if " n2 " in line}
    assert len(lost) == 2
    wait_for(lambda: WAITING in run.poll().values())
    assert {i for i, state in run.poll().items() if state != RUNNING} == lost
    (tmp_path / "go").touch()
    wait_for(lambda: ended(run))
    said = text(run)
    assert {i for i, line in said.items() if len(line.splitlines()) == 2} == lost  # from the start
    assert all(line.splitlines()[-1] == "done True --index" for line in said.values())


def test_a_controller_that_is_away_is_waited_for(cluster: Cluster, engine: Slurm, tmp_path: Path) -> None:
    run = engine.submit(units(1), PLACE)
    wait_for(lambda: set(run.poll().values()) == {RUNNING})
    cluster.controller(False)
    assert run.poll() == {0: RUNNING}
    with pytest.raises(ImagesmithError, match=r"squeue: status 1: .*controller"):
        SlurmRun(tmp_path, {}, -1.0).poll()
    with pytest.raises(ImagesmithError, match="controller"):
        made(tmp_path, patience_s=0.0).submit(units(2), PLACE)
    cluster.controller(True)
    later = engine.submit(units(2), PLACE)
    (tmp_path / "go").touch()
    wait_for(lambda: ended(run) and ended(later))
    assert {index: line.split()[0] for index, line in text(later).items()} == {0: "0", 1: "1"}


def test_what_slurm_refuses_is_said(engine: Slurm, tmp_path: Path) -> None:
    with pytest.raises(ImagesmithError, match=r"sbatch: status 1: .*partition"):
        made(tmp_path, arguments=("--partition=none",)).submit(units(1), PLACE)
    assert not list((tmp_path / "100% logs").glob("*.json"))


def test_a_unit_that_cannot_start_is_said(engine: Slurm, tmp_path: Path) -> None:
    run = made(tmp_path, arguments=("--time=100",)).submit(units(1), PLACE)  # an hour is the partition's most
    with pytest.raises(UsageError, match="will never start: PartitionTimeLimit"):
        wait_for(lambda: run.poll() and False)
    run.cancel()


def test_what_slurm_holds_after_a_failed_launch_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(slurm, "_asked", lambda words: asked.append(words))
    seen = slurm._Seen("7_1", "PENDING", "launch failed requeued held")
    assert SlurmRun(tmp_path, {}, 1.0)._state(seen) == ENDED
    assert asked == [["scancel", "7_1"]]


@pytest.mark.parametrize(
    "word", ["-a1", "--array=1", "--arr=1", "-o", "--wrap=x", "script.sh", "-", "--", "-W"]
)
def test_words_that_are_the_engines_own_are_refused(word: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sbatch argument"):
        Slurm(SlurmOptions(logs=tmp_path, arguments=(word,)))


@pytest.mark.parametrize(
    "word", ["-pbuild", "--partition=build", "--mem=4G", "-A=me", "--account=me", "--exclusive"]
)
def test_other_words_are_the_users(word: str, tmp_path: Path) -> None:
    words = Slurm(SlurmOptions(logs=tmp_path, arguments=(word,)))._words("name", 2, "")
    assert words[-1] == word
    assert "--array=0-1" in words


def test_other_options_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="logs"):
        Slurm(SlurmOptions(logs=tmp_path / "a\\b"))
    with pytest.raises(UsageError, match="parallelism"):
        Slurm(SlurmOptions(logs=tmp_path, parallelism=-1))


def test_without_slurm_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="squeue: not found; --on slurm"):
        Slurm(SlurmOptions(logs=tmp_path)).submit(units(1), PLACE)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="no folder for logs"):
        Slurm(SlurmOptions(logs=tmp_path / "file" / "logs")).submit(units(1), PLACE)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"units": 1}', b'{"units": [1]}'])
def test_notes_that_are_none_tell_of_no_unit(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "note.json").write_bytes(raw)
    assert slurm._note(tmp_path / "note.json") == ()
