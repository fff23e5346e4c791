"""A command in an image: what comes of it, and how it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import imagesmith
from imagesmith.errors import LimitExceeded, NetworkFault, SandboxError, UsageError
from imagesmith.events import Event, Log

Run = Callable[..., imagesmith.Completed]


@pytest.fixture
def run(base_image: Path, tmp_path: Path) -> Run:
    """Runs in the demo's base image."""
    root = tmp_path / "store"
    imagesmith.copy(f"oci:{base_image}", "store:base:1", root=root)
    return lambda *command, **words: imagesmith.run("base:1", command, root=root, **words)


def test_status_and_both_streams_are_kept(run: Run) -> None:
    done = run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.status, done.stdout, done.stderr, done.text) == (3, b"out\n", b"err\n", "out\n")
    assert repr(done) == "Completed(3, 4 bytes out, 4 err)"


def test_words_are_those_of_the_command_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = run(
        "sh", "-c", "echo $A; pwd; id -u; hostname; echo made > /there/file; cat",
        env={"A": "b"}, workdir="/tmp", user="0", hostname="here", volumes=[f"{tmp_path}/in:/there"],
    )  # fmt: skip
    assert done.text.split() == ["b", "/tmp", "0", "here"]
    assert (tmp_path / "in/file").read_text() == "made\n"
    with pytest.raises(UsageError, match="expected PATH:DIR"):
        run("true", volumes=["x"])


@pytest.mark.everyone
def test_caller_stays_as_it_is_and_changes_are_dropped(run: Run) -> None:
    before = [os.readlink(f"/proc/self/ns/{name}") for name in ("user", "mnt", "net", "pid")]
    assert run("sh", "-c", "echo x > /left").status == 0
    assert run("sh", "-c", "test -e /left").status == 1
    assert [os.readlink(f"/proc/self/ns/{name}") for name in ("user", "mnt", "net", "pid")] == before


def test_what_cannot_be_is_an_error(run: Run, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="not-there"):
        run("/not-there")
    with pytest.raises(LimitExceeded, match="more than 100 bytes"):
        run("sh", "-c", "yes | head -c 1000", most_bytes=100)
    with pytest.raises(NetworkFault):
        imagesmith.run("127.0.0.1:1/nothing:1", ["true"], root=tmp_path / "store")


def test_output_comes_as_it_is_written_and_an_interrupt_ends_it(run: Run) -> None:
    seen: list[bytes] = []

    def events(event: Event, /) -> None:
        if isinstance(event, Log):
            seen.append(event.data)
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run("sh", "-c", "echo ready; exec sleep 60", events=events)
    assert time.monotonic() - began < 30
    assert seen == [b"ready\n"]
