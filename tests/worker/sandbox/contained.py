"""Become a process as in an ordinary container, then execute a command: Docker's capabilities and filter.

    python -m tests.worker.sandbox.contained UID COMMAND...

Root's command has a pid namespace too, whose pid 1 says in its environment that it is a container. UID may
be a word, for a process of root:

    old      the same on a kernel without Landlock
    bare     with Docker's capabilities and filter, on the machine itself
    admin    with all capabilities but CAP_SYS_ADMIN, and no filter
"""

from __future__ import annotations

import errno
import os
import signal
import sys

from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox.seccomp import ALLOW, assemble, docker_filter, equal, machines, refuse, result
from imagesmith.worker.sandbox.syscalls import numbers

_DOCKER, _SYS_ADMIN = 0xA80425FB, 1 << 21


def _wait(pid: int) -> None:
    """End as a child ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: os.kill(pid, n))
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            os._exit(128 - code if code < 0 else code)


def _without_landlock() -> bytes:
    missing = result(refuse(errno.ENOSYS))
    known = ((m, equal(numbers(m)["landlock_create_ruleset"], missing)) for m in machines())
    return assemble(((m, code + result(ALLOW)) for m, code in known), ALLOW)


def _drop(*, old: bool = False) -> None:
    program = docker_filter()
    k.drop_bounding(_DOCKER)
    if old:
        k.install_filter(_without_landlock())
    k.install_filter(program)
    k.capset(_DOCKER)


def _contain(command: list[str], *, old: bool) -> None:
    """Be the container's pid 1, and the parent of the command."""
    k.unshare(k.CLONE_NEWNS | k.CLONE_NEWPID)
    k.mount(None, "/", flags=k.MS_REC | k.MS_PRIVATE)
    pid = os.fork()
    if pid:
        _wait(pid)
    k.prctl(k.PR_SET_PDEATHSIG, signal.SIGKILL)
    k.mount("proc", "/proc", "proc", k.MS_NOSUID | k.MS_NODEV | k.MS_NOEXEC)
    _drop(old=old)
    words = [sys.executable, "-m", "tests.worker.sandbox.contained", "init", *command]
    os.execve(words[0], words, {**os.environ, "container": "tests"})


def main() -> None:
    """Give up what a container does not have."""
    who, command = sys.argv[1], sys.argv[2:]
    if who == "init":
        os.environ.pop("container")
        pid = os.fork()
        if pid:
            _wait(pid)
    elif who == "admin":
        k.drop_bounding(~_SYS_ADMIN)  # the rest of it goes with exec
    elif who == "bare":
        _drop()
    elif who in ("0", "old"):
        _contain(command, old=who == "old")
    else:
        program = docker_filter()
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(int(who), int(who), int(who))
            os.setresuid(int(who), int(who), int(who))
        k.prctl(k.PR_SET_NO_NEW_PRIVS, 1)
        k.install_filter(program)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
