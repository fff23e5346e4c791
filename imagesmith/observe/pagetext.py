"""Words and numbers as the pages of HTML have them.

Trust: names are those of Dockerfiles and images; every one is escaped here, wherever a page shows it.
"""

from __future__ import annotations

import html

__all__ = ["size", "text"]


def text(value: str) -> str:
    """Text for HTML: escaped, control characters shown."""
    shown = "".join(
        c if c.isprintable() else " " if c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in value
    )
    return html.escape(shown)


def size(count: int) -> str:
    """A number of bytes for people."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"
