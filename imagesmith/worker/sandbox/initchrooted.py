"""The process of a step behind a chroot: it changes its root and gives up what would lead out of it.

CAP_SYS_CHROOT goes, for a second chroot leads out, and CAP_MKNOD. Where the machine lets root unshare after
all, as one who is in no container, the step has a host name, /dev/shm of its size, and without a network /sys
of that.
Imports the standard library only: it is the step's process.
Trust: nothing is mounted before the root is changed, so that no link in it leads a mount out.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox.initpaths import resolve
from imagesmith.worker.sandbox.initprocess import Process

__all__ = ["Chrooted", "Plain"]

_SYS_CHROOT, _MKNOD = 1 << 18, 1 << 27


class Chrooted(Process):
    """The step; its root is laid out by the warden."""

    def __init__(self, plan: dict[str, Any], streams: list[int], report: int, parent: int) -> None:
        super().__init__(plan, streams, report, parent)
        if not plan["insecure"]:
            plan["capabilities"] &= ~(_SYS_CHROOT | _MKNOD)

    def enter_root(self) -> list[str]:
        """See Process."""
        if self.plan["network"] == "none":
            try:
                k.unshare(k.CLONE_NEWNET)
            except OSError as e:
                raise OSError(
                    e.errno, "a step without network needs a network namespace, refused here"
                ) from e
        for m in self.plan["mounts"]:
            if m["kind"] == "bind":  # no descriptor of anything outside goes along
                os.close(m["fd"])
        if self.plan["scoped"] and not self.plan["insecure"]:
            k.confine()
        apart = self._apart()
        os.chroot(self.plan["root"])
        os.chdir("/")
        if apart:
            self._mount()
        cwd = resolve("", self.plan["cwd"])
        if not os.path.lexists(cwd):
            os.makedirs(cwd, mode=0o755)
        return []

    def _apart(self) -> bool:
        """Have a host name and mounts of one's own, where the machine lets root have them."""
        try:
            k.unshare(k.CLONE_NEWNS | k.CLONE_NEWUTS)
            k.set_host_name(self.plan["hostname"])
            k.mount(None, "/", flags=k.MS_REC | k.MS_PRIVATE)
        except OSError:
            return False
        return True

    def _mount(self) -> None:
        """What lies in no folder of the builder's: memory of a size, what /sys says of the network."""
        quiet, size = k.MS_NOSUID | k.MS_NODEV | k.MS_NOEXEC, f"size={self.plan['shm_size_bytes']}"
        with contextlib.suppress(OSError):
            k.mount("shm", "/dev/shm", "tmpfs", quiet, f"mode=1777,{size}")
            if self.plan["network"] == "none":
                k.mount("sysfs", "/sys", "sysfs", quiet | k.MS_RDONLY)

    def made(self) -> list[str]:
        """See Process."""
        return []


class Plain(Process):
    """An OCI runtime, which does the rest itself."""

    def enter_root(self) -> list[str]:
        """See Process."""
        os.chdir("/")
        return []

    def made(self) -> list[str]:
        """See Process."""
        return []

    def become(self) -> None:
        """See Process."""
