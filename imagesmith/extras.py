"""What brings an optional package: the command for the way in which imagesmith was installed.

Why: pip is refused on Debian and Ubuntu, and the pip on PATH knows no environment of pipx or uv.
"""

from __future__ import annotations

import sys

__all__ = ["how_to_get"]

#: The command before a name, by a part of the environment's path.
_WAYS = {"/pipx/venvs/": "pipx install --force", "/uv/tools/": "uv tool install"}


def how_to_get(extra: str) -> str:
    """The command that installs imagesmith with an extra, where this one is installed."""
    way = next((words for part, words in _WAYS.items() if part in f"{sys.prefix}/"), "pip install")
    return f"{way} 'imagesmith[{extra}]'"
