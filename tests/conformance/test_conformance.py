"""The conformance cases: what BuildKit makes of small Dockerfiles, and what we make of them.

Cases that fail are listed in failing.txt; one that is not listed must pass, and one that is listed must fail,
so that the list only shrinks. The cases' own runner does the work: a file of cases at a time.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import IMAGESMITH, PROJECT, lacking, need_program

pytestmark = pytest.mark.slow

RUNNER = PROJECT / "fixtures" / "conformance" / "run.py"
FILES = sorted((PROJECT / "fixtures" / "conformance" / "cases").glob("*.toml"))
BUILT = [f for f in FILES if f.stem not in ("errors", "lint")]
FAILING = PROJECT / "tests" / "conformance" / "failing.txt"

BASE = "{args} --build-context busybox=oci-layout://{base}"
BUILD = f"build {BASE} -o type=oci,dest={{out}} {{context}}"
CHECK = f"build --call check,format=json {BASE} {{context}}"
EXACT = (
    f"build --build-arg SOURCE_DATE_EPOCH=1000000000 {BASE} "
    "-o type=oci,dest={out},rewrite-timestamp=true {context}"
)


def known_failures(mode: str) -> set[str]:
    """The names on the list: `NAME`, or `NAME exact` for one that fails bit for bit only."""
    rows = [line.split() for line in FAILING.read_text().splitlines() if line and not line.startswith("#")]
    return {row[0] for row in rows if len(row) == 1 or row[1] == mode}


def run(cases: Path, store: Path, *words: str) -> dict[str, bool]:
    """Each case's name, and whether it passed."""
    need_program("git")
    if not os.path.exists("/bin/busybox"):
        lacking("/bin/busybox is not there (Debian: busybox-static)")
    program = shlex.join(IMAGESMITH)
    flags = [f"{program} {word}" if word.startswith("build ") else word for word in words]
    done = subprocess.run(
        [sys.executable, str(RUNNER), "--list", "--jobs", "1", *flags, str(cases)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "IMAGESMITH_ROOT": str(store)},
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows, done.stderr
    assert rows[-1][1] == "passed,", done.stdout + done.stderr
    return {row[1]: row[0] == "pass" for row in rows[:-1]}


def compare(results: dict[str, bool], known: set[str]) -> None:
    broken = sorted(name for name, passed in results.items() if not passed and name not in known)
    mended = sorted(name for name, passed in results.items() if passed and name in known)
    assert broken == [], "these cases passed once; `fixtures/conformance/run.py --only NAME --show` tells why"
    assert mended == [], "these pass now: take them off tests/conformance/failing.txt"


@pytest.mark.parametrize("cases", FILES, ids=lambda p: p.stem)
def test_images_are_buildkits(cases: Path, tmp_path: Path) -> None:
    results = run(cases, tmp_path, "--build", BUILD, "--check", CHECK)
    assert results
    compare(results, known_failures("plain"))


@pytest.mark.parametrize(
    "cases", [f for f in FILES if f.stem not in ("errors", "lint")], ids=lambda p: p.stem
)
def test_images_are_buildkits_bit_for_bit(cases: Path, tmp_path: Path) -> None:
    results = run(cases, tmp_path, "--exact", EXACT)
    assert results
    compare(results, known_failures("exact"))
