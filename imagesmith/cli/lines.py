"""Text of others as lines of ours: without control characters, and harmless in a CI's log.

Trust: names, words and logs are others'. Control characters are taken out of all that is shown, and in a CI's
log no line of theirs is a command to the program that runs the job.
"""

from __future__ import annotations

import os
import re
from typing import TextIO

from imagesmith.events import without_controls

__all__ = ["clean", "colours", "harmless", "harmless_json", "one_line", "size", "visible"]

#: Where it is set, lines of the log may be commands: of GitHub, Azure DevOps, TeamCity and their likes.
_RUNNERS = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD", "TEAMCITY_VERSION")
_ANYWHERE = r"##(?=\w*\[)"
_IN_JSON = r"(##\w*)\["
_AT_START = r"^(\s*):(?=:)"


def clean(text: str) -> str:
    """Text without escape sequences and control characters (a tab stays), and harmless in a CI's log."""
    text = without_controls(text)
    return re.sub(_ANYWHERE, "# #", text) if "##" in text and _in_ci() else text


def visible(name: str) -> str:
    """A file's name on one line, told apart from all others: what cannot be shown as hexadecimal bytes."""
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(
        c if c.isprintable() and c != "\\" else "".join(f"\\x{b:02x}" for b in os.fsencode(c)) for c in name
    )


def one_line(text: str) -> str:
    """The same on one line."""
    return " ".join(clean(text).splitlines())


def harmless(line: str) -> str:
    """A line for a log in which no runner of a CI finds a command.

    Spec: github.com/actions/runner, ActionCommand.cs: `::name::` at a line's start after blanks, and the
    older `##[name]` anywhere in it; Azure's `##vso[`, TeamCity's `##teamcity[`.
    """
    if ("##" not in line and "::" not in line) or not _in_ci():
        return line
    return re.sub(_AT_START, r"\1: ", re.sub(_ANYWHERE, "# #", line))


def harmless_json(text: str) -> str:
    """The same for JSON, which stays what it is: only strings hold what a command begins with."""
    return re.sub(_IN_JSON, r"\1\\u005b", text) if "##" in text else text


def _in_ci() -> bool:
    return any(os.environ.get(name) for name in _RUNNERS)


def colours(out: TextIO) -> bool:
    """Whether what is written there may have colours: NO_COLOR and FORCE_COLOR decide, else what it is."""
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR", "")
    if forced:
        return forced != "0"
    if os.environ.get("GITHUB_ACTIONS") or os.environ.get("GITLAB_CI"):
        return True
    return out.isatty() and os.environ.get("TERM") != "dumb"


def size(count: int) -> str:
    """A number of bytes as progress shows it."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f}{unit}" if unit == "B" else f"{value:.2f}{unit}"
        value /= 1000
    return f"{count}B"
