"""binfmt_misc: what the machine has registered there, and an instance of this process's own user namespace.

    machine_entries   what is registered on the machine, as doctor tells it
    Instance          the user namespace's own: seen by nobody outside, gone with the last of its processes

Why: since Linux 6.7 each user namespace may have its own, so that who builds as an ordinary user needs
nobody's leave, and changes nothing for others. The kernel then starts the emulator itself for each program.
The instance hides the machine's from the namespace, so what was registered there is registered again.
Spec: the kernel's admin-guide/binfmt-misc.rst. Flags: F opens the emulator once, here; P hands on argv[0], C
the rights of set-uid programs; O lets programs be run that may not be read.
Trust: files of /proc, and descriptors of the builder's.
Threads: used under the lock of who asks (emulator.py).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from imagesmith.values import frozen
from imagesmith.worker.snapshot.mountapi import mount_nowhere

__all__ = ["Entry", "Instance", "machine_entries"]

_MACHINE = Path("/proc/sys/fs/binfmt_misc")
_FLAGS = "POCF"
#: What the kernel takes for one line.
_LONGEST = 1920


@frozen
class Entry:
    """One that is registered by a magic number; `magic` and `mask` are hexadecimal digits."""

    name: str
    interpreter: str
    flags: str
    offset: int
    magic: str
    mask: str

    def line(self) -> bytes:
        """What registers it."""
        return _line(self.name, self.offset, self.magic, self.mask, self.interpreter, self.flags)


def machine_entries(folder: Path = _MACHINE) -> Iterator[Entry]:
    """What is registered on the machine and enabled; nothing where that cannot be read."""
    try:
        files = sorted(folder.iterdir())
    except OSError:
        return
    for file in files:
        try:
            text = file.read_text(errors="replace")
        except OSError:
            continue
        lines = text.splitlines()
        fields = dict(line.partition(" ")[::2] for line in lines[1:])
        if file.name in ("register", "status") or lines[:1] != ["enabled"] or not fields.get("magic"):
            continue
        yield Entry(
            file.name,
            fields.get("interpreter", ""),
            fields.get("flags:", ""),
            int(fields.get("offset", "0") or 0),
            fields["magic"],
            fields.get("mask", ""),
        )


class Instance:
    """binfmt_misc of this process's user namespace, which must be its own."""

    def __init__(self) -> None:
        """Make it, with what the machine has.

        Raises:
            OSError: the kernel is older than Linux 6.7, has none, or does not allow it.
        """
        kept = list(machine_entries())
        self.fd = mount_nowhere("binfmt_misc")
        self._names = set[str]()
        for entry in kept:
            with contextlib.suppress(OSError):  # its interpreter is not here
                self._write("register", entry.line())

    def register(self, kind: tuple[int, int, int], emulator: int) -> None:
        """Have the kernel run programs of a kind by the emulator of a descriptor.

        Raises:
            OSError: it is refused.
        """
        size, order, machine = kind
        tail = machine.to_bytes(2, "little" if order == 1 else "big").hex()
        types, mask = ("0200", "feff") if order == 1 else ("0002", "fffe")
        magic = f"7f454c46{size:02x}{order:02x}01{'00' * 9}{types}{tail}"
        whole = f"ffffffffffffff{'00'}{'ff' * 8}{mask}ffff"
        name = f"imagesmith-{size}-{order}-{machine}"
        with contextlib.suppress(OSError):  # that of an earlier build
            self._write(name, b"-1")
        self._write("register", _line(name, 0, magic, whole, f"/proc/self/fd/{emulator}", _FLAGS))
        self._names.add(name)

    def forget(self) -> None:
        """Take back what was registered, and let go of the emulators."""
        while self._names:
            with contextlib.suppress(OSError):
                self._write(self._names.pop(), b"-1")

    def _write(self, name: str, data: bytes) -> None:
        if len(data) > _LONGEST:
            raise OSError(f"a line of {len(data)} bytes")
        fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)


def _line(name: str, offset: int, magic: str, mask: str, interpreter: str, flags: str) -> bytes:
    head = f":{name}:M:{offset or ''}:{_escaped(magic)}:{_escaped(mask)}:"
    return head.encode() + os.fsencode(interpreter) + f":{flags}".encode()


def _escaped(digits: str) -> str:
    return "".join(f"\\x{digits[n : n + 2]}" for n in range(0, len(digits), 2))
