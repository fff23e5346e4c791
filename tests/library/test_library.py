"""The library: the process that calls it stays as it is, from any thread, several at a time."""

from __future__ import annotations

import copy
import importlib
import inspect
import os
import pickle
import pkgutil
import pydoc
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

import imagesmith
from imagesmith.errors import ImagesmithError, StepFailed, UsageError
from imagesmith.events import Log, StepStarted
from imagesmith.request import BuildRequest, Output
from tests.support import PROJECT, need_program

pytestmark = pytest.mark.everyone

PROGRAM = """\
import os, signal, sys, threading
import imagesmith
from imagesmith.events import Log, StepDone

def state():
    return (os.getresuid(), os.getresgid(), os.getcwd(), signal.getsignal(signal.SIGINT),
            [os.readlink(f"/proc/self/ns/{n}") for n in ("user", "mnt", "net", "uts", "pid")],
            [l for l in open("/proc/self/status") if l.startswith(("Umask", "Groups", "CapEff", "SigIgn"))])

def build(name):
    said = []
    built = imagesmith.build(
        f"{folder}/{name}", root=f"{folder}/store", contexts={"base": base}, tags=[f"{name}:1"],
        events=lambda e: said.append(e), no_cache=True,
    )
    assert any(isinstance(e, Log) and name.encode() in e.data for e in said)
    assert any(isinstance(e, StepDone) and e.seconds > 0 for e in said)
    done[name] = built.digest

folder, base, done, before = sys.argv[1], sys.argv[2], {}, state()
threads = [threading.Thread(target=build, args=(name,)) for name in ("one", "two")]
for t in threads: t.start()
for t in threads: t.join()
assert state() == before, (state(), before)
assert done["one"] != done["two"]
assert imagesmith.copy("store:one:1", f"oci:{folder}/out", root=f"{folder}/store").digest == done["one"]
assert state() == before
print("built two")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Contexts whose RUN says their name."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        text = f"FROM base\nRUN echo {name}; echo {name} > /{name}; sleep 0.3\n"
        (tmp_path / name / "Dockerfile").write_text(text)
    return tmp_path


def test_two_threads_build_at_the_same_time_and_the_process_stays_as_it_is(
    folder: Path, base_image: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), f"oci-layout://{base_image}"],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "built two\n"), done.stderr


def build(folder: Path, base: Path, text: str, **words: Any) -> Any:
    """A build of a Dockerfile."""
    (folder / "one/Dockerfile").write_text(text)
    return imagesmith.build(
        folder / "one", root=folder / "store", contexts={"base": f"oci-layout://{base}"}, **words
    )


def test_step_that_fails_is_the_error_that_it_is_with_its_place(folder: Path, base_image: Path) -> None:
    with pytest.raises(StepFailed) as found:
        build(folder, base_image, "FROM base\nRUN echo because >&2; exit 7\n")
    e = found.value
    assert (e.status, e.exit_code, e.first, e.file) == (7, 4, 2, "Dockerfile")
    assert "because" in e.output


def test_what_the_caller_s_events_raise_ends_the_build(folder: Path, base_image: Path) -> None:
    def events(event: object) -> None:
        if isinstance(event, Log):
            raise ZeroDivisionError

    began = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        build(folder, base_image, "FROM base\nRUN echo x; sleep 60\n", events=events)
    assert time.monotonic() - began < 30
    assert left(folder) == []


def left(folder: Path) -> list[str]:
    """What the store's folders of work hold."""
    found = [p for name in ("work", "ingest") for p in (folder / "store" / name).glob("*")]
    return [str(p) for p in found if p.name != "lock"]


def test_child_that_is_killed_is_told_in_one_line(folder: Path, base_image: Path) -> None:
    def events(event: object) -> None:
        if isinstance(event, StepStarted) and "RUN" in event.name:
            children = [p for p in Path("/proc").glob("[0-9]*/stat") if _parent(p) == os.getpid()]
            for child in children:
                os.kill(int(child.parent.name), signal.SIGKILL)

    with pytest.raises(ImagesmithError, match="was killed by signal 9"):
        build(folder, base_image, "FROM base\nRUN sleep 60\n", events=events)


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return 0


def test_builds_end_with_the_program_that_asked_for_them(folder: Path, base_image: Path) -> None:
    (folder / "one/Dockerfile").write_text("FROM base\nRUN echo ready; exec sleep 6543\n")
    program = (
        "import imagesmith, sys\n"
        f"imagesmith.build({str(folder / 'one')!r}, root={str(folder / 'store')!r},\n"
        f"    contexts={{'base': 'oci-layout://{base_image}'}},\n"
        "    events=lambda e: (print(type(e).__name__, flush=True)))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen([sys.executable, "-c", program], env=env, stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        while b"Log" not in caller.stdout.readline():
            assert caller.poll() is None
        caller.kill()
    until = time.monotonic() + 20
    while any("6543" in text for text in _commands()):
        assert time.monotonic() < until
        time.sleep(0.1)


def _commands() -> list[str]:
    out = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            out.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return [text for text in out if text.startswith("sleep ")]


def test_paths_are_relative_to_the_caller_s_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "one/Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    built = imagesmith.build("one", root="store", outputs=["type=oci,dest=x.tar"], isolation="none")
    assert (folder / "x.tar").is_file()
    assert built.image.config.diff_ids
    assert built.image.layers == ()


def test_output_may_be_standard_output(folder: Path) -> None:
    (folder / "one/Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    program = (
        "import imagesmith\n"
        f"imagesmith.build({str(folder / 'one')!r}, root={str(folder / 'store')!r}, isolation='none',\n"
        "    outputs=['type=tar,dest=-'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True
    )
    names = subprocess.run([need_program("tar"), "-t"], input=done.stdout, capture_output=True).stdout
    assert names == b"Dockerfile\n", done.stderr


def test_signatures_are_those_that_are_called() -> None:
    parameters = inspect.signature(imagesmith.build).parameters
    assert {"context", "tags", "outputs", "secrets", "events", "isolation"} <= set(parameters)
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    assert "tags: " in pydoc.plain(pydoc.render_doc(imagesmith.build))
    assert pydoc.plain(pydoc.render_doc(imagesmith.push)).count("insecure")


def test_type_checkers_see_the_signature() -> None:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "use.py"
        program.write_text(
            "import imagesmith\nfrom imagesmith.events import Event\n\n"
            "def events(event: Event, /) -> None: ...\n\n"
            "built = imagesmith.build('.', tags=['a'], events=events)\nreveal_type(built.digest)\n"
            "imagesmith.build(tag='a')\n"
        )
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", str(program), "--cache-dir", folder],
            capture_output=True, text=True, cwd=PROJECT,
        )  # fmt: skip
    assert 'Revealed type is "imagesmith.oci.digest.Digest"' in done.stdout, done.stdout + done.stderr
    assert 'Unexpected keyword argument "tag"' in done.stdout
    assert done.stdout.count("error:") == 1, done.stdout


def test_values_are_copied_and_pickled() -> None:
    output = Output(type="oci", dest="x", options={"a": "b"})
    request = BuildRequest(outputs=(output,), allow=frozenset(["x"]))
    for made in (copy.copy(request), copy.deepcopy(request), pickle.loads(pickle.dumps(request))):
        assert made == request
        assert type(made) is BuildRequest


def test_every_value_can_be_made_again_from_its_fields() -> None:
    seen = 0
    for found in pkgutil.walk_packages(imagesmith.__path__, "imagesmith."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == found.name and "_kw_only" in kind.__dict__:
                again, (of, _) = kind.__reduce__(_Blank(kind))  # type: ignore[misc, arg-type]
                assert callable(again)
                assert of is _Blank
                seen += 1
    assert seen > 100


class _Blank:
    """Has every field."""

    def __init__(self, kind: Any) -> None:
        self._fields = kind._fields

    def __getattr__(self, name: str) -> str:
        return name


def test_end_of_a_build_is_silent(folder: Path, base_image: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(8):
        with pytest.raises(StepFailed):
            build(folder, base_image, "FROM base\nRUN exit 7\n")
    assert capfd.readouterr() == ("", "")


def test_one_text_is_a_list_of_it(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    built = imagesmith.build(tmp_path, tags="app:1", isolation="none", root=tmp_path / "store")
    assert [tag.familiar for tag in built.tags] == ["app:1"]
    with pytest.raises(UsageError, match="list of words"):
        imagesmith.mutate("app:1", cmd="ls -l", root=tmp_path / "store")
    with pytest.raises(UsageError, match="a list of texts is expected, not int"):
        imagesmith.build(tmp_path, tags=5, root=tmp_path / "store")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="are expected, not tuple"):
        imagesmith.tags("a.example/a", credentials=("u", "p"))  # type: ignore[arg-type]


def test_a_path_that_can_be_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        imagesmith.bake(report=tmp_path / "none" / "r.html", root=tmp_path / "store")
    with pytest.raises(UsageError, match="null byte"):
        imagesmith.pull("a.example/a", policy="\0", root=tmp_path / "store")
