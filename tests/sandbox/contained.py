"""Become a process as in an ordinary container, then execute a command: Docker's capabilities and filter.

    python -m tests.sandbox.contained UID COMMAND...

With UID `admin`: root that has all capabilities but CAP_SYS_ADMIN, and no filter.
"""

from __future__ import annotations

import os
import sys

from imagesmith.sandbox import kernel as k
from imagesmith.sandbox.seccomp import docker_filter

_DOCKER, _SYS_ADMIN = 0xA80425FB, 1 << 21


def main() -> None:
    """Give up what a container does not have."""
    who, command = sys.argv[1], sys.argv[2:]
    program = docker_filter()
    if who == "admin":
        k.drop_bounding(~_SYS_ADMIN)  # the rest of it goes with exec
    elif who == "0":
        k.drop_bounding(_DOCKER)
        k.install_filter(program)
        k.capset(_DOCKER)
    else:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(int(who), int(who), int(who))
            os.setresuid(int(who), int(who), int(who))
        k.prctl(k.PR_SET_NO_NEW_PRIVS, 1)
        k.install_filter(program)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
