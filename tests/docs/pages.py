"""Pages as tests read them: files that they list, and command lines that they show, in their order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import PROJECT

__all__ = ["PAGES", "Command", "Listing", "read"]

#: Every page that somebody wrote, README among them; those of the reference are made of the code.
PAGES = [
    PROJECT / "README.md",
    *sorted(p for p in (PROJECT / "docs").rglob("*.md") if not {"reference", "out"} & {*p.parts}),
]
#: A block of commands begins with one of these.
PROGRAMS = ("imagesmith", "echo", "pip", "pipx", "uv", "python3", "docker", "podman", "kubectl", "sudo")


@dataclass(frozen=True)
class Listing:
    """A file whose content the page shows."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A line of shell that the page shows, with what follows a last backslash; and where it begins."""

    text: str
    line: int
    #: What it ends with: 0, or what a remark behind it says, as `# status 4`.
    status: int = 0

    @property
    def program(self) -> str:
        """The program's name, behind variables that are set for it."""
        return next((word for word in self.text.split() if not re.match(r"[A-Z_]+=", word)), "")


def read(page: Path) -> list[Command | Listing]:
    """What there is to be done with a page, in its order."""
    return list(_read(page.read_text(encoding="utf-8").splitlines()))


def _read(lines: list[str]) -> Iterator[Command | Listing]:
    said = ""  # the paragraph before a block
    for first, language, block in _blocks(lines):
        before = [line for line in lines[: first - (language is not None)] if line.strip()]
        said = before[-1].strip() if before else ""
        named = re.search(r"`([^`]+)`:$", said)
        remark = re.fullmatch(r"(?:#|//) ([\w./-]+\.\w+|Dockerfile)", block[0]) if block else None
        if (language or "").startswith("{"):
            continue
        if named and language is not None:
            yield Listing(named[1], "\n".join(block) + "\n")
        elif remark and language is not None:
            yield Listing(remark[1], "\n".join(block) + "\n")
        elif language == "python":
            yield Command("python3 - <<'END'\n" + "\n".join(block) + "\nEND", first + 1)
        elif language in (None, "sh", "console"):
            yield from _commands(block, first)


def _blocks(lines: list[str]) -> Iterator[tuple[int, str | None, list[str]]]:
    """Blocks of code: the number of their first line from 0, their language if fenced, their lines."""
    at = 0
    while at < len(lines):
        line = lines[at]
        if fence := re.match(r"(`{3,})(.*)", line):
            end = next(n for n in range(at + 1, len(lines)) if lines[n].startswith(fence[1]))
            yield at + 1, fence[2].strip(), lines[at + 1 : end]
            at = end + 1
        elif line.startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            end = at
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield at, None, [text[4:] for text in lines[at:end]]
            at = end
        else:
            at += 1


def _commands(block: list[str], first: int) -> Iterator[Command]:
    joined, printed, start = "", False, first
    for number, line in enumerate(block, first + 1):
        if not joined:
            start = number
        joined += line
        if joined.endswith("\\"):
            joined = joined[:-1]
            continue
        text, joined = joined.strip(), ""
        if not text:
            printed = False
        if not text or printed:
            continue
        told = re.search(r"# status (\d+)", text)
        found = Command(text, start, int(told[1]) if told else 0)
        printed = found.program not in PROGRAMS  # what a command prints, or another language
        if not printed:
            yield found
