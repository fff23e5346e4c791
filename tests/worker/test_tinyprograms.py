"""Each tiny program ends well where the platform's programs run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imagesmith.oci.names import Platform, host_platform
from imagesmith.worker.tinyprograms import kind_for, program_for
from tests.support import need_program

_QEMU = {"linux/arm64": "aarch64", "linux/386": "i386", "linux/arm/v7": "arm", "linux/riscv64": "riscv64",
         "linux/ppc64le": "ppc64le", "linux/s390x": "s390x", "linux/loong64": "loongarch64",
         "linux/mips64le": "mips64el", "linux/mips64": "mips64", "linux/amd64": "x86_64",
         "linux/amd64/v2": "x86_64", "linux/amd64/v3": "x86_64"}  # fmt: skip


def _made(platform: str, folder: Path) -> str:
    program = folder / "program"
    program.write_bytes(program_for(Platform.parse(platform)))
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize("platform", _QEMU)
def test_it_ends_well_under_its_emulator(platform: str, tmp_path: Path) -> None:
    emulator = need_program(f"qemu-{_QEMU[platform]}-static")
    assert subprocess.run([emulator, _made(platform, tmp_path)]).returncode == 0


def test_it_ends_well_here(tmp_path: Path) -> None:
    assert subprocess.run([_made(str(host_platform()), tmp_path)]).returncode == 0


def test_a_processor_that_lacks_an_instruction_does_not_end_it_well(tmp_path: Path) -> None:
    emulator = need_program("qemu-x86_64-static")
    words = [emulator, "-cpu", "Nehalem", _made("linux/amd64/v4", tmp_path)]
    assert subprocess.run(words, capture_output=True).returncode != 0


@pytest.mark.parametrize("platform", ["windows/amd64", "linux/sparc64"])
def test_what_is_not_known_has_none(platform: str) -> None:
    assert program_for(Platform.parse(platform)) == b""
    assert kind_for(Platform.parse(platform)) is None
