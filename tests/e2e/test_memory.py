"""However many files a build has to do with, it takes less than 150 MiB: measured by the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import PROJECT

pytestmark = pytest.mark.slow

#: A few less than are held in memory: what takes most.
COUNT, MOST_MIB = 98_500, 150

#: Builds, and says how much memory the process had at most (kB): its rusage has what its parent had, too.
MEASURED = """
import sys
from imagesmith.cli.main import main
status = main(sys.argv[1:])
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
sys.exit(status)
"""


def peak_mib(root: Path, context: Path) -> float:
    """The peak of a build in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "build", "--progress", "quiet", "--root", str(root), str(context)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1]) / 1024


def test_many_files_take_bounded_memory(tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "t").mkdir(parents=True)
    for n in range(COUNT // 1000):
        folder = context / "t" / f"d{n:04d}"
        folder.mkdir()
        (folder / "f").write_bytes(b"x")
        for name in range(1, 1000 if n % 4 else 500):  # names of one file, as in a store of packages
            os.link(folder / "f", folder / f"f{name:03d}")
        for name in range(500, 0 if n % 4 else 1000):
            (folder / f"f{name:03d}").write_bytes(b"%d" % name)
    (context / "Dockerfile").write_text(
        "FROM scratch AS a\nCOPY t /t\nFROM scratch\nCOPY --from=a /t /t\nCOPY t/d0000 /t/d0001\n"
    )
    assert peak_mib(tmp_path / "store", context) < MOST_MIB
