"""A process that enters a world and runs steps for tests: one JSON request a line, one answer a line.

Why apart: entering changes the process for good, and one with threads, as a test runner is, cannot.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from imagesmith.errors import ImagesmithError, SandboxError
from imagesmith.interfaces import Mount, Place, RunSpec, Sandbox
from imagesmith.quotas import Limits
from imagesmith.worker import emulator as emulators
from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox import world as worlds
from imagesmith.worker.sandbox.world import World, enter

#: Who root becomes for a namespace of one id; nobody has that number.
NOBODY = 1_000_999


def _spec(request: dict[str, Any]) -> RunSpec:
    request["mounts"] = tuple(
        Mount(**{**m, "data": base64.b64decode(m.get("data", ""))}) for m in request.get("mounts", ())
    )
    for name in ("argv", "groups"):
        request[name] = tuple(request.get(name, ()))
    if emulator := request.pop("emulator", ""):
        request["emulators"] = ((2, 1, 183, emulators._copy(emulator)),)
    for name in ("env", "hosts", "ulimits"):
        request[name] = tuple(map(tuple, request.get(name, ())))
    request["limits"] = Limits(**request.get("limits", {}))
    return RunSpec(**request)


def _single() -> World:
    """A namespace of one id, whoever starts it."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        k.prctl(k.PR_SET_DUMPABLE, 1)  # its files in /proc are its own again
    try:
        worlds._enter_single()
    except OSError as e:
        raise SandboxError(f"no user namespace of one id: {e.strerror}") from e
    return World(Place(ids="single", mounts=True), "native")


def main() -> None:
    """Enter, tell what the world is, and serve."""
    try:
        world = _single() if sys.argv[1] == "single" else enter(sys.argv[1].partition("-")[0])
        if sys.argv[1].endswith("-nogroups"):
            k.mount("tmpfs", "/sys/fs/cgroup", "tmpfs")
        sandbox = world.sandbox()
    except ImagesmithError as e:
        print(json.dumps({"unavailable": e.message}), flush=True)
        return
    print(json.dumps({"ids": world.place.ids, "mounts": world.place.mounts}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(sandbox, json.loads(line))), flush=True)
    sandbox.close()


def _answer(sandbox: Sandbox, request: dict[str, Any]) -> dict[str, Any]:
    """Run one step and tell what came of it."""
    root, patience = Path(request.pop("root")), request.pop("cancel_after_s", None)
    outputs, seen = {1: b"", 2: b""}, request.pop("tell", False)
    began = time.monotonic()

    def output(stream: int, data: bytes) -> None:
        outputs[stream] += data
        if seen:
            print(json.dumps({"seen": True}), flush=True)

    def cancelled() -> bool:
        return patience is not None and time.monotonic() - began > patience

    answer: dict[str, Any] = {"status": None, "error": "", "code": ""}
    try:
        answer["status"] = sandbox.run(_spec(request), root, output, cancelled)
    except ImagesmithError as e:
        answer |= {"error": e.message, "code": e.code}
    return answer | {"out": outputs[1].decode(), "err": outputs[2].decode()}


if __name__ == "__main__":
    main()
