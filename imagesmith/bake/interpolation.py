"""`$V` and `${V:-d}` in the strings of compose files, and in `.env` files.

    $V ${V}   its value, empty where it is not set        $$   a dollar
    ${V:-d} ${V-d}   d where V is empty or unset; where it is unset
    ${V:+r} ${V+r}   r where V is set and not empty; where it is set; else nothing
    ${V:?e} ${V?e}   an error that says e where V is empty or unset; where it is unset

d, r and e may hold variables themselves. A value is taken as it is: what looks like a variable there is none.
Spec: compose-spec's 12-interpolation.md; compose-go's template, whose words the errors have.
Trust: the text is hostile, so its depth and what it grows to have limits; the values are the user's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from imagesmith.bake.values import Unsuitable

__all__ = ["BadTemplate", "interpolated"]

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_BRACES = re.compile(r"\$\$|\$\{|\}")
_OPERATOR = re.compile(r":?[-+?]")
#: Variables within defaults within defaults.
_MOST_DEPTH = 50
#: Characters that one text may grow to.
_MOST_TEXT = 4 << 20
#: What a variable counts beside its characters: to look for it is work, too.
_EACH = 8


class BadTemplate(Unsuitable):
    """A text that cannot be expanded; `part` is what of it is to blame, as it is written."""

    def __init__(self, message: str, part: str) -> None:
        super().__init__(message)
        self.part = part


def interpolated(text: str, env: Mapping[str, str]) -> str:
    """The text with its variables expanded.

    Raises:
        BadTemplate: a `$` that begins no variable, one that must be set and is not, or too large a text.
    """
    return _Expansion(env).of(text, 0) if "$" in text else text


class _Expansion:
    """One text's expansion: it counts what was made."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env, self._made = env, 0

    def of(self, text: str, depth: int) -> str:
        out: list[str] = []
        at = 0
        while (dollar := text.find("$", at)) >= 0:
            out.append(text[at:dollar])
            value, at = self._one(text, dollar, depth)
            self._made += len(value) + _EACH
            if self._made > _MOST_TEXT:
                raise BadTemplate(
                    f"its variables make more than {_MOST_TEXT >> 20} MiB of it", text[dollar:at]
                )
            out.append(value)
        return "".join(out) + text[at:]

    def _one(self, text: str, dollar: int, depth: int) -> tuple[str, int]:
        """What stands at a dollar, and the offset behind it."""
        if text.startswith("$", dollar + 1):
            return "$", dollar + 2
        if found := _NAME.match(text, dollar + 1):
            return self._env.get(found[0], ""), found.end()
        if not text.startswith("{", dollar + 1):
            raise _invalid(text, dollar, dollar + 2)
        name = _NAME.match(text, dollar + 2)
        end = self._closing(text, dollar)
        if name is None or end < 0:
            raise _invalid(text, dollar, end + 1 if end >= 0 else len(text))
        if name.end() == end:
            return self._env.get(name[0], ""), end + 1
        operator = _OPERATOR.match(text, name.end(), end)
        if operator is None:
            raise _invalid(text, dollar, end + 1)
        if depth >= _MOST_DEPTH:
            said = f"variables stand within each other more than {_MOST_DEPTH} deep"
            raise BadTemplate(said, text[dollar : end + 1])
        value = self._chosen(name[0], operator[0], text[operator.end() : end], depth + 1)
        if value is None:
            said = self.of(text[operator.end() : end], depth + 1)
            what = f"required variable {name[0]} is missing a value{f': {said}' if said else ''}"
            raise BadTemplate(" ".join(what.split()), text[dollar : end + 1])
        return value, end + 1

    def _count(self, count: int, part: str) -> None:
        self._made += count
        if self._made > _MOST_TEXT:
            raise BadTemplate(f"its variables make more than {_MOST_TEXT >> 20} MiB of it", part)

    def _closing(self, text: str, dollar: int) -> int:
        """The offset of the brace that closes the one behind a dollar; -1 where there is none."""
        depth = 0
        for looked, found in enumerate(_BRACES.finditer(text, dollar)):
            if found[0] == "${":
                depth += 1
            elif found[0] == "}":
                depth -= 1
                if depth == 0:
                    self._count(looked, text[dollar : found.end()])
                    return found.start()
        return -1

    def _chosen(self, name: str, operator: str, word: str, depth: int) -> str | None:
        """The value by an operator; None where the variable is required and missing."""
        value = self._env.get(name)
        there = bool(value) if operator[0] == ":" else value is not None
        match operator[-1]:
            case "-":
                return value if there else self.of(word, depth)
            case "+":
                return self.of(word, depth) if there else ""
        return value if there else None


def _invalid(text: str, start: int, end: int) -> BadTemplate:
    part = text[start:end]
    shown = part if len(part) <= 60 else f"{part[:60]}…"
    return BadTemplate(f"invalid template: {shown!r} is no variable; a dollar itself is $$", part)
