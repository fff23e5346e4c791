"""What tests of several packages need: the project's folder, programs of others, and skipping with a reason.

At home a test whose peer program is missing is skipped; in CI, which installs them all, it fails.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

#: The checkout that is tested.
PROJECT = Path(__file__).resolve().parent.parent

#: How tests start the program: the interpreter that runs them, so that no other installation is found.
IMAGESMITH = (sys.executable, "-m", "imagesmith")


def in_ci() -> bool:
    """Whether a missing tool is a failure."""
    return bool(os.environ.get("CI"))


def lacking(reason: str) -> None:
    """Skip the running test, or fail it in CI."""
    if in_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def need_program(name: str) -> str:
    """The path of a program on PATH or in a system folder; without it the test is skipped, in CI it fails."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        lacking(f"{name} is not installed")
        raise AssertionError
    return found


def need_root() -> None:
    """Skip the running test where it needs root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def module_at(path: Path) -> ModuleType:
    """A module that is no part of a package, such as a script."""
    spec = importlib.util.spec_from_file_location(f"file_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for the annotations of NamedTuples
    spec.loader.exec_module(module)
    return module


def chain_of_folders(top: Path, depth: int) -> int:
    """Make folders named `d`, each in the one before; returns a descriptor of the last.

    Deeper than a few thousand no path leads to it.
    """
    at = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    return at


@contextmanager
def small_disk(at: Path, size: str) -> Iterator[Path]:
    """A file system of a size as mount(8) takes it, mounted at a new folder; needs root."""
    need_root()
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(at)], check=True)
    yield at
    subprocess.run(["umount", "-l", str(at)], check=True)
