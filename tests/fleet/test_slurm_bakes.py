"""Whole bakes through a real Slurm: what one machine makes, also where a node or the client is lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from imagesmith.errors import UsageError
from imagesmith.fleet import slurm
from imagesmith.fleet.slurm import Slurm, SlurmOptions, SlurmRun
from imagesmith.fleet.units import Unit
from tests.fleet.bakes import Bakery, base_layout
from tests.fleet.cluster import Cluster, need_slurm, running, wait_for
from tests.support import PROJECT

_BAKE = """
variable "HOST" {{}}
target "default" {{
  name = "x${{n}}"
  matrix = {{ n = ["1", "2", "3"] }}
  args = {{ N = n }}
  contexts = {{ base = "oci-layout://{layout}" }}
  tags = ["${{HOST}}/x${{n}}"]
}}
"""
_DOCKERFILE = """
FROM base AS made
RUN echo made > /made
FROM made
ARG N
RUN echo $N > /n
RUN sleep 2
"""
#: A worker with a store that is its node's own.
_WORKER = """\
#!/bin/sh
export IMAGESMITH_ROOT={folder}/store-$SLURMD_NODENAME PYTHONPATH={project}
echo "$SLURM_ARRAY_TASK_ID on $SLURMD_NODENAME"
exec {python} -m imagesmith work --insecure --always-zero "$@"
"""


class Counting(Slurm):
    """The engine, which tells what it was given."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        worker = folder / "worker"
        worker.write_text(_WORKER.format(folder=folder, project=PROJECT, python=sys.executable))
        worker.chmod(0o755)
        super().__init__(SlurmOptions(logs=folder / "logs", arguments=arguments), [str(worker)])
        self.waves: list[list[str]] = []

    def submit(self, units: Sequence[Unit], place: str) -> SlurmRun:
        self.waves.append([unit.name for unit in units])
        return super().submit(units, place)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    need_slurm()
    with running(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture
def bakery(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bakery]:
    """Three images that share a stage, whose last step takes a while; Slurm does them."""
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    with Registry(tmp_path / "registry") as registry:
        made = Bakery(tmp_path, registry.host)
        made.engine = Counting(tmp_path)  # type: ignore[assignment]
        layout = base_layout(tmp_path / "base")
        made.write({
            "docker-bake.hcl": _BAKE.format(layout=layout), "Dockerfile": _DOCKERFILE,
        })  # fmt: skip
        yield made
        wait_for(lambda: not slurm._queue())


def nodes(bakery: Bakery) -> list[str]:
    """The nodes that tasks began on, in no order."""
    logs = (bakery.folder.parent / "logs").glob("*.log")
    return [line.split()[2] for log in logs for line in log.read_text().splitlines() if " on n" in line]


def test_two_nodes_make_what_one_machine_makes_and_shared_stages_once(bakery: Bakery) -> None:
    done = bakery.bake()
    assert [verdict.told for verdict in done.outcome.failed] == []
    assert bakery.engine.waves[0] == ["x1 made linux/amd64"]
    assert len(bakery.engine.waves) == 2
    assert set(nodes(bakery)) == {"n1", "n2"}
    executed = [step for verdict in done.outcome.verdicts.values() for step in verdict.steps]
    assert sum("echo made" in step for step in executed) == 1
    assert {n: str(i.descriptor.digest) for n, i in done.images.items()} == bakery.local()
    again = bakery.bake()
    assert again.images == done.images
    assert len(bakery.engine.waves) == 2


def test_a_node_that_is_lost_costs_time_only(cluster: Cluster, bakery: Bakery) -> None:
    def lose() -> None:
        wait_for(lambda: len(bakery.engine.waves) == 2 and nodes(bakery).count("n2"))
        cluster.kill("n2")
        cluster.run("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=lost")

    loser = threading.Thread(target=lose)
    loser.start()
    done = bakery.bake()
    loser.join()
    cluster.node("n2")
    assert [verdict.told for verdict in done.outcome.failed] == []
    assert len(bakery.engine.waves) == 2, "Slurm itself runs the tasks again"
    assert len(nodes(bakery)) > len(done.units)
    assert {n: str(i.descriptor.digest) for n, i in done.images.items()} == bakery.local()


def test_a_client_that_is_killed_leaves_units_that_the_next_waits_for(bakery: Bakery) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            bakery.bake()
        finally:
            os._exit(0)
    wait_for(lambda: len(nodes(bakery)) >= 3)  # the shared stage, and two of three
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    done = bakery.bake()
    assert set(done.images) == {"x1", "x2", "x3"}
    assert len(nodes(bakery)) == len(done.units), "no unit was begun twice"


def test_what_slurm_can_never_start_ends_the_bake(bakery: Bakery) -> None:
    bakery.engine = Counting(bakery.folder.parent, "--time=100")  # type: ignore[assignment]
    with pytest.raises(UsageError, match="will never start: PartitionTimeLimit"):
        bakery.bake()
    wait_for(lambda: not slurm._queue())
