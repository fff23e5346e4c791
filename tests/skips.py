"""Which tests may skip themselves in CI: the rows of skips.txt, each with who skips it and the reason.

Any other skip is a failure there: a sandbox that is broken or a tool that is missing would go unseen.
CI runs the tests as root, and those marked `everyone` also as a user with lent ids and as one without. What
one of them skips must be run by another, or be nobody's to run; a row says so by naming who.
"""

from __future__ import annotations

import functools
import os
import pwd
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import in_ci

__all__ = ["WHO", "Row", "allowed", "pytest_make_collect_report", "pytest_runtest_makereport", "rows", "who"]

#: Who runs the tests.
WHO = ("root", "lent", "one")


@dataclass(frozen=True)
class Row:
    """Who may skip which tests, and the reason that they give; `*` stands for anything."""

    who: frozenset[str]
    test: str
    reason: str


@functools.cache
def rows() -> tuple[Row, ...]:
    """The rows of the list: WHO[,WHO] TEST: REASON."""
    found = []
    for line in (Path(__file__).parent / "skips.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            who, rest = line.split(maxsplit=1)
            test, _, reason = rest.partition(": ")
            found.append(Row(frozenset(who.split(",")), test.strip(), reason.strip()))
    return tuple(found)


@functools.cache
def who() -> str:
    """Who runs these tests."""
    if os.geteuid() == 0:
        return "root"
    lending = Path("/etc/subuid")
    names = lending.read_text().splitlines() if lending.exists() else []
    me = pwd.getpwuid(os.geteuid()).pw_name
    return "lent" if any(line.startswith(f"{me}:") for line in names) else "one"


def allowed(test: str, reason: str) -> bool:
    """Whether who runs these tests may skip one for a reason."""
    return any(who() in r.who and _fits(r.test, test) and _fits(r.reason, reason) for r in rows())


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip that is on no list fails."""
    return _listed((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """So does that of a whole file."""
    return _listed((yield))


def _listed(report: Any) -> Any:
    if in_ci() and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        if not allowed(report.nodeid, reason):
            report.outcome = "failed"
            report.longrepr = f"skipped in CI, and not in tests/skips.txt: {report.nodeid}: {reason}"
    return report
