"""Programs of arm64 in each sandbox, started by who answers a step's calls; nothing is registered."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.foreign import foreign_busybox, need_qemu
from tests.worker.sandbox.conftest import APPLETS, Bench, Done, Driver, make_bench
from tests.worker.sandbox.driver import NOBODY

pytestmark = [pytest.mark.slow, pytest.mark.everyone]

_MORE = ("uname", "xargs", "seq", "sed", "kill", "su", "chmod", "chown", "dd", "cut", "true", "tail", "cp")


class Foreign:
    """A bench whose busybox is arm64's; `/native/` has that of this machine."""

    def __init__(self, bench: Bench, emulator: str) -> None:
        self.bench, self._emulator = bench, emulator

    def sh(self, text: str, **spec: object) -> Done:
        """Run a shell text of arm64's shell."""
        return self.bench.sh(text, emulator=self._emulator, **spec)

    def out(self, text: str, **spec: object) -> str:
        """What it prints; it must end well."""
        done = self.sh(text, **spec)
        assert (done.status, done.error) == (0, ""), done
        return done.out


@pytest.fixture(params=["native", "chroot", "single"])
def foreign(request: pytest.FixtureRequest, drivers: dict[str, Driver], base: Path) -> Iterator[Foreign]:
    """Each sandbox that works here."""
    emulator, busybox = need_qemu(), foreign_busybox()
    place = Path(tempfile.mkdtemp(prefix="imagesmith-execs-"))
    bench = make_bench(request.param, drivers, base, place / "root")
    (bench.root / "native").mkdir()
    (bench.root / "bin" / "busybox").rename(bench.root / "native" / "busybox")
    (bench.root / "bin" / "busybox").write_bytes(busybox)
    (bench.root / "bin" / "busybox").chmod(0o755)
    for name in (*_MORE, *APPLETS):
        if not (bench.root / "bin" / name).is_symlink():
            (bench.root / "bin" / name).symlink_to("busybox")
    for path in (bench.root.parent, bench.root, *bench.root.iterdir()):
        path.chmod(0o777)
    if request.param == "single" and os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(place)], check=True)
    yield Foreign(bench, emulator)
    shutil.rmtree(place)


def test_children_are_emulated_and_native_programs_are_not(foreign: Foreign) -> None:
    assert foreign.out("env uname -m; /native/busybox uname -m; env /native/busybox env /bin/uname -m") == (
        "aarch64\nx86_64\naarch64\n"
    )


def test_arguments_arrive_whole(foreign: Foreign) -> None:
    text = (
        """env printf '[%s]' a '' 'b c'; set -- $(seq 9000); env sh -c 'echo $# $0 $1 ${9000}' zero "$@" """
    )
    assert foreign.out(text) == "[a][][b c]9000 zero 1 9000\n"


def test_too_many_arguments_are_refused_and_the_program_goes_on(foreign: Foreign) -> None:
    text = "x=$(seq 40000); x=$x$x$x$x$x$x$x$x; env true $x $x $x $x; echo $?"
    assert foreign.out(text).strip() in ("126", "127", "2", "1")


def test_statuses_are_those_of_the_kernel(foreign: Foreign) -> None:
    text = """
    echo text > /tmp/text; chmod 755 /tmp/text; cp /bin/busybox /tmp/true; chmod 644 /tmp/true
    env /nowhere; echo $?; env /tmp/true; echo $?; env /tmp; echo $?; env sh -c 'exit 9'; echo $?
    chmod 755 /tmp/true; env /tmp/true; echo $?; cd /tmp; env ./true; echo $?; sh -c 'kill -9 $$'; echo $?
    """
    assert foreign.out(text).split() == ["127", "126", "126", "9", "0", "0", "137"]


def test_a_program_is_what_it_is_called(foreign: Foreign) -> None:
    text = "cd /tmp; ln -s ../bin/busybox uname; ./uname -m; PATH=. uname -m; (exec -a ls /bin/busybox -d /)"
    assert foreign.sh(text).out.split()[:2] == ["aarch64", "aarch64"]


def test_a_script_is_started_by_its_emulated_interpreter(foreign: Foreign) -> None:
    text = r"""
    printf '#!/bin/sh -e\necho "$0 $*"\n' > /tmp/s; printf '#!/tmp/s one\n' > /tmp/t; chmod 755 /tmp/s /tmp/t
    env /tmp/s a b; env /tmp/t a b
    """
    assert foreign.out(text) == "/tmp/s a b\n/tmp/s one /tmp/t a b\n"


def test_another_user_starts_programs_too(foreign: Foreign) -> None:
    """It has changed its ids, and may not be looked at until it has executed something."""
    text = """
    mkdir -p /etc; echo 'root:x:0:0::/:/bin/sh
    app:x:7:7::/:/bin/sh' | sed 's/^ *//' > /etc/passwd; echo 'app:x:7:' > /etc/group
    su app -c 'id -u; env id -u; sh -c "env id -g"; (env uname -m) | cat'
    """
    done = foreign.sh(text)
    assert done.out == "7\n7\n7\naarch64\n", done


def test_the_first_program_may_be_a_users(foreign: Foreign) -> None:
    assert foreign.out("id -u; env id -u; env uname -m", uid=7, gid=7) == "7\n7\naarch64\n"


def test_who_may_not_execute_a_file_does_not(foreign: Foreign) -> None:
    made = foreign.sh("cp /bin/busybox /tmp/own; chmod 700 /tmp/own")
    assert made.status == 0
    assert foreign.sh("env /tmp/own true", uid=7, gid=7).status == 126


def test_many_processes_at_once(foreign: Foreign) -> None:
    text = "for n in $(seq 12); do (env sh -c 'env true; env true' && echo) & done; wait"
    assert foreign.out(text) == "\n" * 12


def test_signals_arrive(foreign: Foreign) -> None:
    text = """
    env sh -c 'trap "echo caught; exit 3" TERM; while :; do env true; done' & pid=$!
    sleep 1; kill $pid; wait $pid; echo $?; env sleep 60 & kill -STOP $!; kill -CONT $!
    kill $!; wait $!; echo $?
    """
    assert foreign.out(text) == "caught\n3\n143\n"


def test_a_step_leaves_no_process_and_no_file(foreign: Foreign) -> None:
    before = foreign.bench.files()
    done = foreign.sh("setsid env sleep 77 & env sh -c 'sleep 78 & sleep 79 &'; exit 4")
    assert done.status == 4
    assert [
        f for f in foreign.bench.files() if f not in before and f not in ("dev", "proc", "sys", "etc")
    ] == []
    left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if _runs(p, (b"77", b"78", b"79"))]
    assert left == []


def _runs(cmdline: Path, words: tuple[bytes, ...]) -> bool:
    try:
        found = cmdline.read_bytes().split(b"\0")
    except OSError:
        return False
    return b"emulator" in found[:1] and any(word in found for word in words)


def test_the_emulator_cannot_be_changed(foreign: Foreign) -> None:
    """Neither while it runs, nor by who has kept it open; and a file of its name is not taken for it."""
    text = """
    env sleep 3 & pid=$!; sleep 1
    /native/busybox sh -c "exec 9< /proc/$pid/exe; echo x > /proc/$pid/exe" && echo changed
    /native/busybox sh -c "exec 9< /proc/$pid/exe; sleep 3; echo x > /proc/self/fd/9" && echo changed
    printf '#!/native/busybox sh\\necho replaced\\n' > /tmp/emulator; cp /tmp/emulator /bin/emulator
    cd /tmp; PATH=/tmp:/bin env uname -m
    """
    assert foreign.sh(text).out == "aarch64\n"


def test_a_step_that_is_stopped_ends(foreign: Foreign) -> None:
    done = foreign.sh("while :; do env true; done", cancel_after_s=1.5)
    assert done.code == "cancelled"
