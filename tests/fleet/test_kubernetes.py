"""The Kubernetes engine against an API server of ours: Jobs are made, watched, found again, and deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from imagesmith.errors import NetworkFault, UsageError
from imagesmith.fleet.engine import ENDED, RUNNING, WAITING
from imagesmith.fleet.kubernetes import Kubernetes
from imagesmith.fleet.manifests import Pods
from tests.fleet.fakekube import FakeKube, fake_kube, refusal
from tests.fleet.support import unit

PLACE = f"registry.example/cache@sha256:{'a' * 64}"
UNITS = [
    unit(target="a", platform="linux/amd64"), unit(target="b", platform="linux/arm64"),
    unit(target="c", platform="linux/amd64"),
]  # fmt: skip


@pytest.fixture
def cluster() -> Iterator[FakeKube]:
    with fake_kube() as found:
        yield found


def engine(cluster: FakeKube, **pods: Any) -> Kubernetes:
    from lightkube import Client, KubeConfig
    from lightkube.config.models import Cluster, User

    config = KubeConfig.from_one(cluster=Cluster(server=cluster.url), user=User(), namespace="builds")
    return Kubernetes(Pods(image="registry.example/imagesmith", **pods), Client(config))


def pod(cluster: FakeKube, arch: str, index: int) -> str:
    [found] = [name for name in cluster.pods if f"-{arch}-{index}-" in name]
    return found


def test_a_wave_is_watched_to_its_end(cluster: FakeKube) -> None:
    run = engine(cluster).submit(UNITS, PLACE)
    assert sorted(name.rpartition("-")[2] for name in cluster.jobs) == ["amd64", "arm64"]
    assert run.poll() == {0: WAITING, 1: WAITING, 2: WAITING}
    assert run.output() == []
    cluster.begin(pod(cluster, "amd64", 1))  # the second unit of amd64 is the third of the wave
    cluster.say(pod(cluster, "amd64", 1), "line one")
    assert run.poll() == {0: WAITING, 1: WAITING, 2: RUNNING}
    assert [(p.index, p.data) for p in run.output()] == [(2, b"line one\n")]
    cluster.say(pod(cluster, "amd64", 1), "line two")
    cluster.end(pod(cluster, "amd64", 1))
    cluster.begin(pod(cluster, "arm64", 0))
    cluster.end(pod(cluster, "arm64", 0))
    assert run.poll() == {0: WAITING, 1: ENDED, 2: ENDED}
    assert [(p.index, p.data) for p in run.output()] == [(2, b"line two\n")]
    assert run.output() == []


def test_a_job_that_runs_is_found_and_one_that_has_ended_made_anew(cluster: FakeKube) -> None:
    engine(cluster).submit(UNITS, PLACE)
    cluster.begin(pod(cluster, "amd64", 0))
    cluster.end(pod(cluster, "arm64", 0))
    run = engine(cluster).submit(UNITS, PLACE)
    assert run.poll() == {0: RUNNING, 1: WAITING, 2: WAITING}
    assert sum(method == "DELETE" for method, _ in cluster.asked) == 1


def test_cancelled_jobs_are_gone_and_a_lost_one_has_ended(cluster: FakeKube) -> None:
    run = engine(cluster).submit(UNITS, PLACE)
    run.cancel()
    assert (cluster.jobs, cluster.pods) == ({}, {})
    assert run.poll() == {0: ENDED, 1: ENDED, 2: ENDED}
    run.cancel()


def test_what_keeps_a_pod_from_beginning_is_told_once(cluster: FakeKube) -> None:
    run = engine(cluster).submit(UNITS, PLACE)
    cluster.pods[pod(cluster, "amd64", 0)]["status"]["containerStatuses"] = [
        {
            "name": "work", "image": "x", "imageID": "", "ready": False, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
        }
    ]  # fmt: skip
    [piece] = run.output()
    assert piece.index == 0
    assert piece.data.endswith(b": ImagePullBackOff: no such image\n")
    assert run.output() == []


def test_a_server_that_is_away_is_a_fault_that_may_pass(cluster: FakeKube) -> None:
    run = engine(cluster).submit(UNITS, PLACE)
    cluster.failing = 1
    with pytest.raises(NetworkFault, match="the server is away"):
        run.poll()
    assert run.poll()[0] == WAITING


def test_missing_rights_are_told_with_the_way_to_them(
    cluster: FakeKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = refusal(403, "jobs is forbidden")
    monkeypatch.setattr(cluster, "create", lambda _job: (403, refused))
    with pytest.raises(UsageError, match="jobs is forbidden") as e:
        engine(cluster).submit(UNITS, PLACE)
    assert "--print-rbac" in e.value.hint


def test_without_a_configuration_there_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="no cluster is configured"):
        Kubernetes(Pods(image="x"))
