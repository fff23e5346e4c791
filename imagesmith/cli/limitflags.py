"""Flags for what one step, or `imagesmith run`, may take of memory and processors, as docker spells them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imagesmith.cli.flags import many, text_flag

if TYPE_CHECKING:
    from imagesmith.quotas import Limits

__all__ = ["add_limits", "limits_of", "resources_of"]

_FLAGS = (
    (("-m", "--memory"), "SIZE", "memory, as 512m or 2g"),
    (("--memory-swap",), "SIZE", "memory and swap together, -1 for no limit"),
    (("--cpus",), "N", "processors, as 2 or 0.5"),
    (("-c", "--cpu-shares"), "N", "weight against others, 1024 is usual"),
    (("--cpu-period",), "US", "the period of --cpu-quota, in microseconds"),
    (("--cpu-quota",), "US", "processors' time in each period"),
    (("--cpuset-cpus",), "LIST", "which processors, as 0-3 or 0,1"),
    (("--cpuset-mems",), "LIST", "which memory nodes"),
)


def add_limits(group: argparse._ArgumentGroup, *, resource: bool = False) -> None:
    """Declare them; with `resource` also --resource, which buildx has for all of them."""
    if resource:
        many(group, "--resource", metavar="KEY=VALUE", text="a limit of each RUN: memory=2g, cpus=1.5, …")
    for names, metavar, text in _FLAGS:
        text_flag(group, *names, metavar=metavar, text=text)


def limits_of(args: argparse.Namespace) -> Limits:
    """What they say; a flag of its own comes over --resource.

    Raises:
        UsageError: one cannot be, see limitoptions.py.
    """
    from imagesmith.quotas import Limits

    given = {names[-1]: getattr(args, names[-1][2:].replace("-", "_")) for names, _, _ in _FLAGS}
    own = (f"{name[2:]}={value}" for name, value in given.items() if value)
    words = [*getattr(args, "resource", ()), *own]
    if not words:  # as nearly always
        return Limits()
    from imagesmith.limitoptions import parse_limits

    return parse_limits(words)


def resources_of(limits: Limits) -> dict[str, str]:
    """The limits as a bake target's `resources` says them."""
    rows = {
        "memory": limits.memory_bytes, "memory-swap": limits.swap_bytes, "cpu-shares": limits.shares,
        "cpu-period": limits.period_us, "cpu-quota": limits.quota_us,
        "cpuset-cpus": limits.cpus, "cpuset-mems": limits.nodes,
    }  # fmt: skip
    return {key: str(value) for key, value in rows.items() if value}
