"""Regular expressions of Go's, run over a text in bounded time.

Why a machine of our own: see re2syntax.py. It goes back as Perl's do, and remembers each choice at each place
that it has been at, so that none is tried twice: the work is at most steps times characters.
Spec: leftmost match, first alternative; an empty match right behind another match is none, as in Go's regexp.
Trust: patterns and texts may be hostile; the work of a search is counted, and refused beyond _MOST_WORK.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagesmith.bake.functions.calling import CallError
from imagesmith.bake.functions.re2classes import Wrong
from imagesmith.bake.functions.re2syntax import Program, compiled

__all__ = ["Match", "Pattern"]

#: Where each group begins and ends, the whole first; None for a group that took no part.
Match = tuple[tuple[int, int] | None, ...]

#: Steps of the machine for all matches in one text: less than a second, and some tens of MiB.
_MOST_WORK = 1_000_000


class Pattern:
    """A pattern, ready to be searched for."""

    def __init__(self, pattern: str, argument: int) -> None:
        """Read a pattern; `argument` is which argument of the function it is.

        Raises:
            CallError: it is none of Go's, or too large.
        """
        try:
            self._program: Program = compiled(pattern)
        except Wrong as e:
            raise CallError(f"pattern: {e}", argument) from e
        self._argument = argument
        self._work = 0

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups, "" for one without a name."""
        return self._program.groups

    @property
    def size(self) -> int:
        """How many steps the pattern has."""
        return len(self._program.steps)

    def matches(self, text: str) -> Iterator[Match]:
        """All matches that do not overlap, from left to right.

        Raises:
            CallError: the search takes too long.
        """
        self._work = 0
        at, behind = 0, -1
        while at <= len(text):
            found = self._search(text, at)
            if found is None:
                return
            assert found[0] is not None
            start, end = found[0]
            if end > start or start != behind:
                yield found
            at, behind = (end + 1 if end == start else end), end

    def _search(self, text: str, start: int) -> Match | None:
        tried: set[int] = set()
        for at in range(start, len(text) + 1):
            found = self._match(text, at, tried)
            if found is not None:
                return found
        return None

    def _match(self, text: str, start: int, tried: set[int]) -> Match | None:
        """The match that begins at a place; `tried` has the choices of earlier places as well."""
        steps, size, places = self._program.steps, len(text), len(text) + 1
        slots: list[int] = [-1] * (2 * len(self.groups) + 2)
        work = self._work
        # what is left to try: a step and a place, or -1 - slot and what it held before
        stack: list[tuple[int, int]] = [(0, start)]
        while stack:
            step, at = stack.pop()
            if step < 0:
                slots[-1 - step] = at
                continue
            while True:
                work += 1
                kind, what, other = steps[step]
                if kind == "char":
                    if at >= size or not what(text[at]):
                        break
                    step, at = step + 1, at + 1
                elif kind == "split":
                    key = step * places + at
                    if key in tried:
                        break
                    tried.add(key)
                    stack.append((other, at))
                    step = what
                elif kind == "jump":
                    step = what
                elif kind == "save":
                    stack.append((-1 - what, slots[what]))
                    slots[what] = at
                    step += 1
                elif kind == "assert":
                    if not _holds(what, text, at):
                        break
                    step += 1
                else:
                    self._work = work
                    slots[0], slots[1] = start, at
                    pairs = zip(slots[::2], slots[1::2], strict=True)
                    return tuple((a, b) if a >= 0 and b >= 0 else None for a, b in pairs)
            if work > _MOST_WORK:
                raise CallError("pattern: the search takes too long in this text", self._argument)
        self._work = work
        return None


def _holds(what: str, text: str, at: int) -> bool:
    """Whether an assertion holds between two characters."""
    match what:
        case "start":
            return at == 0
        case "end":
            return at == len(text)
        case "line-start":
            return at == 0 or text[at - 1] == "\n"
        case "line-end":
            return at == len(text) or text[at] == "\n"
    before = at > 0 and _is_word(text[at - 1])
    return (before != (at < len(text) and _is_word(text[at]))) == (what == "word")


def _is_word(char: str) -> bool:
    return char == "_" or (char.isascii() and char.isalnum())
