"""The tables that are printed: a group of columns for each builder, a line for each workload.

`ratio` is the first builder's wall time over the other's, run by run, and the median of those; `cpu ratio`
is the same of CPU seconds, and `started` that of wall time where the other's start counts.
"""

from __future__ import annotations

import statistics

from measuring import Figures, Row


def table(rows: dict[str, Row], goals: dict[str, str]) -> str:
    """The text for rows that have the same builders."""
    own, *others = next(iter(rows.values()))
    groups = [(own, ["s", "cpu s", "MiB"])]
    for other in others:
        started = ["started"] if any(any(row[other].start_s) for row in rows.values()) else []
        groups.append((other, ["s", "cpu s", "ratio", "cpu ratio", *started]))
    lines = [["workload", *(head for _, heads in groups for head in heads), "goal"]]
    for label, row in rows.items():
        cells = [label, _median(row[own].wall_s), _median(row[own].cpu_s), _peak(row[own])]
        for other, heads in groups[1:]:
            cells += _compared(row[own], row[other])[: len(heads)]
        lines.append([*cells, goals.get(label.partition("@")[0], "")])
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    above, at = " " * widths[0], 1
    for name, heads in groups:
        across = sum(widths[at : at + len(heads)]) + 2 * len(heads)
        above += f" {name} ".center(across - 2, "-").rjust(across)
        at += len(heads)
    below = [
        "  ".join(c.rjust(w) if n else c.ljust(w) for n, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    ]
    return "\n".join([above, *below])


def failures(rows: dict[str, Row]) -> list[str]:
    """A line for each builder that could not build something."""
    return [
        f"{label}: {b} failed: {f.failed}" for label, row in rows.items() for b, f in row.items() if f.failed
    ]


def _compared(own: Figures, other: Figures) -> list[str]:
    started = [a + b for a, b in zip(other.wall_s, other.start_s, strict=True)]
    return [
        _median(other.wall_s), _median(other.cpu_s), _ratio(own.wall_s, other.wall_s),
        _ratio(own.cpu_s, other.cpu_s), _ratio(own.wall_s, started),
    ]  # fmt: skip


def _peak(figures: Figures) -> str:
    return f"{max(figures.peak_mib):.0f}" if figures.peak_mib else "-"


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.2f}" if values else "-"


def _ratio(own: list[float], other: list[float]) -> str:
    pairs = [a / b for a, b in zip(own, other, strict=False) if b]
    return f"{statistics.median(pairs):.2f}" if pairs else "-"
