"""pin: sources are settled, what has moved is told, and moved when that is asked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from imagesmith.pins import parse_lock
from imagesmith.plan.plan import Plan
from tests.cli.conftest import Run
from tests.upstream import Upstream, upstream
from tests.web import repository

__all__ = ["upstream"]


@pytest.fixture
def folder(tmp_path: Path, upstream: Upstream) -> Path:
    """A context whose Dockerfile takes all that moves."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(upstream.dockerfile)
    return folder


def values(folder: Path) -> list[str]:
    found = parse_lock((folder / "Dockerfile.lock").read_bytes(), "lock")
    return [found[source] for source in sorted(found)]


def states(run: Run, *words: str, status: int = 0) -> list[str]:
    return [
        row["state"] for row in json.loads(run("pin", "--json", *words, "context", status=status))["pins"]
    ]


def test_pins_are_written_then_compared_then_moved(folder: Path, upstream: Upstream, run: Run) -> None:
    assert states(run) == ["new"] * 3
    first = values(folder)
    assert states(run) == ["same"] * 3
    upstream.move()
    assert states(run) == ["behind"] * 3
    assert values(folder) == first
    said = run("pin", "--update", "context")
    assert len(said.splitlines()) == 3
    second = values(folder)
    for old, new in zip(first, second, strict=True):
        assert f": {old} -> {new}" in said
    assert run("pin", "--update", "context") == "Dockerfile.lock: nothing has moved\n"


def test_table_tells_what_is_behind(folder: Path, upstream: Upstream, run: Run) -> None:
    run("pin", "context")
    upstream.move()
    lines = run("pin", "context").splitlines()
    assert lines[0].split() == ["SOURCE", "PINNED", "STATE"]
    [line] = (line for line in lines if line.startswith(upstream.image))
    assert re.search(r"   sha256:[0-9a-f]{12}   behind: sha256:[0-9a-f]{12}$", line)
    assert max(map(len, lines)) < 120


def test_check_writes_nothing_and_tells_by_its_status(folder: Path, upstream: Upstream, run: Run) -> None:
    said = run("pin", "--check", "context", status=10)
    assert "error: Dockerfile.lock: of 3 sources 3 are missing, 0 behind" in said
    assert not (folder / "Dockerfile.lock").exists()
    run("pin", "context")
    run("pin", "--check", "context")
    upstream.move()
    assert "0 are missing, 3 behind" in run("pin", "--check", "context", status=10)


def test_only_what_is_named_moves(folder: Path, upstream: Upstream, run: Run) -> None:
    run("pin", "context")
    files, images, repositories = values(folder)
    upstream.move()
    run("pin", "--update", "--only", upstream.image, "context")
    now = values(folder)
    assert (now[0], now[2]) == (files, repositories)
    assert now[1] != images
    run("pin", "--update", "--only", upstream.files.url("f"), "context")
    assert values(folder)[0] != files
    assert values(folder)[2] == repositories
    said = run("pin", "--update", "--only", "debian:12", "context", status=2)
    assert "--only debian:12: no source has that name" in said


def test_all_stages_and_platforms_are_looked_at(folder: Path, upstream: Upstream, run: Run) -> None:
    text = (
        f"FROM {upstream.image} AS base-amd64\nFROM scratch AS base-arm64\nADD {upstream.files.url('f')} /\n"
    )
    (folder / "Dockerfile").write_text(f"{text}FROM base-${{TARGETARCH}}\n")
    assert states(run, "--platform", "linux/amd64") == ["new", "new"]
    (folder / "Dockerfile.lock").unlink()
    assert states(run, "--platform", "linux/amd64", "--target", "base-amd64") == ["new"]
    assert states(run, "--platform", "linux/amd64,linux/arm64") == ["new", "same"]


def test_source_that_nothing_names_is_told_and_stays(folder: Path, run: Run) -> None:
    run("pin", "context")
    (folder / "Dockerfile").write_text("FROM scratch\n")
    assert states(run) == ["unused"] * 3
    run("pin", "--update", "context")
    assert len(values(folder)) == 3


def test_source_that_nothing_names_goes_when_that_is_asked(
    folder: Path, upstream: Upstream, run: Run
) -> None:
    run("pin", "context")
    first = values(folder)
    (folder / "Dockerfile").write_text(f"FROM {upstream.image}\n")
    said = run("pin", "--prune", "--target", "x", "context", status=2)
    assert "--target looks at some only" in said
    said = run("pin", "--prune", "--check", "context", status=2)
    assert "--check writes nothing, and --prune does" in said
    assert states(run, "--prune", "--only", upstream.files.url("f")) == ["dropped"]
    assert values(folder) == first[1:]
    upstream.move()
    assert sorted(states(run, "--prune")) == ["behind", "dropped"]
    assert values(folder) == first[1:2]
    assert states(run, "--prune") == ["behind"]


def test_prune_and_update_go_together(folder: Path, upstream: Upstream, run: Run) -> None:
    run("pin", "context")
    first = values(folder)
    (folder / "Dockerfile").write_text(f"FROM {upstream.image}\n")
    upstream.move()
    said = run("pin", "--update", "--prune", "context")
    assert sorted(line.rpartition(" -> ")[2] == "dropped" for line in said.splitlines()) == [
        False,
        True,
        True,
    ]
    [now] = values(folder)
    assert now not in first
    assert run("pin", "--update", "--prune", "context") == "Dockerfile.lock: nothing has moved\n"


def test_plan_holds_what_is_pinned_and_is_read_back(folder: Path, upstream: Upstream, run: Run) -> None:
    run("pin", "context")
    said = run("build", "--call", "graph,format=json", "context")
    upstream.move()
    upstream.files.files.clear()
    assert run("build", "--call", "graph,format=json", "--pull", "context") == said
    assert all(value.rpartition(":")[2] in said for value in values(folder))
    assert Plan.parse(said.encode()).to_json() == json.loads(said)


def test_build_requires_what_pin_wrote(folder: Path, upstream: Upstream, run: Run) -> None:
    run("pin", "context")
    with (folder / "Dockerfile").open("a") as f:
        f.write("COPY --from=alpine:3 / /\n")
    said = run("build", "--call", "graph", "context", status=3)
    assert said.startswith("Dockerfile:7\n")
    assert re.search(r"\^{8}\n(.*\n)+error: alpine:3 is not in Dockerfile\.lock\nhint: .*build --pin", said)
    run("build", "--call", "targets", "--pin=false", "context")
    said = run("build", "--check", "--pin", "context", status=2)
    assert "--pin: --call check writes nothing" in said


def test_lock_of_a_repository_is_looked_at_and_not_written(
    folder: Path, upstream: Upstream, run: Run
) -> None:
    run("pin", "context")
    names = ("Dockerfile", "Dockerfile.lock")
    repository(upstream.repositories.root / "app", {n: (folder / n).read_text() for n in names})
    url = upstream.repositories.url("app")
    rows = json.loads(run("pin", "--json", url))["pins"]
    assert [row["state"] for row in rows] == ["same"] * 3
    for flag in ("--update", "--prune"):
        said = run("pin", flag, url, status=2)
        assert "Dockerfile.lock came with the context, and cannot be written there" in said


def test_lock_that_is_none_is_told(folder: Path, run: Run) -> None:
    (folder / "Dockerfile.lock").write_text('{"version": 3}')
    assert "error: Dockerfile.lock: version 3 is not known" in run("pin", "context", status=6)
    said = run("pin", "--check", "--update", "context", status=2)
    assert "--check writes nothing" in said


def test_lock_in_a_folder_that_is_closed_is_told(folder: Path, run: Run) -> None:
    (folder / "Dockerfile.lock").mkdir()
    assert "Dockerfile.lock is not a file" in run("pin", "context", status=5)
