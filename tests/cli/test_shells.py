"""build --on-failure and --shell-at on a real terminal: in the step's own sandbox, and nothing is changed."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.cli.progress import Front
from imagesmith.cli.shells import Shells
from imagesmith.errors import Cancelled, SandboxError, StepFailed
from imagesmith.interfaces import Mount, RunSpec
from imagesmith.request import BuildRequest, OnFailure
from imagesmith.solve.halting import Halt, Room
from imagesmith.worker.sandbox.native import NotStarted
from tests.cli.conftest import Run
from tests.ops.conftest import BASE
from tests.support import IMAGESMITH, PROJECT, need_program, need_root
from tests.windows import Terminal

FAILS = f"""{BASE}FROM base AS build
ARG V=arg
ENV E=env
WORKDIR /w
RUN mkdir own && chown 7:8 own
USER 7:8
WORKDIR /w/own
RUN --mount=type=cache,target=/c,uid=7 --mount=type=secret,id=s,uid=7 --mount=type=tmpfs,target=/t \\
    --mount=type=bind,target=/b,rw --network=none \\
    echo left > left && echo cached > /c/f && ls -l / /b && exit 3
"""


class Place:
    """A context and a store, and builds of it on a terminal."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.context, self.store = folder / "context", store
        self.context.mkdir()
        shutil.copy(need_program("busybox"), self.context / "busybox")
        os.utime(self.context / "busybox", (1, 1))
        (self.context / ".dockerignore").write_text("Dockerfile\n")
        self.secret = folder / "secret"
        self.secret.write_text("hidden-word\n")

    def words(self, text: str, *flags: str) -> list[str]:
        """The command line of a build."""
        (self.context / "Dockerfile").write_text(text)
        return [
            *IMAGESMITH, "build", "--root", str(self.store), "--progress", "plain",
            "--secret", f"id=s,src={self.secret}", *flags, str(self.context),
        ]  # fmt: skip

    def build(self, text: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """A build that has no terminal."""
        return subprocess.run(self.words(text, *flags), capture_output=True, text=True, cwd=PROJECT)

    def open(self, text: str, *flags: str) -> Shell:
        """A build on a terminal."""
        return Shell(self.words(text, *flags), 300, 60, {"PYTHONPATH": str(PROJECT)})

    def digest(self, text: str) -> str:
        """What a build makes, all of whose steps are in the cache."""
        done = self.build(text)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("CACHED") >= 3
        return re.findall(r"sha256:[0-9a-f]{64}", done.stderr)[-1]


class Shell(Terminal):
    """A build with a shell."""

    _typed = 0

    def ready(self) -> None:
        """Wait for a prompt."""
        self.until(lambda lines: bool(lines) and lines[-1].endswith((" $", " #")))

    def type(self, line: str) -> str:
        """Type a line at a prompt; returns what comes of it, up to a last line `end`."""
        self.ready()
        before, self._typed = len(self.raw), self._typed + 1
        self.press(f"{line}; echo 'en''d' {self._typed}\r".encode())
        self.until(lambda lines: f"end {self._typed}" in lines)
        return self.raw[before:].partition(f"end {self._typed}\r\n")[0].partition(f"'d' {self._typed}\r\n")[2]

    def leave(self, line: str = "exit") -> int:
        """Leave the shell; returns the build's status."""
        self.ready()
        self.press(f"{line}\r".encode())
        return self.wait()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the base is."""
    place = Place(folder := tmp_path_factory.mktemp("shells"), folder / "store")
    done = place.build(BASE)
    if "RUN cannot be executed here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return place.store


@pytest.fixture
def place(tmp_path: Path, base: Path) -> Place:
    return Place(tmp_path, base)


@pytest.fixture(params=["auto", "chroot"])
def isolation(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of RUN; a chroot for root alone."""
    if request.param == "chroot":
        need_root()
    return request.param


# --- where a step failed -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.everyone
def test_the_shell_is_where_the_step_was(place: Place, isolation: str) -> None:
    with place.open(FAILS, "--on-failure", "shell", "--isolation", isolation) as shell:
        said = shell.type("cat left /c/f /run/secrets/s; pwd; id -u; id -g; echo $V-$E; ls -A /t; ls /b")
        assert said.split() == [
            "left", "cached", "hidden-word", "/w/own", "7", "8", "arg-env", "busybox",
        ]  # fmt: skip
        said = shell.type('eval "$IMAGESMITH_STEP"; echo st-$?')
        assert "st-3" in said
        if isolation == "auto":
            assert "eth0" not in shell.type("cat /proc/net/dev")
        shell.type("rm left; echo changed > own-file; echo x > /b/canary; echo again > /c/f; ls -a")
        assert shell.leave("exit 0") == 4
    raw = shell.raw
    assert "Dockerfile:11: [build 4/4] RUN --mount=type=cache" in raw.replace("\r\n", "\n")
    assert "this step failed: exit code: 3" in raw
    assert "user 7:8, folder /w/own, no network" in raw
    assert "mounts: /b, /c, /run/secrets/s (secret), /t (tmpfs)" in raw
    assert "hidden-word" not in raw.partition("this step failed")[0]
    assert sorted(p.name for p in place.context.iterdir()) == [".dockerignore", "Dockerfile", "busybox"]
    again = place.build(FAILS, "--isolation", isolation)
    assert again.returncode == 4
    assert "own-file" not in again.stderr
    assert "canary" not in again.stderr


@pytest.mark.slow
def test_keys_and_size_are_the_shells(place: Place) -> None:
    with place.open(f"{BASE}RUN exit 9\n", "--on-failure", "shell=/bin/sh") as shell:
        shell.ready()
        shell.press(b"sleep 100\r")
        shell.look(0.3)
        shell.press(b"\x03")
        assert "st-130" in shell.type("echo st-$?")
        assert "60 300" in shell.type("stty size")
        shell.resize(290, 50)
        shell.look(0.3)
        assert "50 290" in shell.type("stty size")
        shell.ready()
        shell.press(b"sleep 100\r")
        shell.look(0.3)
        shell.press(b"\x1a")
        assert "Stopped" in shell.type("jobs")
        shell.ready()
        shell.press(b"fg\r")
        shell.look(0.3)
        shell.press(b"\x03")
        assert "xterm" in shell.type("echo $TERM")
        assert shell.leave("exit 5") == 4


@pytest.mark.slow
def test_nothing_else_runs_or_prints_meanwhile(place: Place) -> None:
    text = (
        f"{BASE}FROM base AS a\nRUN while :; do echo noise; sleep 0.05; done\n"
        f"FROM base AS b\nRUN sleep 0.5; exit 6\nFROM base\nCOPY --from=a / /\nCOPY --from=b / /\n"
    )
    with place.open(text, "--on-failure", "shell") as shell:
        shell.ready()
        at = len(shell.raw)
        assert "noise" in shell.raw
        shell.look(0.5)
        shell.type("true")
        assert "noise" not in shell.raw[at:]
        assert shell.leave() == 4


@pytest.mark.slow
def test_a_lost_terminal_ends_shell_and_build(place: Place) -> None:
    with place.open(f"{BASE}RUN exit 9\n", "--on-failure", "shell") as shell:
        shell.type("exec 2>&1")
        shell.press(b"sleep 1234.25\r")
        shell.look(0.3)
        assert _sleeping()
        assert shell.vanish() != 0
        assert not _sleeping()


def _sleeping() -> bool:
    """True if the process of that test is there."""
    return any(b"1234.25" in p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists())


@pytest.mark.slow
def test_image_without_a_shell_is_told(place: Place) -> None:
    text = 'FROM scratch\nCOPY busybox /program\nRUN ["/program", "false"]\n'
    with place.open(text, "--on-failure", "shell=/bin/bash") as shell:
        assert shell.wait() == 4
        said = shell.raw
    assert 'the image has no shell /bin/bash (exec: "/bin/bash": no such file' in said
    assert "--on-failure keep=NAME keeps the files" in said
    with place.open(text, "--on-failure", "shell") as shell:  # the machine's busybox is laid into it
        assert shell.type("ls /; pwd").split()[:2] == ["busybox-outside", "dev"]
        assert shell.leave() == 4


@pytest.mark.slow
def test_shell_of_the_stage_is_taken(place: Place) -> None:
    text = f'{BASE}RUN cp /bin/busybox /bin/ash2\nSHELL ["/bin/busybox", "sh", "-c"]\nRUN false\n'
    with place.open(text, "--on-failure", "shell") as shell:
        assert shell.wait() == 4  # busybox alone says what it is, and ends
        assert "BusyBox is" in shell.raw


@pytest.mark.slow
def test_store_is_as_if_nothing_had_been_asked(tmp_path: Path, base: Path) -> None:
    stores = []
    for name, flags in (("with", ("--on-failure", "shell")), ("without", ())):
        (tmp_path / name).mkdir()
        place = Place(tmp_path / name, tmp_path / name / "store")
        shutil.copytree(base, place.store, symlinks=True)
        if flags:
            with place.open(f"{BASE}RUN echo x > /x; exit 1\n", *flags) as shell:
                shell.type("echo y > /y; rm /bin/ls")
                assert shell.leave() == 4
        else:
            assert place.build(f"{BASE}RUN echo x > /x; exit 1\n").returncode == 4
        stores.append(place.store)
    assert _holds(stores[0]) == _holds(stores[1])


def _holds(store: Path) -> tuple[list[str], list[str]]:
    """The files of a store but for what lasts as long as a build, and the steps that it knows."""
    skipped = ("ingest", "work", "reserve", "lock", "cache.db")
    files = [str(p.relative_to(store)) for p in store.rglob("*") if p.is_file()]
    with sqlite3.connect(store / "cache.db") as db:
        tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        tables.remove("files")  # of contexts, known once they are older than a moment
        rows = [f"{t}: {db.execute(f'select count(*) from {t}').fetchone()[0]}" for t in tables]
    return sorted(f for f in files if not f.startswith(skipped)), rows


# --- before a step -----------------------------------------------------------------------------

WORKS = f"""{BASE}FROM base AS build
WORKDIR /w
RUN --mount=type=tmpfs,target=/t echo made > made
COPY Other* busybox /other/
RUN cat made > twice
FROM scratch AS unused
COPY busybox /
FROM scratch
COPY --from=build /w /
"""


@pytest.mark.slow
@pytest.mark.everyone
def test_shell_before_a_step_changes_nothing(place: Place) -> None:
    with place.open(WORKS, "--shell-at", "build:6") as shell:
        assert shell.type("ls -A . /t; pwd").split() == [".:", "/t:", "/w"]
        assert "made" in shell.type('eval "$IMAGESMITH_STEP"; cat made; echo changed > more; rm -r /bin/cat')
        assert shell.leave("exit 7") == 0  # `cat` is there again, or the fourth step would fail
    assert "stopped before build:6: [build 2/4] RUN --mount=type=tmpfs" in shell.raw
    plain = place.digest(WORKS)
    assert shell.raw.count(plain) == 1
    with place.open(WORKS, "--shell-at", "build:7") as shell:
        assert shell.type("ls; echo $IMAGESMITH_STEP-").split()[:2] == ["made", "-"]
        assert shell.leave("exit 99") == 130
    assert shell.raw.rstrip().endswith("error: stopped by the shell")
    with place.open(WORKS, "--shell-at", "build") as shell:
        assert shell.type("cat twice made").split()[:2] == ["made", "made"]
        assert shell.leave() == 0
    assert "stopped at the end of build" in shell.raw
    assert place.digest(WORKS) == plain


@pytest.mark.slow
def test_the_picture_makes_way_and_comes_again(place: Place) -> None:
    words = [
        w if w != "plain" else "tty" for w in place.words(f"{BASE}RUN sleep 0.3\n", "--shell-at", "base")
    ]
    with Shell(words, 100, 40, {"PYTHONPATH": str(PROJECT)}) as shell:
        shell.type("echo here")
        assert not any("[+] Building" in line for line in shell.window.lines)
        assert shell.leave() == 0
        assert sum("[+] Building" in line for line in shell.window.lines) == 1
        assert sum("RUN sleep 0.3" in line for line in shell.window.lines) == 1


# --- without one -------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [("--on-failure", "shell"), ("--shell-at", "base")])
def test_without_a_terminal_nothing_is_built(place: Place, flags: tuple[str, str]) -> None:
    done = place.build(f"{BASE}RUN exit 1\n", *flags)
    assert done.returncode == 2
    first, hint = done.stderr.splitlines()
    assert (
        first == f"error: {' '.join(flags[: 1 + (flags[1] == 'shell')])} needs a terminal, and there is none"
    )
    assert ("keep=NAME" if flags[1] == "shell" else "imagesmith run -it NAME") in hint


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--on-failure", "x"), "--on-failure x: expected shell, shell=PATH or keep=NAME"),
        (("--on-failure", "keep="), "--on-failure keep=: expected shell"),
        (("--on-failure", "keep=A"), "'A': invalid reference format: repository name (library/A) must be"),
        (("--on-failure", f"keep=a@sha256:{'0' * 64}"), "the digest of what is kept is not known before"),
        (("--shell-at", ":3"), "--shell-at :3: expected STAGE, or STAGE:LINE"),
        (("--shell-at", "a:x"), "--shell-at a:x: expected STAGE, or STAGE:LINE"),
        (("--shell-at", "a:0"), "--shell-at a:0: expected STAGE, or STAGE:LINE"),
        (("--call", "check", "--on-failure", "keep=x"), "--on-failure: --call check executes nothing"),
        (("--on", "matrix", "--repository", "r", "--shell-at", "a"), "--shell-at: it is not honoured with"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(run: Run, context: Path, flags: tuple[str, ...], said: str) -> None:
    first, *more = run("build", *flags, str(context), status=2).splitlines()
    assert said in first
    assert not any("error:" in line for line in more)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--on-failure", "shell"), "--on-failure shell: a bake opens no shell"),
        (("--on-failure", "keep=x:1"), "keep=x:1: the tag is the name of the target, give none"),
        (("--on-failure", "keep"), "expected shell, shell=PATH or keep=NAME"),
        (("--on-failure", "keep=x", "--on", "matrix", "--repository", "r"), "not honoured with --on matrix"),
    ],
)
def test_what_a_bake_cannot_is_one_line(run: Run, tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    (tmp_path / "docker-bake.hcl").write_text('target "default" {\n}\n')
    assert said in run("bake", *flags, status=2).splitlines()[0]


# --- what is said ------------------------------------------------------------------------------


class _Sandbox:
    """Has some programs, each of which ends with a status."""

    def __init__(self, **programs: int) -> None:
        self.programs = {f"/bin/{name}": status for name, status in programs.items()}
        self.seen: list[RunSpec] = []

    def run(self, spec: RunSpec, *_: object) -> int:
        self.seen.append(spec)
        if spec.argv[0] == "/bin/broken":
            raise SandboxError("no room\x1b[31m")
        if spec.argv[0] not in self.programs:
            raise NotStarted(f'exec: "{spec.argv[0]}": no such file or directory')
        return self.programs[spec.argv[0]]


class _Told(Front):
    """Remembers what is said."""

    text = ""

    def write(self, text: str) -> None:
        self.text += text


def _halt(sandbox: _Sandbox, **words: object) -> Halt:
    class Workspace:
        root = Path("/nowhere")

    mounts = tuple(Mount(kind="bind", target=f"/m\x1b{n:02d}") for n in range(20))
    spec = RunSpec(argv=("/bin/sh", "-c", "it's"), env=(("A", "1"),), mounts=mounts, timeout_s=5)
    name = "[1/1] RUN \x1b[31mevil\nline"
    room = Room(name=name, spec=spec, parent=None, workspace=Workspace(), sandbox=sandbox)  # type: ignore[arg-type]
    return Halt(room=room, **{"shell": "", "where": "before a:1", **words})  # type: ignore[arg-type]


def test_first_shell_that_can_be_executed_is_taken() -> None:
    import io

    sandbox, front = _Sandbox(sh=3, bash=0), _Told(io.StringIO())
    Shells(BuildRequest(), front).before(_halt(sandbox))
    [spec] = sandbox.seen
    assert (spec.argv, spec.tty, spec.interactive, spec.timeout_s) == (("/bin/bash",), True, True, 0)
    assert dict(spec.env) == {"A": "1", "TERM": "xterm", "IMAGESMITH_STEP": "/bin/sh -c 'it'\"'\"'s'"}
    sandbox = _Sandbox(sh=99)
    with pytest.raises(Cancelled):
        Shells(BuildRequest(), front).before(_halt(sandbox, has_step=False))
    assert [s.argv[0] for s in sandbox.seen] == ["/bin/bash", "/usr/bin/bash", "/bin/sh"]
    assert "IMAGESMITH_STEP" not in dict(sandbox.seen[-1].env)
    Shells(BuildRequest(on_failure=OnFailure(shell="/bin/broken")), front).before(
        _halt(_Sandbox(), shell="/bin/z")
    )
    assert "no shell can be opened: no room" in front.text


def test_what_others_wrote_is_shown_as_one_line_without_orders() -> None:
    import io

    front = _Told(io.StringIO())
    error = StepFailed('process "x" did not complete successfully: exit code: 4').located("D\x1b", 3, 3, "")
    Shells(BuildRequest(), front).failed(_halt(_Sandbox(), shell="/bin/\x1bz", error=error))
    assert "\x1b" not in front.text
    assert "RUN " in next(line for line in front.text.splitlines() if line.startswith("D"))
    assert "and 8 more" in front.text
    Shells(BuildRequest(), front).before(_halt(_Sandbox()))
    assert all(len(line) < 80 for line in front.text.splitlines() if "`exit`" in line)
    assert "exit code: 4" in front.text
