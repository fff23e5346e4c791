"""The process that answers a step's calls in the kernel's stead (unotify.py): how the helper has it.

Why apart from the step and the helper: it acts in the root with rights that the step has not, and the helper
waits for nobody.
Imports the standard library only: the helper uses it.
Trust: it is the helper's own; what the step asks of it is hostile, see unotify.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imagesmith.worker.sandbox import kernel as k

__all__ = ["Supervisor"]

#: Descriptors that it is given are first put above so many, then in their places.
_ABOVE = 64


def _server_of(plan: dict[str, Any]) -> Callable[[socket.socket], None]:
    """What a step's supervisor does."""
    from imagesmith.worker.sandbox.unotify import serve

    root, real, few = Path(plan["root"]), plan["ids"] == "subid", plan["few"]
    mounts = [(m["target"], *m["owners"]) for m in plan["mounts"] if m["owners"][0]]
    return lambda sock: serve(sock, root, mounts, real=real, few=few, emulators=plan["emulators"])


class Supervisor:
    """The process that answers a step's calls in the kernel's stead, see unotify.py."""

    def __init__(self, plan: dict[str, Any], report: int) -> None:
        serve = _server_of(plan)  # before the fork: it is imported once, by the helper
        ours, self.theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                k.prctl(k.PR_SET_PDEATHSIG, signal.SIGKILL)
                os.dup2(1, 0)
                held = [{"fd": ours.detach()}, {"fd": report}, *plan["emulators"]]
                copies = [fcntl.fcntl(h["fd"], fcntl.F_DUPFD, _ABOVE) for h in held]
                for place, (h, fd) in enumerate(zip(held, copies, strict=True), 3):
                    h["fd"] = os.dup2(fd, place)
                k.close_from(3 + len(held))
                serve(socket.socket(fileno=3))
                os._exit(0)
            except BaseException as e:  # this process must end here, whatever it was
                os.write(4, json.dumps({"error": f"cannot answer for the kernel: {e!r}"}).encode() + b"\n")
            finally:
                os._exit(1)
        ours.close()
        self.pidfd = os.pidfd_open(self.pid)

    def end(self) -> bool:
        """Wait for its end; True if it ended well."""
        self.theirs.close()
        os.close(self.pidfd)
        return os.waitpid(self.pid, 0)[1] == 0
