"""The listener: from which kernel on a wait for calls ends by itself."""

from __future__ import annotations

import pytest

from imagesmith.worker.sandbox.notify import _ends_waiting


@pytest.mark.parametrize(
    ("release", "ends"),
    [
        ("6.11.0", True),
        ("6.11-rc1", True),
        ("6.18.44-fc-v669", True),
        ("7.0", True),
        ("6.10.14-arch1", False),
        ("6.9", False),
        ("5.15.0-119-generic", False),
        ("4.18.0-553.el8_10.x86_64", False),
        ("strange", False),
        ("6", False),
        ("", False),
    ],
)
def test_wait_for_calls_ends_when_nobody_is_left(release: str, ends: bool) -> None:
    assert _ends_waiting(release) == ends
