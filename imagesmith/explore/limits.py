"""Limits that an image must keep, for CI: its size, and what it wastes.

Spec: the three measures of dive's CI rules, by their names there, and two of ours: dive's share is of the
layers above the lowest, which are what a Dockerfile makes; ours is of all.
"""

from __future__ import annotations

from imagesmith.explore.model import Exploration
from imagesmith.values import frozen

__all__ = ["USUAL", "Limits", "Verdict", "judged"]


@frozen(kw_only=True)
class Limits:
    """What is allowed; None for no limit.

    size              most bytes of the layers as they are pulled
    wasted            most bytes that are hidden
    wasted_percent    most of them as a share of all bytes in layers, 0 to 100
    efficiency        least share of bytes that are shown, 0 to 1
    user_wasted       most hidden bytes as a share of those in the layers above the lowest, 0 to 1
    """

    size: int | None = None
    wasted: int | None = None
    wasted_percent: float | None = None
    efficiency: float | None = None
    user_wasted: float | None = None


#: Those that dive has where none are given.
USUAL = Limits(efficiency=0.9, user_wasted=0.1)


@frozen(kw_only=True)
class Verdict:
    """A limit and what was found; `unit` is bytes, percent or share."""

    name: str
    unit: str
    found: float
    limit: float
    kept: bool


def judged(model: Exploration, limits: Limits) -> tuple[Verdict, ...]:
    """Every limit that there is, held against an image."""
    percent = 100 * model.wasted / model.unpacked if model.unpacked else 0.0
    user = model.user_wasted / model.user_unpacked if model.user_unpacked else 0.0
    rows: tuple[tuple[str, str, float, float | None, bool], ...] = (
        ("size", "bytes", model.size, limits.size, True),
        ("wasted bytes", "bytes", model.wasted, limits.wasted, True),
        ("wasted share", "percent", percent, limits.wasted_percent, True),
        ("efficiency", "share", model.efficiency, limits.efficiency, False),
        ("share wasted above the lowest layer", "share", user, limits.user_wasted, True),
    )
    return tuple(
        Verdict(
            name=name,
            unit=unit,
            found=found,
            limit=limit,
            kept=found <= limit if is_most else found >= limit,
        )
        for name, unit, found, limit, is_most in rows
        if limit is not None
    )
