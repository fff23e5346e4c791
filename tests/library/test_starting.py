"""Calls in threads: events as an iterator, programs under asyncio, and their ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import imagesmith
from imagesmith.errors import Cancelled, NotFound, StepFailed
from imagesmith.events import Log, StepStarted
from tests.support import PROJECT


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A folder whose build executes nothing."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    return tmp_path / "app"


def test_events_come_as_they_happen_and_the_result_at_the_end(context: Path, base_image: Path) -> None:
    (context / "Dockerfile").write_text("FROM base\nRUN echo one; sleep 60\n")
    contexts = {"base": f"oci-layout://{base_image}"}
    root, began = context / "store", time.monotonic()
    with imagesmith.start(imagesmith.build, context, root=root, contexts=contexts) as running:
        assert repr(running) == "Running(build, running)"
        seen = next(event for event in running if isinstance(event, Log))
        assert seen.data.startswith(b"one")  # while the step still runs
        assert not running.done
    assert running.done
    assert time.monotonic() - began < 30  # and not at the step's end
    assert [p.name for p in (root / "work").glob("*") if p.name != "lock"] == []
    with pytest.raises(Cancelled):
        running.result()
    assert repr(running) == "Running(build, failed)"


def test_what_a_call_raises_is_raised_by_its_result(context: Path) -> None:
    running = imagesmith.start(imagesmith.push, "nothing:1", root=context / "store")
    list(running)
    with pytest.raises(NotFound, match="nothing:1"):
        running.result()
    assert list(running) == []


def test_iterating_again_gives_nothing_twice(context: Path) -> None:
    running = imagesmith.start(imagesmith.build, context, root=context / "store", isolation="none")
    assert any(isinstance(event, StepStarted) for event in list(running))
    assert list(running) == []
    assert running.result().digest


def test_events_cannot_be_given_twice(context: Path) -> None:
    with pytest.raises(TypeError, match="events"):
        imagesmith.start(imagesmith.build, context, events=print)


def test_calls_work_under_asyncio_by_threads_and_within_a_running_loop(context: Path) -> None:
    """As a cell of Jupyter has a running loop in the main thread."""
    root = context / "store"

    async def main() -> tuple[str, ...]:
        many = (
            asyncio.to_thread(imagesmith.build, context, tags=[f"app:{n}"], root=root, isolation="none")
            for n in (1, 2, 3)
        )
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        built = await asyncio.gather(*many)
        assert ticks > 2  # the loop went on
        ticking.cancel()
        here = imagesmith.build(context, tags=["app:4"], root=root, isolation="none")
        return tuple(str(b.digest) for b in (*built, here))

    assert len(asyncio.run(main())) == 4
    assert [image.name for image in imagesmith.images(root=root)] == ["app:1", "app:2", "app:3", "app:4"]


PROGRAM = """\
import multiprocessing, os, signal, sys
import imagesmith

def build(word):
    built = imagesmith.build(sys.argv[1], root=sys.argv[2], isolation="none", tags=[word])
    return str(built.digest)

print(build("app:1") == build("app:2"), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_program_needs_no_main_guard(context: Path, tmp_path: Path) -> None:
    """Its children are new interpreters that do not import the program again."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(file), str(context), str(tmp_path / "store")],
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "True True\n", "")


def test_failure_in_a_thread_is_the_error_that_it_is(context: Path, base_image: Path) -> None:
    (context / "Dockerfile").write_text("FROM base\nRUN echo why; exit 5\n")
    found: list[BaseException] = []

    def work() -> None:
        try:
            contexts = {"base": f"oci-layout://{base_image}"}
            imagesmith.build(context, root=context / "store", contexts=contexts)
        except StepFailed as e:
            found.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert isinstance(found[0], StepFailed)
    assert found[0].status == 5


def test_import_costs_nothing_and_names_stay_functions() -> None:
    program = (
        "import sys; before = set(sys.modules); import imagesmith\n"
        "print(sorted(m for m in set(sys.modules) - before if m.startswith('imagesmith')))\n"
        "import imagesmith.bake.hcl, imagesmith.export.rootfs, imagesmith.sbom.making\n"
        "print([f.__name__ for f in (imagesmith.bake, imagesmith.export, imagesmith.sbom)])\n"
        "from imagesmith.bake import hcl; print(hcl.__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "['imagesmith']", "['bake', 'export', 'sbom']", "imagesmith.bake.hcl"
    ]  # fmt: skip
