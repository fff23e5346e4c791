"""What builds cost may not grow: modules, processes, calls, fsyncs and requests are those that are kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import lacking, module_at, need_program, need_root

COUNTS = Path(__file__).with_name("counts.py")


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(COUNTS.parent))
    return module_at(COUNTS)


@pytest.mark.slow
def test_nothing_costs_more_than_is_kept(counts: ModuleType) -> None:
    need_root()  # others need processes of their own to be root of a namespace
    need_program("strace")
    need_program("skopeo")
    if json.loads(counts.KEPT.read_text())["python"] != counts.PYTHON:
        lacking(f"counts of Python {counts.PYTHON} are not kept: tests/bench/counts.py --keep")
    done = subprocess.run([sys.executable, COUNTS, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_has_grown_is_told(counts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "KEPT", tmp_path / "counts.json")
    row = dict.fromkeys(counts.COUNTED, 100)
    counts.keep({"small": row, "copy": row})
    counts.keep({"copy": {**row, "modules": 90}})
    assert counts.more_than_kept({"small": row, "copy": {**row, "modules": 90, "calls": 115}}) == []
    assert counts.more_than_kept({"small": {**row, "modules": 101}, "copy": {**row, "calls": 116}}) == [
        "small: 101 modules, and 100 are kept in counts.json",
        "copy: 100 modules, and 90 are kept in counts.json",
        "copy: 116 calls, and 100 are kept in counts.json",
    ]
    assert counts.more_than_kept({"new": row}) == ["new: nothing is kept in counts.json"]
    whole = json.loads(counts.KEPT.read_text())
    counts.KEPT.write_text(json.dumps({**whole, "python": "3.0"}))
    assert counts.more_than_kept({"small": row}) == [
        f"the counts in counts.json are those of Python 3.0; this is {counts.PYTHON}"
    ]


def test_only_what_is_installed_with_it_can_be_imported() -> None:
    finder = f"runpy.run_path({str(COUNTS.with_name('alone.py'))!r})['Nothing']()"
    script = f"import runpy, sys; sys.meta_path.insert(0, {finder}); import json, httpx, pytest"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'pytest'"
