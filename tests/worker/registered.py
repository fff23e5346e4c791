"""Be on a machine where an emulator is registered in binfmt_misc, then execute a command.

    python -m tests.worker.registered EMULATOR COMMAND...

Root's user namespace of all ids stands for the machine: it has a binfmt_misc of its own (Linux 6.7), and what
the tests register in it nobody else sees.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from imagesmith.worker.binfmt import Instance
from imagesmith.worker.sandbox import kernel as k


def main() -> None:
    """Enter, register, go on."""
    emulator, command = sys.argv[1], sys.argv[2:]
    ready, told = os.pipe()
    mapped, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(ready, 1)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{os.getppid()}/{name}").write_text("0 0 4294967295\n")
        os.write(done, b"x")
        os._exit(0)
    k.unshare(k.CLONE_NEWUSER | k.CLONE_NEWNS)
    os.write(told, b"x")
    os.read(mapped, 1)
    os.waitpid(pid, 0)
    instance = Instance()
    fd = os.open(emulator, os.O_RDONLY)
    instance.register((2, 1, 183), fd)
    os.set_inheritable(instance.fd, True)  # it lasts as long as somebody has it
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
