"""run: flags as docker's, the image's config, statuses passed on; in the sandbox that this machine has."""

from __future__ import annotations

import argparse
import os
import pty
import shutil
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagesmith.cli.run import configure, request_of
from imagesmith.errors import UsageError
from imagesmith.fs.view import View
from imagesmith.interfaces import RunSpec
from imagesmith.oci.config import ImageConfig, Runtime
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import Platform
from imagesmith.quotas import Limits
from imagesmith.running import parse_volume, spec_of
from imagesmith.transports.bases import ResolvedImage
from tests.support import IMAGESMITH, PROJECT, need_program, need_root

# --- what the flags mean -----------------------------------------------------------------------


def spec(*words: str, **config: object) -> RunSpec:
    """The process that a command line and an image's config describe."""
    parser = argparse.ArgumentParser()
    configure(parser)
    args = parser.parse_args([*words[:-1], "image", *words[-1].split()] if words else ["image"])
    d = Descriptor(media_type="application/vnd.oci.image.manifest.v1+json", digest=digest_bytes(b"x"), size=1)
    image = ResolvedImage(
        name="image", descriptor=d, place="",
        manifest=Manifest(raw=b"", media_type=d.media_type, config=d, layers=()),
        config=ImageConfig(platform=Platform.parse("linux/amd64"), runtime=Runtime(**config)),
    )  # fmt: skip
    return spec_of(request_of(args), image, View())


def test_command_line_replaces_cmd_and_entrypoint_drops_it() -> None:
    config = {"entrypoint": ("/e", "1"), "cmd": ("c",)}
    assert spec(**config).argv == ("/e", "1", "c")
    assert spec("x -y", **config).argv == ("/e", "1", "x", "-y")
    assert spec("--entrypoint", "/z", "", **config).argv == ("/z",)
    assert spec("--entrypoint", "", "x", **config).argv == ("x",)
    with pytest.raises(UsageError, match="no command"):
        spec()


def test_environment_is_the_images_with_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "3")
    monkeypatch.delenv("NOT_HERE", raising=False)
    found = dict(spec("-e", "A=2", "-e", "HERE", "-e", "NOT_HERE", "x", env=("A=1", "B=b=c")).env)
    assert found.pop("HOSTNAME") == digest_bytes(b"x").hex[:12]
    assert found.pop("PATH").startswith("/usr/local/sbin:")
    assert found == {"A": "2", "B": "b=c", "HERE": "3", "HOME": "/"}


def test_user_and_folder_are_the_images_unless_given() -> None:
    image = {"user": "7:8", "working_dir": "/w", "cmd": ("x",)}
    assert (spec(**image).uid, spec(**image).gid, spec(**image).cwd) == (7, 8, "/w")
    found = spec("-u", "9:9", "-w", "/v", "x", **image)
    assert (found.uid, found.gid, found.cwd) == (9, 9, "/v")
    with pytest.raises(UsageError, match="must be absolute"):
        spec("-w", "v", "x")


def test_limits_and_mounts_are_passed_on(tmp_path: Path) -> None:
    found = spec(
        "-v",
        f"{tmp_path}:/z:ro,Z",
        "--tmpfs",
        "/a",
        "-m",
        "1g",
        "--cpus",
        "1.5",
        "--ulimit",
        "nofile=1:2",
        "x",
    )
    assert [(m.kind, m.target, m.readonly) for m in found.mounts] == [
        ("tmpfs", "/a", False),
        ("bind", "/z", True),
    ]
    assert (found.limits, found.ulimits) == (
        Limits(memory_bytes=1 << 30, quota_us=150_000),
        (("nofile", 1, 2),),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [("/tmp", "expected PATH:DIR"), ("name:/x", "no named volumes"), ("/no/such:/x", "does not exist"),
     ("/tmp:x", "must be absolute"), ("/tmp:/x:wild", "unknown option wild")],
)  # fmt: skip
def test_volume_that_cannot_be_is_an_error(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_volume(text)


# --- for real ----------------------------------------------------------------------------------

Run = Callable[..., "subprocess.CompletedProcess[str]"]
CONTAINERFILE = """
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
ENV A=1
WORKDIR /w
CMD echo $A; pwd; id -u
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an image of busybox."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(need_program("busybox"), folder / "busybox")
    (folder / "Dockerfile").write_text(CONTAINERFILE)
    done = subprocess.run(
        [*IMAGESMITH, "build", "-q", "--root", str(folder / "store"), "-t", "box", str(folder)],
        capture_output=True, text=True, cwd=PROJECT,
    )  # fmt: skip
    if "RUN cannot be executed here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return folder / "store"


@pytest.fixture
def run(store: Path) -> Run:
    """Runs the image."""

    def call(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*IMAGESMITH, "run", "--root", str(store), *words],
            capture_output=True,
            text=True,
            cwd=PROJECT,
            input=stdin,
        )

    return call


@pytest.mark.slow
def test_image_runs_and_its_status_and_output_are_ours(run: Run) -> None:
    done = run("box")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n/w\n0\n", "")
    done = run("--rm", "-e", "A=2", "box", "sh", "-c", "echo $A; echo bad >&2; exit 5")
    assert (done.returncode, done.stdout, done.stderr) == (5, "2\n", "bad\n")
    assert run("box", "sh", "-c", "sh -c 'kill -9 $$'; exit $?").returncode == 137


@pytest.mark.slow
def test_program_that_is_not_there_has_dockers_status(run: Run) -> None:
    done = run("box", "no-such-tool")
    assert done.returncode == 127
    assert done.stderr == 'error: exec: "no-such-tool": executable file not found in $PATH\n'
    assert run("box", "/w").returncode == 126


@pytest.mark.slow
def test_input_is_given_only_when_asked_for(run: Run) -> None:
    assert run("box", "cat", stdin="x").stdout == ""
    assert run("-i", "box", "cat", stdin="x").stdout == "x"


@pytest.mark.slow
def test_changes_stay_in_volumes_only(run: Run, tmp_path: Path) -> None:
    text = "echo x > /new; echo y > /v/f; echo z > /r/f; ls /new"
    (tmp_path / "v").mkdir()
    (tmp_path / "r").mkdir()
    done = run("-v", f"{tmp_path}/v:/v", "-v", f"{tmp_path}/r:/r:ro", "box", "sh", "-c", text)
    assert done.stdout == "/new\n"
    assert (tmp_path / "v" / "f").read_text() == "y\n"
    assert "Read-only" in done.stderr or (tmp_path / "r" / "f").exists()  # a chroot cannot hold that
    assert run("box", "ls", "/new").returncode == 1


@pytest.mark.slow
def test_terminal_is_one_inside(store: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*IMAGESMITH, "run", "-it", "--root", str(store), "box", "sh", "-c",
         "test -t 0 && test -t 1 && echo yes-$TERM"],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=PROJECT,
    )  # fmt: skip
    os.close(theirs)
    out = b""
    while b"yes-xterm" not in out:
        out += os.read(ours, 1000)
    assert process.wait() == 0
    os.close(ours)


@pytest.mark.slow
def test_terminal_has_the_outer_ones_size_and_its_keys(store: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (31, 101))
    text = "trap 'stty size' WINCH; trap 'echo got-INT; exit 6' INT; stty size; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        [*IMAGESMITH, "run", "-it", "--root", str(store), "box", "sh", "-c", text],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=PROJECT,
    )  # fmt: skip
    out = b""

    def until(text: bytes) -> None:
        nonlocal out
        while text not in out:
            out += os.read(ours, 1000)

    until(b"31 101")
    termios.tcsetwinsize(theirs, (17, 77))
    until(b"17 77")
    os.write(ours, b"\x03")
    until(b"got-INT")
    assert process.wait(20) == 6
    os.close(theirs)
    os.close(ours)


#: A program that tells of each signal, and ends when it is asked to.
DEAF = """
for s in HUP USR1 WINCH INT QUIT; do trap "echo $s" $s; done
trap 'echo TERM; exit 3' TERM
echo ready; while :; do sleep 0.05; done
"""


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["auto", "chroot"])
def test_signals_are_the_programs(store: Path, isolation: str) -> None:
    if isolation == "chroot":
        need_root()
    process = started(store, "--isolation", isolation, "box", "sh", "-c", DEAF)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for name in ("HUP", "USR1", "WINCH", "INT", "QUIT", "TERM"):
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.stdout.readline() == f"{name}\n"
    assert process.wait(20) == 3
    process.stdout.close()


@pytest.mark.slow
def test_a_program_that_is_deaf_is_killed_at_the_third_signal(store: Path) -> None:
    process = started(store, "box", "sh", "-c", "echo ready; sleep 100; exit 5")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):  # a pid 1 that has not asked for it does not see it
        process.wait(0.5)
    for number in (signal.SIGINT, signal.SIGTERM):
        time.sleep(0.1)
        process.send_signal(number)
    assert process.wait(20) == 137
    process.stdout.close()


def started(store: Path, *words: str) -> subprocess.Popen[str]:
    """A running image, which is killed after a minute: a signal that got lost fails a test, and hangs none.

    Under nohup SIGHUP is ignored, and what was ignored no shell can catch.
    """
    process = subprocess.Popen(
        ["env", "--default-signal=HUP", *IMAGESMITH, "run", "--root", str(store), *words],
        stdout=subprocess.PIPE, text=True, cwd=PROJECT,
    )  # fmt: skip
    limit = threading.Timer(60, process.kill)
    limit.daemon = True
    limit.start()
    return process


def test_terminal_needs_one_outside(run: Run) -> None:
    done = run("-it", "box")
    assert done.returncode == 2
    assert done.stderr.startswith("error: -t needs a terminal")


def test_unknown_image_is_one_line(run: Run) -> None:
    done = run("127.0.0.1:1/none:1")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith("error: 127.0.0.1:1/none:1: ")
