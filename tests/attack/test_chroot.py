"""Attacks by steps behind a chroot, where nothing can be mounted: on the machine, its files and processes.

Each has a canary outside that must stay as it was, or be unread.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox.world import _try
from tests.attack.rooted import put_python
from tests.kitchen import tar_of
from tests.support import IMAGESMITH, PROJECT, need_program, need_root

pytestmark = pytest.mark.slow

#: How the builder is started: in an ordinary container, and in one whose kernel has no scopes, so that a
#: supervisor and a lock take their place.
WAYS = {
    "container": (sys.executable, "-m", "tests.worker.sandbox.contained", "0"),
    "old kernel": (sys.executable, "-m", "tests.worker.sandbox.contained", "old"),
}

_CANARY = "canary-of-the-machine"
_BASE = """FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
"""


class Attack:
    """Builds with hostile Dockerfiles into a store below a folder of the machine."""

    def __init__(self, folder: Path) -> None:
        need_root()
        self.before: tuple[str, ...] = ()
        self.hostile = ""
        self.folder, self.store, self.context = folder, folder / "store", folder / "context"
        self.context.mkdir()
        shutil.copy(need_program("busybox"), self.context / "busybox")

    def arm(self, way: str) -> None:
        """Start builds in a way, with a program in the base that tries things."""
        if way != "old kernel" and _try(k.confine):
            pytest.skip("the kernel is older than Linux 6.12")
        self.before = WAYS[way]
        program = Path(__file__).with_name("reach.py")
        self.hostile = put_python(self.context / "hostile", program)

    def words(self, text: str, *flags: str) -> list[str]:
        """The command for a Dockerfile."""
        file = self.folder / f"Dockerfile{len(list(self.folder.iterdir()))}"
        file.write_text(_BASE + ("COPY hostile /\n" if self.hostile else "") + text)
        words = ["build", "--progress", "plain", "--root", str(self.store), "--isolation", "chroot"]
        return [*self.before, *IMAGESMITH, *words, "-f", str(file), *flags, str(self.context)]

    def build(self, text: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """Build to the end."""
        return finish(start(self.words(text, *flags)))


def start(words: list[str]) -> subprocess.Popen[str]:
    """Start a command."""
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT, env=env,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for its end."""
    out, err = process.communicate(timeout=60)
    assert "internal error" not in err, err
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture(params=WAYS)
def armed(request: pytest.FixtureRequest, attack: Attack) -> Attack:
    """An attack by a program in the step's root, in each way."""
    attack.arm(request.param)
    return attack


@pytest.fixture
def attack(tmp_path: Path) -> Iterator[Attack]:
    """A new store, and a file beside it that no step may write."""
    (tmp_path / "canary").write_text(_CANARY)
    yield Attack(tmp_path)
    assert (tmp_path / "canary").read_text() == _CANARY


# --- devices -----------------------------------------------------------------------------------


def test_device_nodes_of_layers_caches_and_binds_are_files_while_a_step_runs(attack: Attack) -> None:
    """The kernel's log would be read, and a disk of that number; in the layers they are what they were."""
    for name, kind, rdev in (("disk", tarfile.BLKTYPE, (254, 0)), ("kmsg", tarfile.CHRTYPE, (1, 11))):
        tar = tar_of({name: b""}, type=kind, devmajor=rdev[0], devminor=rdev[1], mode=0o666)
        (attack.context / f"{name}.tar").write_bytes(tar)
    look = (
        "for f in $(find / -type b -o -type c); do case $f in /dev/*) ;; *) echo real $f;; esac; done;"
        " for f in kmsg disk; do for d in / /c/ /b/; do head -c 1 $d$f | wc -c; done; done"
    )
    done = attack.build(
        "FROM base AS nodes\nADD disk.tar kmsg.tar /\nFROM nodes\n"
        "RUN --mount=type=cache,target=/c,from=nodes --mount=type=bind,target=/b,from=nodes,rw"
        f" {look}; mv /disk /moved; chmod 600 /kmsg; touch -h /b/disk\n",
        "-o", f"type=tar,dest={attack.folder}/out.tar",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [line.split(" ")[2] for line in done.stderr.splitlines() if line.split(" ")[-1] in ("0", "1")]
    assert "real" not in done.stderr.replace(look, "")
    assert said == ["0"] * 6
    with tarfile.open(attack.folder / "out.tar") as tar:
        found = {m.name: (m.type, m.devmajor, m.devminor, m.mode) for m in tar if not m.isreg()}
    assert found["moved"] == (tarfile.BLKTYPE, 254, 0, 0o666)
    assert found["kmsg"] == (tarfile.CHRTYPE, 1, 11, 0o600)


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", ["ro", "rw"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_volume_is_written_only_where_that_was_said(attack: Attack, options: str, kind: str) -> None:
    assert attack.build("FROM base\n", "-t", "local/victim:1").returncode == 0
    given = attack.folder / "given"
    given.mkdir()
    (given / "f").write_text(_CANARY)
    os.link(attack.folder / "canary", given / "link")
    before = os.stat(attack.folder / "canary").st_ino
    source, at = (given, "/x/f") if kind == "folder" else (given / "f", "/x")
    words = ["run", "--root", str(attack.store), "--isolation", "chroot", "-v", f"{source}:/x:{options}"]
    script = f"echo evil >> {at}; chmod 4755 {at}; echo evil > /x/link; rm -rf {at} /x; true"
    if options == "rw":
        script = f"echo evil >> {at}"
    done = subprocess.run(
        [*IMAGESMITH, *words, "local/victim:1", "/bin/sh", "-c", script],
        capture_output=True, text=True, timeout=60, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if options == "ro":
        assert (given / "f").read_text() == (given / "link").read_text() == _CANARY
        assert (given / "f").stat().st_mode & 0o7777 == 0o644
        assert os.stat(given / "link").st_ino == before
    else:
        assert (given / "f").read_text() == f"{_CANARY}evil\n"


# --- processes ---------------------------------------------------------------------------------


def beside_processes(armed: Attack, text: str) -> subprocess.CompletedProcess[str]:
    """What a build with PIDS said, beside two processes of the machine that must stay as they are."""
    words = [sys.executable, "-m", "tests.attack.beside", *IMAGESMITH]
    command = armed.words(text, "--build-arg", "PIDS=@PIDS@")
    at = len(armed.before)
    done = finish(start([*armed.before, *words, *command[at + len(IMAGESMITH) :]]))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["canary unharmed"] * 2, done.stderr
    return done


def test_processes_that_are_not_the_step_s_are_out_of_its_reach(armed: Attack) -> None:
    """Of root, whose id the step has, and of another user, whom it may signal by its capability."""
    text = (
        f"FROM base\nARG PIDS\nRUN {armed.hostile} reach $PIDS; kill -9 1; kill -9 $PPID; kill -9 -1; true\n"
    )
    done = beside_processes(armed, text)
    assert "BROKE" not in done.stderr
    assert done.stderr.count("held") >= 2 * 14


def test_proc_shows_nothing_of_others_and_leads_nowhere(armed: Attack) -> None:
    """As root, and as a user; the builder and its helper are among the others."""
    text = (
        f"FROM base\nARG PIDS\nRUN {armed.hostile} proc {armed.folder}/canary $PIDS $PPID 1\n"
        f"USER 1000\nRUN {armed.hostile} proc {armed.folder}/canary $PIDS $PPID 1\n"
    )
    done = beside_processes(armed, text)
    assert [line for line in done.stderr.splitlines() if "BROKE" in line] == []
    assert _CANARY not in done.stderr
    assert done.stderr.count("held ") > 2 * 4 * 9 * 17 * 4


def test_terminals_are_the_step_s_own(armed: Attack) -> None:
    master, slave = os.openpty()
    try:
        number = os.ttyname(slave).rpartition("/")[2]
        text = f"RUN {armed.hostile} pty {number}\n"
        done = armed.build(f"FROM base\n{text}USER 1000\n{text}")
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("terminal b'through' True\n") == 2, done.stderr
    assert "BROKE" not in done.stderr
    assert done.stderr.count("held /dev/pts/") == 2 * 4


def test_own_processes_are_within_reach(armed: Attack) -> None:
    """Also a guard: a filter that refuses everything would hold the attack above as well."""
    daemon = "sleep 100 & kill -0 $! && kill $! && ! wait $!; su -s /bin/sh nobody -c 'sh -c \"kill \\$\\$\"'"
    text = (
        f"FROM base\nRUN {armed.hostile} own\n"
        "RUN mkdir -p /etc && echo nobody:x:65534:65534::/:/bin/sh > /etc/passwd\n"
        f"RUN {daemon}; test $? = 143 && echo daemon ended\n"
    )
    done = armed.build(text)
    assert done.returncode == 0, done.stderr
    said = [line.split(" ", 2)[2] for line in done.stderr.splitlines() if line.count(" ") > 1]
    wanted = ["ended by -15"] * 3 + ["signalled itself", "traced 7", "daemon ended"]
    assert [line for line in said if line in wanted] == wanted, done.stderr


def test_no_folder_is_passed_to_a_parallel_step(armed: Attack) -> None:
    """Of the same build, and of another one by the same user."""
    name = f"imagesmith-{armed.folder}"
    take = f"RUN {armed.hostile} take {name} {armed.folder}/canary\n"
    give = f"RUN {armed.hostile} give {name}\n"
    both = (
        f"FROM base AS a\n{take}FROM base AS b\n{give}"
        "FROM scratch\nCOPY --from=a /bin/busybox /a\nCOPY --from=b /bin/busybox /b\n"
    )
    assert armed.build("FROM base\n").returncode == 0
    done = armed.build(both)
    others = [start(armed.words(f"FROM base\n{text}", "--no-cache-filter", "none")) for text in (take, give)]
    for one in (done, *map(finish, others)):
        assert one.returncode == 0, one.stderr
        assert "took" not in one.stderr
        assert "gave" not in one.stderr
    assert "nobody came" in done.stderr
    assert "found nobody" in done.stderr


def test_folder_is_passed_within_a_step(armed: Attack) -> None:
    """A guard: where it may be passed the program does it, and gets no further than its own root."""
    name = f"imagesmith-{armed.folder}"
    take = f"{armed.hostile} take {name} {armed.folder}/canary"
    done = armed.build(f"FROM base\nRUN {take} & {armed.hostile} give {name}; wait\n")
    assert "gave" in done.stderr
    assert "took False" in done.stderr


def test_nothing_of_a_step_is_left_to_meet_the_next_one(armed: Attack) -> None:
    """Daemons of all kinds, and one that is another process every moment."""
    nap = f"32000.{int.from_bytes(os.urandom(5), 'big')}"
    text = (
        f"FROM base\nRUN printf '#!/bin/sh\\nsetsid /chain {nap} & exit\\n' > /chain; chmod +x /chain\n"
        f"RUN (sleep {nap} &); setsid sh -c 'setsid sleep {nap} &'; (trap '' TERM; sleep {nap}) & /chain\n"
        f"RUN test ! -e /proc/1; {armed.hostile} give {nap}\n"
    )
    done = armed.build(text)
    assert done.returncode == 0, done.stderr
    assert "found nobody" in done.stderr
    left = subprocess.run(["pgrep", "-f", nap], capture_output=True, text=True, check=False)
    assert left.stdout == ""


# --- secrets -----------------------------------------------------------------------------------


def below(pid: int) -> list[int]:
    """The processes that descend from one, and it."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(name)] = int(Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for above in found:
        found += [child for child, parent in parents.items() if parent == above]
    return found


@pytest.mark.parametrize("uid", [0, 7])
def test_secret_is_on_no_disk_when_everything_is_killed_at_once(attack: Attack, uid: int) -> None:
    canary, attack.before = os.urandom(16).hex(), WAYS["container"]
    (attack.folder / "secret").write_text(canary)
    read = "test -s /run/secrets/s && test $(cat /run/secrets/s) = $(cat /run/secrets/s) && sleep 0.2"
    text = (
        f"FROM base\nUSER {uid}\nRUN --mount=type=secret,id=s,required=true,uid={uid} {read};"
        " cat /run/secrets/s | sha256sum; sleep 0.2; echo it is up; sleep 100\n"
    )
    process = start(attack.words(text, "--secret", f"id=s,src={attack.folder}/secret"))
    assert process.stderr is not None
    said = iter(process.stderr.readline, "")
    seen = list(itertools.takewhile(lambda line: not line.endswith(" it is up\n"), said))
    assert hashlib.sha256(canary.encode()).hexdigest() in "".join(seen)
    (attack.folder / "secret").unlink()
    for number in (signal.SIGSTOP, signal.SIGKILL):  # nobody gets to see another's end
        for pid in below(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    process.communicate(timeout=60)
    found = subprocess.run(["grep", "-rl", canary, attack.folder], stdout=subprocess.PIPE, check=False)
    assert found.stdout == b""
    placeholders = [p for p in attack.store.rglob("run/secrets/s") if p.stat().st_size == len(canary)]
    assert len(placeholders) == 1, "the killed step's root is not where it was looked for"
