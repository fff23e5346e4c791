"""The ids that a step's processes believe to have, and where they are kept.

Why: in a user namespace of one id no process can change its own. What a process asked for is kept as the
number of a row of our table, and the number in the process's timer slack: fork and exec hand that on as they
hand on real ids, thread by thread, and it is gone with the process. A table by process number would lose
children whose parent has ended, and would take a new process for an old one. The slack (how late, in
nanoseconds, a sleep may end) differs from the usual one by less than a hundredth. Row 0 is root
with the groups that the step begins with: while there is no other one, nobody's slack is read.
A program that changes its own slack has the ids of its parent from then on.
Imports the standard library and its neighbour only: the supervisor uses it.
Spec: credentials(7), setresuid(2); prctl(2), PR_SET_KEEPCAPS and PR_SET_TIMERSLACK.
Trust: a step may change its slack: it then has ids of its own table, and none outside of the namespace.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, replace

from imagesmith.worker.sandbox.kernel import USUAL_SLACK_NS
from imagesmith.worker.sandbox.unotify_task import Kept

__all__ = ["ROOT", "IdTable", "Ids", "after_exec", "change"]

_KEEP = 0xFFFFFFFF
#: The slack of a process with the ids of row 0, as a step begins (initprocess.py).
_BASE = USUAL_SLACK_NS
_MAX_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class Ids:
    """Real, effective, saved and file system ids; `keeps` if it may change them although it is not root."""

    uids: tuple[int, int, int, int] = (0, 0, 0, 0)
    gids: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: tuple[int, ...] = ()
    keeps: bool = False

    @property
    def privileged(self) -> bool:
        """True if it may become what it wants."""
        return self.uids[1] == 0 or self.keeps

    @property
    def ordinary(self) -> bool:
        """True if it has no right over files of others."""
        return bool(self.uids[1] or self.uids[3])

    @property
    def real(self) -> Ids:
        """Whom access(2) asks for: the real ids, whatever the others are."""
        uid, gid = self.uids[0], self.gids[0]
        return Ids((uid, uid, uid, uid), (gid, gid, gid, gid), self.groups)

    @property
    def owner(self) -> tuple[int, int]:
        """Who the files that it makes belong to."""
        return self.uids[3], self.gids[3]

    @property
    def all_groups(self) -> set[int]:
        """The groups whose rights it has."""
        return {self.gids[3], *self.groups}


ROOT = Ids()


def change(ids: Ids, name: str, wanted: tuple[int, ...]) -> Ids:
    """What set*id makes of them.

    Args:
        ids: what the process has.
        name: the call: setuid, setreuid, setresuid, setfsuid, or the same of groups.
        wanted: its arguments, as numbers of 32 bits; all ones leave one as it is.

    Raises:
        OSError: with the errno that the kernel would answer.
    """
    old = ids.gids if name.endswith("gid") else ids.uids
    new = _changed(old, name[3:-3], wanted, ids.privileged)
    return replace(ids, gids=new) if name.endswith("gid") else replace(ids, uids=new)


def _changed(
    old: tuple[int, int, int, int], kind: str, wanted: tuple[int, ...], privileged: bool
) -> tuple[int, int, int, int]:
    real, effective, saved, _ = old
    if kind == "fs":
        allowed = wanted[0] != _KEEP and (privileged or wanted[0] in old)
        return (real, effective, saved, wanted[0]) if allowed else old
    if kind == "":
        if wanted[0] == _KEEP:
            raise OSError(errno.EINVAL, "no such id")
        if privileged:
            return wanted[0], wanted[0], wanted[0], wanted[0]
        _check(wanted[0], (real, saved))
        return real, wanted[0], saved, wanted[0]
    if not privileged:
        _check(wanted[0], (real, effective, *((saved,) if kind == "res" else ())))
        for value in wanted[1 : 3 if kind == "res" else 2]:  # further registers are no arguments
            _check(value, (real, effective, saved))
    real = real if wanted[0] == _KEEP else wanted[0]
    effective = effective if wanted[1] == _KEEP else wanted[1]
    if kind == "res":
        saved = saved if wanted[2] == _KEEP else wanted[2]
    elif wanted[0] != _KEEP or wanted[1] not in (_KEEP, old[0]):
        saved = effective
    return real, effective, saved, effective


def _check(value: int, allowed: tuple[int, ...]) -> None:
    if value != _KEEP and value not in allowed:
        raise PermissionError(errno.EPERM, "not allowed")


def after_exec(ids: Ids, mode: int, uid: int, gid: int) -> Ids:
    """What the ids are after a program of that mode and owner is executed."""
    effective = uid if mode & stat.S_ISUID else ids.uids[1]
    group = gid if mode & stat.S_ISGID and mode & stat.S_IXGRP else ids.gids[1]
    return Ids((ids.uids[0], effective, effective, effective), (ids.gids[0], group, group, group), ids.groups)


class IdTable:
    """Which ids each thread has."""

    def __init__(self) -> None:
        self._rows = [ROOT]
        self._numbers = {ROOT: 0}
        self._slack = Kept("timerslack_ns")
        self._begun = False

    @property
    def plain(self) -> bool:
        """True while no process ever had other ids than root's."""
        return len(self._rows) == 1

    def begin(self) -> None:
        """The step's program is there; until now there was one process."""
        self._begun = True

    def get(self, tid: int) -> Ids:
        """The ids of a thread; those of root for one that is gone."""
        rows = self._rows
        if len(rows) == 1:
            return rows[0]
        number = int(self._slack.read(tid) or -1) - _BASE
        if 0 <= number < len(rows):
            return rows[number]
        above = _above(tid)
        ids = self.get(above) if above > 0 else rows[0]
        self.set(tid, ids)
        return ids

    def set(self, tid: int, ids: Ids) -> None:
        """Give a thread ids.

        Raises:
            OSError: ENOMEM for more different ones than a step can have.
        """
        if not self._begun and replace(ids, groups=()) == ROOT:
            self._rows[0] = ids
            self._numbers = {row: n for n, row in enumerate(self._rows)}
            return
        number = self._numbers.get(ids)
        if number is None:
            number = len(self._rows)
            if number == _MAX_ROWS:
                raise OSError(errno.ENOMEM, "too many different ids")
            self._numbers[ids] = number
            self._rows.append(ids)
        try:
            fd = os.open(f"/proc/{tid}/timerslack_ns", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.write(fd, b"%d" % (_BASE + number))
        finally:
            os.close(fd)


def _above(tid: int) -> int:
    """The first thread of a thread's process, or the parent of a first one; 0 where there is none."""
    try:
        with open(f"/proc/{tid}/status", encoding="ascii", errors="replace") as f:
            fields = dict(line.split(":", 1) for line in f if ":" in line)
    except OSError:
        return 0
    leader = int(fields["Tgid"])
    return leader if leader != tid else int(fields["PPid"])
