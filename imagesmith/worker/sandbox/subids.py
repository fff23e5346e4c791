"""The ids that the system lends to a user for namespaces: /etc/subuid, /etc/subgid, newuidmap, newgidmap.

Why programs: only they, with the rights of their files, may map more than one's own id.
Spec: subuid(5), newuidmap(1), user_namespaces(7).
Trust: the files are the machine's, and the programs that map ids hold requests against them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial

from imagesmith.values import frozen

__all__ = ["LENDING", "MAPPING", "Lent", "enter_with_all", "find_program", "lent_ids", "lent_range"]

#: The files that lend ids, and the programs that map them.
LENDING, MAPPING = ("/etc/subuid", "/etc/subgid"), ("newuidmap", "newgidmap")


@frozen
class Lent:
    """Ranges (first, count) and the programs that map them, for users and for groups."""

    uid: int
    gid: int
    uids: tuple[int, int]
    gids: tuple[int, int]
    programs: tuple[str, str]

    def enter(self, unshare: Callable[[], None]) -> str:
        """Enter a user namespace by `unshare` and have it mapped; returns what failed, or ''.

        The programs must run outside of it, so they are started by children that wait until we are inside.
        """
        pid = str(os.getpid())
        ready, go = os.pipe()
        commands = [
            [program, pid, "0", str(own), "1", "1", str(first), str(count)]
            for program, own, (first, count) in zip(
                self.programs, (self.uid, self.gid), (self.uids, self.gids), strict=True
            )
        ]
        children = [_later(ready, go, partial(_execute, command)) for command in commands]
        unshare()
        os.close(ready)
        os.close(go)
        failed = [c[0] for c, child in zip(commands, children, strict=True) if os.waitpid(child, 0)[1] != 0]
        return f"{os.path.basename(failed[0])} failed" if failed else ""


def enter_with_all(unshare: Callable[[], None]) -> str:
    """Enter a user namespace that has every id of the one before, which root may do; returns what failed."""
    pid = os.getpid()
    ready, go = os.pipe()
    child = _later(ready, go, lambda: _map_all(pid))
    unshare()
    os.close(ready)
    os.close(go)
    return "the ids of root cannot be mapped" if os.waitpid(child, 0)[1] else ""


def _map_all(pid: int) -> None:
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/self/{name}", encoding="ascii") as f:
            rows = [line.split() for line in f]
        with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as f:
            f.write("".join(f"{first} {first} {count}\n" for first, _, count in rows))


def _execute(command: list[str]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.execv(command[0], command)  # noqa: S606 - newuidmap or newgidmap


def _later(ready: int, go: int, action: Callable[[], None]) -> int:
    """A child that does something once the pipe's other end is closed, and ends with 0 if that went well."""
    pid = os.fork()
    if pid:
        return pid
    status = 127
    try:
        os.close(go)
        os.read(ready, 1)
        action()
        status = 0
    except OSError:
        pass
    finally:
        os._exit(status)


def lent_ids(uid: int, gid: int) -> Lent | str:
    """What is lent to the user with the id, or why there is nothing."""
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    ranges = []
    for path in LENDING:
        found = lent_range(path, name, uid)
        if found is None:
            return f"{path} lends no ids to {name or uid}"
        ranges.append(found)
    programs = []
    for program in MAPPING:
        where = find_program(program)
        if where is None:
            return f"{program} is not installed (package uidmap or shadow-utils)"
        programs.append(where)
    return Lent(uid, gid, ranges[0], ranges[1], (programs[0], programs[1]))


def find_program(name: str) -> str | None:
    """Where a program that maps ids is."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/bin:/bin")


def lent_range(path: str, name: str, uid: int) -> tuple[int, int] | None:
    """The largest range that the file lends to the user."""
    best: tuple[int, int] | None = None
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                who, _, numbers = line.strip().partition(":")
                first, _, count = numbers.partition(":")
                if who in (name, str(uid)) and first.isdigit() and count.isdigit():
                    found = int(first), int(count)
                    best = found if best is None or found[1] > best[1] else best
    except OSError:
        return None
    return best
