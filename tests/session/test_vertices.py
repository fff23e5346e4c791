"""What a build tells beside its steps, in BuildKit's words: what it reads, exports and pushes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.context.digests import Reading
from imagesmith.errors import ImagesmithError
from imagesmith.events import (
    Event,
    Planned,
    Progress,
    StepCached,
    StepDone,
    StepFailedEvent,
    StepStarted,
)
from imagesmith.request import Output
from imagesmith.solve.graph import needed_steps
from tests.kitchen import Kitchen
from tests.registry.conftest import serve_docker

TEXT = "FROM scratch AS a\nCOPY f /f\nFROM scratch\nCOPY --from=a /f /g\nCOPY f /h\n"


def vertices(events: list[Event]) -> dict[str, list[str]]:
    """The parts of each vertex, by its name, in the order in which they began; all of them have ended."""
    names: dict[int, str] = {}
    out: dict[str, list[str]] = {}
    running = set()
    for e in events:
        match e:
            case StepStarted() | StepCached():
                names[e.step] = e.name
                out.setdefault(e.name, [])
                if isinstance(e, StepStarted):
                    running.add(e.step)
            case StepDone() | StepFailedEvent():
                running.remove(e.step)
            case Progress(done=True):
                out[names[e.step]].append(e.id)
    assert not running
    return out


def test_a_build_tells_what_it_reads_and_exports(kitchen: Kitchen) -> None:
    kitchen.write({"f": "x" * 100})
    built = kitchen.build(TEXT, tags=["x/app:1"])
    told = vertices(kitchen.events)
    assert told["[internal] load build definition from Dockerfile"] == ["transferring dockerfile:"]
    assert told["[internal] load .dockerignore"] == []
    assert set(told["[internal] load build context"]) == {"transferring context:"}
    assert told["exporting to image"] == [
        "exporting layers",
        f"exporting manifest {built.digest}",
        f"exporting config {built.image_id}",
        "naming to docker.io/x/app:1",
    ]
    sizes = {e.id: e.current for e in kitchen.events if isinstance(e, Progress)}
    assert sizes["transferring dockerfile:"] == len(TEXT)
    assert sizes["transferring context:"] == 100


def test_what_is_remembered_is_not_read(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagesmith.context.digests._YOUNG_NS", -(10**10))
    kitchen.write({"f": "x" * 100})
    kitchen.build(TEXT)
    assert vertices(kitchen.events)["[internal] load build context"] == ["transferring context:"]
    kitchen.build(TEXT)
    told = vertices(kitchen.events)
    assert "[internal] load build context" not in told
    assert not [name for name in told if name.startswith("exporting ")]


@pytest.mark.parametrize(
    ("kind", "name", "part"),
    [
        ("oci", "exporting to oci image format", "sending tarball"),
        ("docker", "exporting to docker image format", "sending tarball"),
        ("tar", "exporting to client tarball", "sending tarball"),
        ("local", "exporting to client directory", "copying files"),
    ],
)
def test_each_output_is_told_by_its_name(
    kitchen: Kitchen, tmp_path: Path, kind: str, name: str, part: str
) -> None:
    kitchen.write({"f": "x"})
    kitchen.build(TEXT, outputs=[f"type={kind},dest={tmp_path}/out"])
    assert vertices(kitchen.events)[name][-1] == part


def test_an_output_that_fails_is_told_as_failed(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"f": "x"})
    with pytest.raises(ImagesmithError):
        kitchen.build(TEXT, outputs=[Output(type="oci", dest=f"{tmp_path}/none/out")])
    (failed,) = [e for e in kitchen.events if isinstance(e, StepFailedEvent)]
    assert failed.name == "exporting to oci image format"
    assert not failed.stopped


@pytest.mark.slow
def test_a_push_is_part_of_the_export(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"f": "x"})
    with serve_docker(tmp_path / "registry") as served:
        built = kitchen.build(TEXT, tags=[f"{served.host}/app:1"], push=True, insecure=True)
        parts = vertices(kitchen.events)["exporting to image"]
        assert parts[-2:] == ["pushing layers", f"pushing manifest for {served.host}/app:1@{built.digest}"]
        kitchen.events.clear()
        by_digest = f"type=image,name={served.host}/app,push=true,push-by-digest=true,registry.insecure=true"
        kitchen.build(TEXT, outputs=[by_digest])
    assert vertices(kitchen.events)["exporting to image"][-1] == (
        f"pushing manifest for {served.host}/app@{built.digest}"
    )


@pytest.mark.slow
def test_a_context_of_a_stream_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "imagesmith", "build", "--progress=plain", "--root", str(tmp_path / "s"), "-"],
        input=b"FROM scratch\n", capture_output=True, check=True,
    )  # fmt: skip
    lines = done.stderr.decode().splitlines()
    assert lines[:4] == [
        "", "#1 [internal] load remote build context", "#1 transferring context: 13B done", "#1 DONE 0.0s",
    ]  # fmt: skip
    assert "#2 transferring dockerfile: 13B done" in lines


def test_all_steps_are_known_from_the_beginning(kitchen: Kitchen) -> None:
    kitchen.write({"f": "x"})
    for _ in range(2):
        kitchen.build(TEXT)
        (planned,) = [e for e in kitchen.events if isinstance(e, Planned)]
        told = [e.name for e in kitchen.events if isinstance(e, StepStarted | StepCached)]
        assert sorted(planned.names) == sorted(n for n in told if not n.startswith("[internal]"))
    assert list(needed_steps([None])) == []


def test_readers_at_the_same_time_are_one_vertex_that_may_begin_again() -> None:
    events: list[Event] = []
    reading = Reading(events.append, 7)
    with reading:
        reading.read(5)
        with reading:
            reading.read(5)
        reading.rest()
        assert [type(e) for e in events] == [StepStarted]
    reading.rest()
    assert [type(e) for e in events] == [StepStarted, Progress, StepDone]
    reading.read(1)
    reading.rest()
    assert len(events) == 3
    reading.read(1 << 20)
    reading.rest()
    assert [e.current for e in events if isinstance(e, Progress)] == [10, 11 + (1 << 20)]
    assert {e.step for e in events if isinstance(e, StepStarted)} == {7}
