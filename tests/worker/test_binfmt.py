"""What is read of binfmt_misc, and what is registered in a user namespace's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.oci.names import Platform
from imagesmith.worker.binfmt import Entry, machine_entries
from imagesmith.worker.tinyprograms import program_for
from tests.foreign import PLATFORM, need_qemu
from tests.support import PROJECT, need_root

_AARCH64 = """enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""


def test_what_is_enabled_and_has_a_magic_number_is_told(tmp_path: Path) -> None:
    (tmp_path / "qemu-aarch64").write_text(_AARCH64)
    (tmp_path / "qemu-arm").write_text(_AARCH64.replace("enabled", "disabled"))
    (tmp_path / "python").write_text("enabled\ninterpreter /usr/bin/python3\nflags: \nextension .pyc\n")
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "register").write_text("")
    [found] = machine_entries(tmp_path)
    assert found == Entry(
        "qemu-aarch64", "/usr/libexec/qemu-binfmt/aarch64-binfmt-P", "POF", 0,
        "7f454c460201010000000000000000000200b700", "ffffffffffffff00fffffffffffffffffeffffff",
    )  # fmt: skip
    assert found.line().startswith(rb":qemu-aarch64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00")
    assert found.line().endswith(rb"\xff\xff:/usr/libexec/qemu-binfmt/aarch64-binfmt-P:POF")


def test_where_nothing_can_be_read_nothing_is_told(tmp_path: Path) -> None:
    assert list(machine_entries(tmp_path / "nowhere")) == []


def test_what_is_registered_in_a_namespace_runs_there_and_nowhere_else(tmp_path: Path) -> None:
    need_root()
    program = tmp_path / "program"
    program.write_bytes(program_for(Platform.parse(PLATFORM)))
    program.chmod(0o755)
    inside = [sys.executable, "-m", "tests.worker.registered", need_qemu(), str(program)]
    assert subprocess.run(inside, cwd=PROJECT).returncode == 0
    if not list(machine_entries()):
        with pytest.raises(OSError, match="Exec format error"):
            subprocess.run([program])
