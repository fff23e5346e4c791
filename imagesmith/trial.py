"""One tiny step, built like any other: whether RUN works here is answered by doing it.

Why: a machine may promise namespaces, mounts and rights one by one, and refuse what a step makes of them, on
this store's disk. The program is of our own making, since an image may be out of reach: it ends at once.
Spec: System V ABI, "ELF header" and "Program header"; the kernel's call exit(0) of each machine.
"""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path

from imagesmith.errors import ImagesmithError
from imagesmith.request import BuildRequest
from imagesmith.session import run_build
from imagesmith.settings import Settings
from imagesmith.worker.sandbox.world import World

__all__ = ["trial"]

#: For each machine: its number in ELF, its flags, and the instructions that end a process well.
_MACHINES = {
    "x86_64": (62, 0, "31ff b83c000000 0f05"),
    "aarch64": (183, 0, "000080d2 a80b80d2 010000d4"),
    "riscv64": (243, 0, "13050000 9308d005 73000000"),
    "ppc64le": (21, 2, "00006038 01000038 02000044"),
}
_BASE, _HEADS = 0x400000, 64 + 56


def trial(settings: Settings, world: World) -> ImagesmithError | None:
    """Build an image with one step; returns what went wrong, None if nothing did.

    On a machine for which no program is known nothing is tried.
    """
    program = _program(os.uname().machine)
    if not program:
        return None
    with tempfile.TemporaryDirectory(prefix="trial-", dir=settings.root) as folder:
        (Path(folder) / "Dockerfile").write_text('FROM scratch\nCOPY --chmod=755 end /\nRUN ["/end"]\n')
        (Path(folder) / "end").write_bytes(program)
        try:
            run_build(BuildRequest(context=folder, no_cache=()), settings, world, lambda _: None)
        except ImagesmithError as e:
            return e
    return None


def _program(machine: str) -> bytes:
    """A program that ends with status 0, for a machine as uname calls it; empty if it is not known."""
    if machine not in _MACHINES:
        return b""
    number, flags, code = _MACHINES[machine]
    body = bytes.fromhex(code)
    size = _HEADS + len(body)
    head = struct.pack(
        "<4s5B7xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 0, 2, number, 1, _BASE + _HEADS, 64, 0, flags,
        64, 56, 1, 0, 0, 0,
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return head + segment + body
