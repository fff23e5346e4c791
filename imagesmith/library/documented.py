"""Docstrings of functions that have arguments in common: these are told once, and stand in each.

Why: `help` of one function is to be enough, and a sentence that stands in thirty places is soon true in
twenty.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["documented"]

F = TypeVar("F", bound=Callable[..., Any])

_SHARED = {
    "platform": """which image of an index, as `linux/arm64`; by default this machine's.""",
    "credentials": """Credentials or a Token for the registries that the other arguments name, or a mapping
        from registries to them. No file of credentials is read or written then. By default those that
        `imagesmith login`, docker or podman keep.""",
    "insecure": """let all registries (True), or those that are named, speak plain HTTP or show any
        certificate.""",
    "policy": """the file of a policy of containers (policy.json) that images must meet; by default
        IMAGESMITH_POLICY's, `none` for none.""",
    "root": """the store's folder; by default that of the command.""",
    "events": """is called with what happens (imagesmith.events), from any thread; what it raises ends the
        work. See `start` for an iterator instead.""",
    "tag": """where the result goes: a name in its registry, or another place; by default the image's own
        repository, by digest. A bare name stays in the store if the image was found there.""",
    "push": """the result goes to the registry of its name, even if the image was found in the store.""",
    "created": """the time in the config and history, RFC 3339; by default now.""",
}


def documented(function: F) -> F:
    """Add to a function's docstring the arguments of its that are told here, at the end of its `Args:`."""
    if function.__doc__ is None:  # python -OO
        return function
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    lines = _clean(function.__doc__)
    args = _section(lines, "Args:")
    told = "\n".join(lines[slice(*args)]) if args else ""
    more = []
    for name in names:
        if name in _SHARED and not re.search(rf"(?<![\w`]){name}[,:]", told):
            text = " ".join(_SHARED[name].split())
            more.append(f"    {name}: {text}")
    if more:
        at = args[1] if args else _first_section(lines)
        head = [] if args else ["Args:"]
        lines[at:at] = [*head, *(wrapped for line in more for wrapped in _wrapped(line)), ""]
        if args:
            del lines[at - 1]  # the empty line stands behind the new ones now
    function.__doc__ = "\n".join(lines).rstrip() + "\n"
    return function


def _clean(text: str) -> list[str]:
    """The lines without the indentation of the source."""
    first, *rest = text.expandtabs().split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return [first.strip(), *(line[margin:].rstrip() for line in rest)]


def _section(lines: list[str], head: str) -> tuple[int, int] | None:
    """Where a section begins and where the next one does, or the end; the line before that is empty."""
    if head not in lines:
        return None
    begin = lines.index(head)
    end = begin + 1
    while end < len(lines) and (not lines[end] or lines[end].startswith(" ")):
        end += 1
    if end == len(lines) and lines[-1]:
        lines.append("")
        end += 1
    return begin, end


def _first_section(lines: list[str]) -> int:
    heads = ("Returns:", "Raises:", "Example:", "Yields:")
    found = [n for n, line in enumerate(lines) if line in heads]
    if found:
        return found[0]
    lines.append("")
    return len(lines)


def _wrapped(line: str) -> list[str]:
    """An argument's line in several, as wide as a terminal is."""
    out, words = [], line.split()
    now = "    " + words[0]
    for word in words[1:]:
        if len(now) + len(word) > 90:
            out.append(now)
            now = "       "
        now += f" {word}"
    return [*out, now]
