"""Random programs of file calls by changing users: in a namespace of one id each call answers as under root.

FILE_CALLS says how many programs are tried, SEED which one is the first.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.worker.sandbox import seccomp
from tests.worker.sandbox.conftest import Bench, Driver
from tests.worker.sandbox.driver import NOBODY

_PROGRAM = Path(__file__).with_name("filecalls.py").read_text()
_FIRST, _COUNT = int(os.environ.get("SEED", "1")), int(os.environ.get("FILE_CALLS", "6"))


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Driver, Driver]]:
    """A process of root, and one in a namespace of one id."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not seccomp.machines():
        pytest.skip("the calls of this machine are not known")
    if not os.path.realpath(sys.executable).startswith("/usr/"):
        pytest.skip("this interpreter is no part of the system")
    drivers = Driver("native"), Driver("single")
    for driver in drivers:
        if "unavailable" in driver.about:
            pytest.skip(driver.about["unavailable"])
    yield drivers
    for driver in drivers:
        driver.close()


def _run(driver: Driver, seed: int) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        Path(folder).chmod(0o755)
        if driver.about["ids"] == "single":
            os.chown(root, NOBODY, NOBODY)
            os.chown(folder, NOBODY, NOBODY)
        mounts = [
            {"kind": "bind", "source": f, "target": f, "readonly": True}
            for f in ("/lib", "/lib64", "/usr")
            if os.path.isdir(f)
        ]
        words = (os.path.realpath(sys.executable), "-I", "-S", "-c", _PROGRAM, str(seed), "12")
        done = Bench(driver, root).run(*words, mounts=mounts)
        assert (done.status, done.err, done.error) == (0, "", "")
        shutil.rmtree(root)
        return done.out.splitlines()


@pytest.mark.parametrize("seed", range(_FIRST, _FIRST + _COUNT))
def test_calls_answer_as_under_root_and_leave_the_same_files(both: tuple[Driver, Driver], seed: int) -> None:
    expected, found = (_run(driver, seed) for driver in both)
    different = next((n for n, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), None)
    if different is not None:
        before = "\n".join(found[max(0, different - 400) : different])
        pytest.fail(f"{before}\nroot: {expected[different]}\nhere: {found[different]}", pytrace=False)
    assert len(expected) == len(found)
