"""Run a command beside processes of the machine, and tell which of them are as they were.

    python -m tests.attack.beside COMMAND...     @PIDS@ in its words becomes their pids

Two processes, of root and of another user. The last lines say of each whether it lives, and has the
state and the limits that it had; the status is the command's.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


def _state(pid: int) -> str:
    """How a process is: running, stopped, traced; and its limits."""
    status = Path(f"/proc/{pid}/status").read_text()
    lines = [line for line in status.splitlines() if line.startswith(("State:", "TracerPid:"))]
    return "\n".join(lines) + Path(f"/proc/{pid}/limits").read_text()


def main() -> None:
    """Start them, run the command, look at them."""
    canaries = [
        subprocess.Popen(["sleep", "1000"], process_group=0, user=uid, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL) for uid in (0, 65534)
    ]  # fmt: skip
    try:
        time.sleep(0.2)
        before = [_state(c.pid) for c in canaries]
        pids = " ".join(str(c.pid) for c in canaries)
        done = subprocess.run([word.replace("@PIDS@", pids) for word in sys.argv[1:]])
        time.sleep(0.1)
        for c, state in zip(canaries, before, strict=True):
            unharmed = c.poll() is None and _state(c.pid) == state
            print(f"canary {'unharmed' if unharmed else 'harmed'}", flush=True)
    finally:
        for c in canaries:
            c.kill()
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
