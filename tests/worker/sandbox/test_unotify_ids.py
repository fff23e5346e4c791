"""Ids that processes believe to have: what they may become, and that fork and exec hand them on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from imagesmith.worker.sandbox.unotify_ids import ROOT, Ids, IdTable, after_exec, change

KEEP = 0xFFFFFFFF
JOE = Ids((7, 7, 7, 7), (8, 8, 8, 8), (8, 9))
#: Root that acts as an ordinary user for a while.
ACTING = Ids((0, 7, 0, 7), (0, 0, 0, 0))


def become(ids: Ids, name: str, *wanted: int) -> tuple[int, ...]:
    new = change(ids, name, wanted)
    return new.gids if name.endswith("gid") else new.uids


@pytest.mark.parametrize(
    ("ids", "call", "expected"),
    [
        (ROOT, ("setuid", 7), (7, 7, 7, 7)),
        (ROOT, ("setgid", 7), (7, 7, 7, 7)),
        (ROOT, ("setresuid", 1, 2, 3), (1, 2, 3, 2)),
        (ROOT, ("setresuid", KEEP, 7, KEEP), (0, 7, 0, 7)),
        (ROOT, ("setreuid", KEEP, 7), (0, 7, 7, 7)),
        (ROOT, ("setreuid", 7, KEEP), (7, 0, 0, 0)),
        (ROOT, ("setfsuid", 7), (0, 0, 0, 7)),
        (ACTING, ("setresuid", KEEP, 0, KEEP), (0, 0, 0, 0)),
        (ACTING, ("setuid", 0), (0, 0, 0, 0)),
        (JOE, ("setuid", 7), (7, 7, 7, 7)),
        (JOE, ("setreuid", 7, 7, 12345), (7, 7, 7, 7)),
        (JOE, ("setregid", 8, KEEP, 12345), (8, 8, 8, 8)),
        (JOE, ("setfsuid", 0), (7, 7, 7, 7)),
        (replace(JOE, keeps=True), ("setgid", 0), (0, 0, 0, 0)),
    ],
)
def test_ids_change_as_the_kernel_changes_them(
    ids: Ids, call: tuple[str, *tuple[int, ...]], expected: tuple[int, ...]
) -> None:
    assert become(ids, *call) == expected


@pytest.mark.parametrize(
    "call",
    [
        ("setuid", 0),
        ("setresuid", KEEP, 0, KEEP),
        ("setreuid", 0, KEEP),
        ("setgid", 9),
        ("setresgid", 0, 0, 0),
    ],
)
def test_ordinary_process_cannot_become_another(call: tuple[str, *tuple[int, ...]]) -> None:
    with pytest.raises(PermissionError):
        become(JOE, *call)


def test_no_id_is_an_error() -> None:
    with pytest.raises(OSError, match="no such id") as caught:
        change(ROOT, "setuid", (KEEP,))
    assert caught.value.errno == errno.EINVAL


def test_program_with_set_id_bits_changes_effective_and_saved_ids() -> None:
    assert after_exec(JOE, 0o104755, 0, 5).uids == (7, 0, 0, 0)
    assert after_exec(JOE, 0o102755, 0, 5).gids == (8, 5, 5, 5)
    assert after_exec(JOE, 0o102745, 0, 5).gids == JOE.gids  # a mark of mandatory locks, not set-gid
    assert after_exec(replace(JOE, keeps=True), 0, 0, 0) == JOE


def test_files_belong_to_the_file_system_ids() -> None:
    assert Ids((1, 2, 3, 4), (5, 6, 7, 8)).owner == (4, 8)


_FAMILY = """
import subprocess, sys
sys.stdin.readline()
child = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE)
print(child.pid, child.stdout.readline().decode(), flush=True)
sys.stdin.readline()
"""


def test_children_and_programs_inherit_ids() -> None:
    """In the kernel: the number is where fork and exec hand it on, also when the parent is gone."""
    if not os.access("/proc/self/timerslack_ns", os.W_OK):
        pytest.skip("no timer slack in /proc")
    table = IdTable()
    assert table.plain
    process = subprocess.Popen([sys.executable, "-c", _FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    pids: list[int] = []
    try:
        try:
            table.set(process.pid, JOE)
        except PermissionError:
            pytest.skip("needs CAP_SYS_NICE")
        process.stdin.write(b"\n")
        process.stdin.flush()
        pids = [int(word) for word in (process.stdout.readline() + process.stdout.readline()).split()[:2]]
        assert not table.plain
        assert [table.get(pid) for pid in (process.pid, *pids)] == [JOE] * (1 + len(pids))
        assert table.get(os.getpid()) == ROOT
    finally:
        for pid in pids:
            os.kill(pid, 9)
        process.kill()
        process.communicate()


def test_groups_that_a_step_begins_with_cost_no_look_at_its_slack() -> None:
    """They are those of row 0 until the step's program is there; what comes later has a row of its own."""
    table, begins = IdTable(), Ids(groups=(0, 7))
    gone = 2**22 + 1  # no process has it
    table.set(gone, begins)
    assert table.plain
    assert table.get(gone) == begins
    table.begin()
    table.set(gone, Ids(groups=(9,)))
    assert not table.plain
    assert table.get(os.getpid()) == begins


def test_ids_that_a_step_begins_with_are_not_those_of_others() -> None:
    """The user of a step is no row 0: a peer outside of the step would have it."""
    table = IdTable()
    table.set(2**22 + 1, JOE)
    assert not table.plain
    assert table.get(os.getpid()) == ROOT
