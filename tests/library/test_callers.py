"""The library in programs of all kinds: what they do with signals, forks and threads is theirs."""

from __future__ import annotations

import contextlib
import copy
import inspect
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import imagesmith
from imagesmith import errors
from imagesmith.errors import ImagesmithError
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from tests.registry.conftest import serve_embedded
from tests.support import PROJECT

pytestmark = pytest.mark.everyone

PROGRAM = """\
import os, signal, sys, time
import imagesmith
from imagesmith.events import Log

kind, folder, base = sys.argv[1:4]
if kind == "blocks":
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
elif kind == "ignores":
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
elif kind == "dies of pipes":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)

def events(event):
    if not isinstance(event, Log):
        return
    if kind == "forks" and os.fork() == 0:
        time.sleep(15)  # it has all descriptors of ours
        os._exit(0)
    began.append(time.monotonic())
    if kind != "ignores":
        raise KeyboardInterrupt

began = []
seconds = "0.1" if kind == "ignores" else "60"
os.mkdir(f"{folder}/context")
with open(f"{folder}/context/Dockerfile", "w") as file:
    file.write(f"FROM base\\nRUN echo ready; (exit 3) || sleep {seconds}\\n")
try:
    imagesmith.build(f"{folder}/context", root=f"{folder}/store", contexts={"base": base}, events=events)
    print("built")
except KeyboardInterrupt:
    assert time.monotonic() - began[0] < 10, "it was killed"
    print("interrupted")
left = [n for f in ("work", "ingest") for n in os.listdir(f"{folder}/store/{f}") if n != "lock"]
assert left == [], left
"""


@pytest.mark.parametrize("kind", ["usual", "blocks", "forks", "dies of pipes", "ignores"])
def test_build_works_and_ends_under_any_caller(kind: str, tmp_path: Path, base_image: Path) -> None:
    said, told = tmp_path / "said", tmp_path / "told"  # no pipes, which who was forked would hold
    with said.open("wb") as stdout, told.open("wb") as stderr:
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, kind, str(tmp_path), f"oci-layout://{base_image}"],
            env={**os.environ, "PYTHONPATH": str(PROJECT)}, stdout=stdout, stderr=stderr,
            start_new_session=True,
        )  # fmt: skip
        program.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)  # who was forked still sleeps
    assert (program.returncode, told.read_text()) == (0, "")
    assert said.read_text() == ("built\n" if kind == "ignores" else "interrupted\n")


def test_command_works_where_ended_processes_are_ignored(tmp_path: Path, base_image: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base\nRUN (exit 3) || echo ready\n")
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.executable, "
    )
    words = ["-m", "imagesmith", "build", "--build-context", f"base=oci-layout://{base_image}", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", f"{ignoring}[sys.executable, *sys.argv[1:]])", *words],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "IMAGESMITH_ROOT": str(tmp_path / "store")},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_python_that_cannot_be_started_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    with pytest.raises(ImagesmithError, match=r"the child process cannot be started: .*no such file"):
        imagesmith.build(tmp_path, root=tmp_path / "store", isolation="none")


def test_images_are_copied_pushed_and_pulled_by_several_threads_at_once(
    tmp_path: Path, base_image: Path
) -> None:
    root = tmp_path / "store"
    found: list[Digest | BaseException] = []

    def run(call: Callable[[], Descriptor]) -> None:
        try:
            found.append(call().digest)
        except BaseException as e:  # shown by the assertion
            found.append(e)

    def all_at_once(*calls: Callable[[], Descriptor]) -> None:
        threads = [threading.Thread(target=run, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    before = _state()
    with serve_embedded(tmp_path / "registry") as served:
        names = [f"{served.host}/app{n}:1" for n in range(4)]
        base = f"oci:{base_image}"
        all_at_once(*(lambda n=n: imagesmith.copy(base, f"store:{n}", root=root) for n in names))
        all_at_once(*(lambda n=n: imagesmith.push(n, root=root, insecure=True) for n in names))
        all_at_once(
            *(lambda n=n: imagesmith.pull(n, root=root, insecure=True) for n in names),
            *(lambda n=n: imagesmith.copy(f"store:{n}", f"oci:{tmp_path}/{n[-3]}", root=root) for n in names),
            *(lambda n=n: imagesmith.pull(n, root=tmp_path / "new", insecure=True) for n in names),
        )
    assert len(found) == 20
    assert len(set(found)) == 1, found
    assert _state() == before


def _state() -> list[object]:
    """What a process has of its own, but for the time and memory that it took."""
    status = Path("/proc/self/status").read_text().splitlines()
    kept = ("Umask", "Uid", "Gid", "Groups", "Cap", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs")
    spaces = [os.readlink(f"/proc/self/ns/{name}") for name in ("user", "mnt", "net", "pid")]
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return [[line for line in status if line.startswith(kept)], spaces, handlers, os.getcwd()]


FOUND = [kind for kind in map(vars(errors).get, errors.__all__) if isinstance(kind, type)]
KINDS = [kind for kind in FOUND if issubclass(kind, ImagesmithError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_comes_back_with_all_that_it_carries(kind: type[ImagesmithError]) -> None:
    more = [n for n, p in inspect.signature(kind).parameters.items() if p.kind is p.KEYWORD_ONLY]
    error = kind("what went wrong", **{name: f"its {name}" for name in more})
    error.about("word").located("Dockerfile", 3, 4, "FROM x\n")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert (again.args, vars(again)) == (error.args, vars(error))
