"""What a step behind a chroot finds in /proc and /dev; that it leads nowhere: tests/attack/test_chroot.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox import seccomp
from imagesmith.worker.sandbox.chroot_filter import calls_filter
from imagesmith.worker.sandbox.seccomp import ALLOW, ARCHES, NOTIFY
from imagesmith.worker.sandbox.syscalls import Machine, numbers
from imagesmith.worker.sandbox.world import _try
from tests.support import IMAGESMITH, PROJECT, need_program, need_root
from tests.worker.sandbox.conftest import Bench, Driver, make_bench
from tests.worker.sandbox.test_seccomp import act

APPLETS = ("chmod", "chown", "comm", "cp", "df", "kill", "mkfifo", "ps", "readlink", "su", "test", "timeout",
           "true", "uname")  # fmt: skip
_AT_FDCWD = 0xFFFFFFFFFFFFFF9C


@pytest.fixture
def chroot(drivers: dict[str, Driver], base: Path, tmp_path: Path) -> Bench:
    """A root with busybox, behind a chroot."""
    need_root()
    bench = make_bench("chroot", drivers, base, tmp_path / "root")
    for name in APPLETS:
        (bench.root / "bin" / name).symlink_to("busybox")
    return bench


# --- the filter --------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", seccomp.machines())
def test_paths_that_cannot_be_of_proc_are_left_to_the_kernel(machine: Machine) -> None:
    program = calls_filter(scoped=True)

    def asked(name: str, *arguments: int) -> int:
        return act(program, ARCHES[machine], numbers(machine)[name], *arguments)

    assert asked("openat", _AT_FDCWD, 1, os.O_RDONLY) == NOTIFY
    assert asked("openat", _AT_FDCWD, 1, os.O_CREAT | os.O_WRONLY) == NOTIFY
    assert asked("openat", _AT_FDCWD, 1, os.O_CREAT | os.O_EXCL) == ALLOW
    assert asked("openat", _AT_FDCWD, 1, os.O_CREAT | os.O_NOFOLLOW | os.O_TRUNC) == ALLOW
    assert asked("openat", _AT_FDCWD, 1, os.O_DIRECTORY | os.O_NOFOLLOW) == NOTIFY
    assert asked("openat", 5, 1, os.O_RDONLY) == ALLOW
    assert asked("statx", _AT_FDCWD, 1, 0x100, 0xFFF) == ALLOW
    assert asked("statx", _AT_FDCWD, 1, 0x100, 0x7FF) == asked("statx", _AT_FDCWD, 1, 0, 0xFFF) == NOTIFY
    assert asked("statx", _AT_FDCWD, 1) == asked("readlinkat", _AT_FDCWD, 1) == asked("execve", 1) == NOTIFY
    assert asked("statx", 5, 1) == asked("readlinkat", 5, 1) == ALLOW
    for name in ("read", "write", "close", "mmap", "unlinkat", "renameat", "mkdirat", "fork", "futex"):
        if name in numbers(machine):
            assert asked(name, 1, 2, 3) == ALLOW, name


# --- what is there -----------------------------------------------------------------------------


def test_own_process_is_told(chroot: Bench) -> None:
    done = chroot.sh(
        "head -n1 /proc/self/status; readlink /proc/self/exe; readlink /proc/self/cwd;"
        " readlink /proc/self/root; cat /proc/self/cgroup;"
        " cat /proc/self/cmdline | tr '\\0' ' '; echo; test $(readlink /proc/self) != $$ && echo other;"
        " test -d /proc/$$ && readlink /proc/$$/exe; cat /proc/$$/comm; true",
        cwd="/tmp",
    )
    told = [
        "Name:\thead",
        "/bin/busybox",
        "/tmp",
        "/",
        "0::/",
        "cat /proc/self/cmdline ",
        "other",
        "/bin/busybox",
        "sh",
    ]
    assert done.out.splitlines() == told, done


def test_descriptors_have_names(chroot: Bench) -> None:
    done = chroot.sh(
        "echo pipe | cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr;"
        " x=$(echo inner > /dev/fd/1); echo [$x]; echo kept > /tmp/f; exec 7< /tmp/f; cat /dev/fd/7;"
        " cat /proc/self/fd/7; readlink /proc/self/fd/7; ls /proc/$$/fd; test -e /dev/fd/9 || echo none"
    )
    told = ["pipe", "out", "[inner]", "kept", "kept", "/tmp/f", "0", "1", "2", "7", "none"]
    assert done.out.splitlines() == told, done
    assert done.err == "err\n"


def test_file_held_by_a_descriptor_is_changed_by_its_name(chroot: Bench) -> None:
    done = chroot.sh(
        "echo x > /tmp/f; exec 7>> /tmp/f; chmod 751 /proc/self/fd/7; chown 33:44 /dev/fd/7;"
        " touch -d @1000000000 /proc/self/fd/7; echo more > /dev/fd/7;"
        " stat -c '%a %u:%g %F' /tmp/f; stat -L -c '%a %u:%g' /dev/fd/7; stat -c %F /proc/self/fd/7;"
        " cat /tmp/f"
    )
    told = ["751 33:44 regular file", "751 33:44", "symbolic link", "more"]
    assert done.out.splitlines() == told, done


def test_processes_of_the_step_are_listed_and_no_others(chroot: Bench) -> None:
    done = chroot.sh(
        "sleep 100 & for p in $(ls /proc); do case $p in [0-9]*) cat /proc/$p/comm;; esac; done 2>/dev/null;"
        " ls -d /proc/1 /proc/$PPID; ps > /dev/null && ls /proc/self/task | wc -l; kill $!"
    )
    words = done.out.split()
    assert words.count("sleep") == 1
    assert set(words) <= {"sh", "sleep", "ls", "cat", "1"}, done
    assert done.err.count("No such file") == 2, done.err


def test_machine_s_facts_can_be_read_and_not_written(chroot: Bench) -> None:
    done = chroot.sh(
        "grep -c ^processor /proc/cpuinfo; grep -c MemTotal /proc/meminfo; wc -l < /proc/uptime;"
        " cat /proc/sys/kernel/ostype; cat /proc/sys/kernel/hostname; uname -n; stat -f -c %T /proc;"
        " grep -c ' / ' /proc/mounts; grep -c ' / ' /proc/self/mounts; df / | wc -l;"
        " for f in version sys/kernel/pid_max 1/oom_score_adj; do echo x > /proc/$f || echo no; done"
        " 2>/dev/null;"
        " echo 7 > /proc/self/oom_score_adj; cat /proc/$$/oom_score_adj",
        hostname="its-name",
    )
    told = [str(os.cpu_count()), "1", "1", "Linux", "its-name", "its-name", "proc", "1", "1", "2"]
    assert done.out.splitlines() == [*told, "no", "no", "no", "7"], done


def test_link_of_the_image_to_the_mounts_is_followed(chroot: Bench) -> None:
    (chroot.root / "etc").mkdir()
    (chroot.root / "etc/mtab").symlink_to("../proc/self/mounts")
    assert chroot.sh("grep -c ' / ' /etc/mtab").out == "1\n"
    (chroot.root / "etc/mtab").unlink()
    (chroot.root / "etc/mtab").write_text("its own\n")
    assert chroot.sh("cat /etc/mtab").out == "its own\n"


def test_users_have_their_own_rights_there(chroot: Bench) -> None:
    """The other process is root's: what it holds is not this user's to see."""
    (chroot.root / "etc").mkdir()
    (chroot.root / "etc/passwd").write_text("u:x:1000:1000::/:/bin/sh\n")
    done = chroot.sh(
        "echo secret > /tmp/f; chmod 600 /tmp/f; SECRET=1 sh -c 'exec 7< /tmp/f; sleep 100' & sleep 0.3;"
        ' su u -c "cat /proc/self/environ > /dev/null && echo own; echo a | cat /dev/stdin;'
        " cat /proc/$!/environ; cat /proc/$!/fd/7; ls /proc/$!/fd; readlink /proc/$!/cwd;"
        ' head -n1 /proc/$!/status";'
        " kill $!"
    )
    assert done.out.splitlines() == ["own", "a", "Name:\tsleep"], done
    assert done.err.count("Permission denied") == 3, done.err


def test_nothing_of_it_is_left_in_the_root(chroot: Bench) -> None:
    before = chroot.files()
    assert chroot.sh("ls -lR /proc /dev >/dev/null; cat /proc/self/fd/0; ls /proc/self/fd; true").status == 0
    assert set(chroot.files()) - set(before) <= {"proc", "sys", "dev", "etc"}


def test_terminals_of_a_waiting_step_do_not_hang(chroot: Bench) -> None:
    """A pipe with a name and nobody at its other end, and a secret, are opened by a descriptor's name."""
    done = chroot.sh(
        "mkfifo /tmp/p; exec 7<> /tmp/p; timeout 5 sh -c 'echo through > /dev/fd/7' && head -n1 /dev/fd/7;"
        " cat /s /s; exec 8< /s; cat /dev/fd/8",
        mounts=[{"kind": "file", "target": "/s", "data": b"key\n", "mode": 0o400, "secret": True}],
    )
    assert done.out.splitlines() == ["through", "key", "key", "key"], done


# --- what cannot be given is told --------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "note"),
    [
        ("chroot / true", "chroot(2) is refused behind a chroot"),
        ("cp /bin/busybox /bin/gains; chmod 4755 /bin/gains; su u -c '/bin/gains true'",
         "/bin/gains ran without the rights of its set-uid or set-gid mark"),
        ("chmod 4755 /bin/busybox; /bin/busybox true", ""),
        ("cp /bin/busybox /bin/gains; chgrp 7 /bin/gains; chmod 2755 /bin/gains; /bin/gains true",
         "/bin/gains ran without the rights of its set-uid or set-gid mark"),
        ("cp /bin/busybox /bin/gains; chown 7 /bin/gains; chmod 4755 /bin/gains; /bin/gains true",
         "/bin/gains ran without the rights of its set-uid or set-gid mark"),
    ],
)  # fmt: skip
def test_step_tells_what_is_not_as_under_root(tmp_path: Path, script: str, note: str) -> None:
    done = build(tmp_path, f"RUN {script}; true")
    notes = [line.partition("not as under root: ")[2] for line in done.stderr.splitlines()]
    assert [n.partition(",")[0] for n in notes if n] == ([note] if note else []), done.stderr


@pytest.mark.slow
def test_devices_are_the_container_s_where_none_can_be_made(tmp_path: Path) -> None:
    look = (
        "head -c 4 /dev/urandom | wc -c; head -c 3 /dev/zero | wc -c; echo x > /dev/null; wc -c < /dev/null;"
        " test -c /dev/null && echo node; echo x > /dev/full || echo full"
    )
    done = build(
        tmp_path,
        f"RUN {look}\nUSER 1000\nRUN {look}",
        "setpriv",
        "--bounding-set=-mknod",
        "--inh-caps=-mknod",
    )
    said = [line.split(" ", 2)[-1] for line in done.stderr.splitlines() if line.startswith("#")]
    wanted = ["4", "3", "0", "node", "full"]
    assert [line for line in said if line in wanted] == wanted * 2, done.stderr


#: Has a listener around what it executes, for calls that nobody makes.
_LISTENER = """
import os, sys
from imagesmith.worker.sandbox import kernel as k, seccomp
k.prctl(k.PR_SET_NO_NEW_PRIVS, 1)
nothing = ((m, seccomp.result(seccomp.ALLOW)) for m in seccomp.machines())
os.set_inheritable(k.install_filter(seccomp.assemble(nothing, seccomp.ALLOW), 8), True)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.slow
def test_step_does_without_where_something_else_answers_calls(tmp_path: Path) -> None:
    """The kernel has one listener for a process; as in some system containers."""
    if _try(k.confine):
        pytest.skip("the kernel is older than Linux 6.12")
    done = build(tmp_path, "RUN echo it runs", sys.executable, "-c", _LISTENER)
    assert "it runs\n" in done.stderr
    assert "not as under root: /proc is empty" in done.stderr


def build(folder: Path, text: str, *before: str) -> subprocess.CompletedProcess[str]:
    """Build on busybox behind a chroot with the rights of an ordinary container; it must succeed."""
    need_root()
    context = folder / "context"
    context.mkdir()
    shutil.copy(need_program("busybox"), context / "busybox")
    (context / "passwd").write_text("root:x:0:0::/:/bin/sh\nu:x:1000:1000::/:/bin/sh\n")
    (context / "Dockerfile").write_text(
        "FROM scratch\nCOPY busybox /bin/\nCOPY passwd /etc/\n"
        f'RUN ["/bin/busybox", "--install", "-s", "/bin"]\n{text}\n'
    )
    words = ("build", "--progress", "plain", "--root", str(folder / "store"), "--isolation", "chroot")
    done = subprocess.run(
        [
            sys.executable, "-m", "tests.worker.sandbox.contained", "0",
            *before, *IMAGESMITH, *words, str(context),
        ],
        capture_output=True, text=True, timeout=60, cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


#: A process changes its ids for a moment, as apt does, then forks; who has no right to trace looks at both.
_CHANGED = """
import ctypes, os, sys, threading
from imagesmith.worker.sandbox.chroot_caller import Callers
name = ctypes.create_string_buffer(b"/dev/pts/7")
at, callers = ctypes.addressof(name), Callers()
(read, write), (go, gone) = os.pipe(), os.pipe()
parent = os.fork()
if not parent:
    os.read(go, 1)
    os.seteuid(1000); os.seteuid(0)
    t = threading.Thread(target=lambda: (os.write(write, b"%d " % threading.get_native_id()), os.read(go, 1)))
    t.start()
    if not os.fork():
        os.write(write, b"%d " % os.getpid()); os.read(go, 1); os._exit(0)
    os.wait(); t.join(); os._exit(0)
print(callers.path(parent, at))
os.write(gone, b"x")
said = b""
while len(said.split()) < 2 or not said.endswith(b" "):
    said += os.read(read, 100)
for tid in sorted(map(int, said.split()), key=lambda n: not os.path.exists(f"/proc/{parent}/task/{n}")):
    print(callers.begins(tid, at)[:10], callers.as_parent(tid, at))
os.write(gone, b"xx")
"""


def test_processes_that_changed_their_ids_are_read_by_what_was_opened_before() -> None:
    need_root()
    done = subprocess.run(
        [sys.executable, "-m", "tests.worker.sandbox.contained", "0", sys.executable, "-c", _CHANGED],
        capture_output=True, text=True, timeout=60, cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert done.stdout.splitlines()[0] == "b'/dev/pts/7'", done
    thread, child = done.stdout.splitlines()[1:]
    assert thread.startswith("b'/dev/pts/7'"), done
    assert child == "b'' b'/dev/pts/7'", done
