"""Ranges of versions."""

from __future__ import annotations

import pytest

from imagesmith.copying.patterns import Tags
from imagesmith.errors import UsageError

TAGS = [
    "0.2.9", "0.3.0", "1", "1.2", "v1.2.3", "1.3.0-rc.2", "1.3.0-rc.10", "1.3.0", "1.10.0", "2.0.0+build",
    "2.1", "3-alpine", "latest", "1.2.3.4",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        (">=1.2 <2", "1.2 v1.2.3 1.3.0 1.10.0"),
        (">= 1.2, < 2", "1.2 v1.2.3 1.3.0 1.10.0"),
        ("^1.2.3", "v1.2.3 1.3.0 1.10.0"),
        ("^0.2", "0.2.9"),
        ("^0", "0.2.9 0.3.0"),
        ("~1.2", "1.2 v1.2.3"),
        ("~1", "1 1.2 v1.2.3 1.3.0 1.10.0"),
        ("1.2.x", "1.2 v1.2.3"),
        ("1.x || 2.1", "1 1.2 v1.2.3 1.3.0 1.10.0 2.1"),
        ("*", "0.2.9 0.3.0 1 1.2 v1.2.3 1.3.0 1.10.0 2.0.0+build 2.1"),
        (">1.2", "1.3.0 1.10.0 2.0.0+build 2.1"),
        ("<=1.2", "0.2.9 0.3.0 1 1.2 v1.2.3"),
        (">1.2.3 <=1.3.0", "1.3.0"),
        ("1.2 - 1.3", "1.2 v1.2.3 1.3.0"),
        (">=1.3.0-rc.3 <1.4", "1.3.0"),
        (">=1.3.0-rc.3 <1.4.0-0", "1.3.0-rc.10 1.3.0"),
        ("=1.3.0-rc.2", "1.3.0-rc.2"),
        (">1 !=1.3.0", "2.0.0+build 2.1"),
        ("=2.0.0", "2.0.0+build"),
    ],
)
def test_ranges_take_their_versions(text: str, chosen: str) -> None:
    assert Tags((f"semver:{text}",)).chosen(TAGS) == chosen.split()


@pytest.mark.parametrize("text", ["", "latest", ">=", "1.2.3.4", "^^1", "1 ||", "9" * 30, "1 " * 100, ">1;2"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="semver:"):
        Tags((f"semver:{text}",)).checked()
