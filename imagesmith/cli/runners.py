"""What the logs of CIs show beyond lines: sections that can be folded, and remarks at a line of a file.

Spec: docs.github.com, "Workflow commands for GitHub Actions" (`::group::`, `::error file=…,line=…::`);
docs.gitlab.com, "Custom collapsible sections" (`section_start:TIME:NAME[collapsed=true]`).
Trust: what others wrote is escaped as GitHub's runner wants it: a command ends with its line.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.cli.lines import one_line

if TYPE_CHECKING:
    from imagesmith.request import BuildRequest

__all__ = ["Sections", "path_of", "remark"]

_CLEAR = "\x1b[0K"


class Sections:
    """Marks where a section begins and ends; they do not nest, so at most one is open."""

    def __init__(self, kind: str) -> None:
        """Prepare: `kind` is github or gitlab."""
        self._kind, self._open, self._count = kind, "", 0

    def begin(self, number: int, title: str) -> str:
        """What begins the section of a step."""
        self._count += 1
        self._open = f"step_{number}_{self._count}"  # a step may have several, and names are unique
        if self._kind == "github":
            return f"::group::{_data(title)}\n"
        return f"{_CLEAR}section_start:{int(time.time())}:{self._open}[collapsed=true]\r{_CLEAR}{title}\n"

    def end(self) -> str:
        """What ends the section that is open, if one is."""
        name, self._open = self._open, ""
        if not name:
            return ""
        if self._kind == "github":
            return "::endgroup::\n"
        return f"{_CLEAR}section_end:{int(time.time())}:{name}\r{_CLEAR}\n"


def remark(kind: str, text: str, *, file: str = "", line: int = 0, last: int = 0, title: str = "") -> str:
    """A line that makes GitHub show an error or a warning beside the line of a file that it is about.

    Args:
        kind: error or warning.
        text: what is wrong.
        file: where, as a path on this machine; empty where there is none.
        line, last: which lines of it, from 1.
        title: over the text.
    """
    words = [f"file={_property(_from_workspace(file))}"] if file else []
    words += [f"line={line}", f"endLine={max(line, last)}"] if line else []
    words += [f"title={_property(title)}"] if title else []
    return f"::{kind} {','.join(words)}::{_data(one_line(text))}\n"


def path_of(request: BuildRequest, name: str) -> str:
    """The path on this machine of the Dockerfile of that name; empty where it came from elsewhere."""
    if not os.path.isdir(request.context) or request.dockerfile == "-":
        return ""
    path = name if request.dockerfile is not None else os.path.join(request.context, name)
    return path if os.path.exists(path) else ""


def _from_workspace(file: str) -> str:
    """A path as the repository has it, if it is in there."""
    path, root = Path(file).absolute(), Path(os.environ.get("GITHUB_WORKSPACE") or ".").absolute()
    return str(path.relative_to(root)) if path.is_relative_to(root) else file


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(one_line(text)).replace(":", "%3A").replace(",", "%2C")
