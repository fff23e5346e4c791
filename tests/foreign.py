"""Programs of another architecture for tests: Debian's static busybox for arm64, and qemu to run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.support import lacking, need_program

__all__ = ["ARCH", "PLATFORM", "QEMU", "foreign_busybox", "need_qemu"]

PLATFORM, ARCH, QEMU = "linux/arm64", "arm64", "qemu-aarch64-static"


def need_qemu() -> str:
    """The path of the emulator; without it the test is skipped, in CI it fails."""
    return need_program(QEMU)


@cache
def foreign_busybox() -> bytes:
    """A static busybox of Debian's for arm64: fetched by apt, in folders of its own, as any user."""
    apt, dpkg = need_program("apt-get"), need_program("dpkg")
    if os.uname().machine != "x86_64":
        lacking("the programs of arm64 are no others here")
    with tempfile.TemporaryDirectory(prefix="imagesmith-foreign-") as place:
        folder = Path(place)
        for name in ("state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        options = [
            f"APT::Architecture={ARCH}", f"APT::Architectures={ARCH}", f"Dir::State={folder}/state",
            f"Dir::State::Status={folder}/status", f"Dir::Cache={folder}/cache", "Debug::NoLocking=1",
            "APT::Sandbox::User=", "Acquire::Languages=none",
        ]  # fmt: skip
        words = [apt, "-qq", *(word for option in options for word in ("-o", option))]
        for command in ([*words, "update"], [*words, "download", "busybox-static"]):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                lacking(f"apt has no busybox-static of {ARCH}: {done.stderr.strip()}")
        [package] = folder.glob("*.deb")
        subprocess.run([dpkg, "-x", package, folder / "files"], check=True)
        found = (folder / "files/bin/busybox").read_bytes()
        shutil.rmtree(folder / "files")
    return found
