r"""Regular expressions as Go writes them: from a pattern to a program of small steps.

Why our own: Python's `re` differs from RE2 in what $, \d, \b and empty matches mean, knows things that RE2
refuses, and can take forever on a short pattern. A program is run in bounded time by `re2.py`.
Spec: RE2's syntax as Go's regexp/syntax has it. Of `\p` general categories are known, and no scripts.
Trust: a pattern may be hostile: its length, depth and the size of its program are bounded.
"""

from __future__ import annotations

from typing import Any

from imagesmith.bake.functions.re2classes import Test, Wrong, class_at, escape_at, folded
from imagesmith.values import frozen

__all__ = ["Program", "Step", "compiled"]

_MOST_CHARACTERS = 10_000
_MOST_DEPTH = 100
_MOST_STEPS = 20_000
_MOST_TIMES = 1000
#: What one step does: char and its test, assert and its name, save and a slot, jump and a place, match,
#: split and two places of which the first is preferred.
Step = tuple[str, Any, Any]


@frozen(eq=False)
class Program:
    """Steps, and the names of the groups, "" for one without a name."""

    steps: tuple[Step, ...]
    groups: tuple[str, ...]


@frozen(eq=False)
class _Node:
    """A part of a pattern: `kind` is char, assert, group, seq, alt, repeat or empty."""

    kind: str
    parts: tuple[_Node, ...] = ()
    test: Test | str = ""
    least: int = 0
    most: int = -1
    greedy: bool = True

    @property
    def nullable(self) -> bool:
        """Whether it may match nothing."""
        match self.kind:
            case "char":
                return False
            case "alt":
                return any(p.nullable for p in self.parts)
            case "repeat":
                return not self.least or self.parts[0].nullable
        return all(p.nullable for p in self.parts)


def compiled(pattern: str) -> Program:
    """A pattern's program.

    Raises:
        Wrong: it is no pattern of Go's, or too large.
    """
    if len(pattern) > _MOST_CHARACTERS:
        raise Wrong(f"the pattern is longer than {_MOST_CHARACTERS} characters")
    parser = _Parser(pattern)
    node = parser.alternatives(0)
    if parser.at < len(pattern):
        raise Wrong("a ) that closes nothing")
    steps: list[Step] = []
    _emit(node, steps)
    steps.append(("match", None, None))
    return Program(tuple(steps), tuple(parser.groups))


def _emit(node: _Node, steps: list[Step]) -> None:
    if len(steps) > _MOST_STEPS:
        raise Wrong("the pattern is too large with its repetitions")
    match node.kind:
        case "char" | "assert":
            steps.append((node.kind, node.test, None))
        case "group":
            steps.append(("save", node.least * 2, None))
            _emit(node.parts[0], steps)
            steps.append(("save", node.least * 2 + 1, None))
        case "seq":
            for part in node.parts:
                _emit(part, steps)
        case "alt":
            _emit_alternatives(node.parts, steps)
        case "repeat":
            _emit_repeat(node, steps)


def _emit_alternatives(parts: tuple[_Node, ...], steps: list[Step]) -> None:
    jumps: list[int] = []
    for n, part in enumerate(parts):
        if n < len(parts) - 1:
            split = len(steps)
            steps.append(("split", split + 1, 0))
            _emit(part, steps)
            jumps.append(len(steps))
            steps.append(("jump", 0, None))
            steps[split] = ("split", split + 1, len(steps))
        else:
            _emit(part, steps)
    for at in jumps:
        steps[at] = ("jump", len(steps), None)


def _emit_repeat(node: _Node, steps: list[Step]) -> None:
    part, least, most = node.parts[0], node.least, node.most
    if most < 0 and not least and part.nullable:
        # (a|b*)* is ((a|b*)+)?: else a round that matches nothing would be taken for the whole
        _emit_optional(_Node("repeat", node.parts, "", 1, -1, node.greedy), 1, node.greedy, steps)
        return
    for _ in range(least - 1 if most < 0 and least else least):
        _emit(part, steps)
    if most >= 0:
        _emit_optional(part, most - least, node.greedy, steps)
    elif least:
        start = len(steps)
        _emit(part, steps)
        steps.append(_split(start, len(steps) + 1, node.greedy))
    else:
        split = len(steps)
        steps.append(("split", 0, 0))
        _emit(part, steps)
        steps.append(("jump", split, None))
        steps[split] = _split(split + 1, len(steps), node.greedy)


def _emit_optional(part: _Node, times: int, greedy: bool, steps: list[Step]) -> None:
    splits: list[int] = []
    for _ in range(times):
        splits.append(len(steps))
        steps.append(("split", 0, 0))
        _emit(part, steps)
    for at in splits:
        steps[at] = _split(at + 1, len(steps), greedy)


def _split(within: int, beyond: int, greedy: bool) -> Step:
    return ("split", within, beyond) if greedy else ("split", beyond, within)


def _times(node: _Node) -> int:
    """How often a part is repeated within, at most, by counts."""
    inner = max(map(_times, node.parts), default=1)
    return inner * max(node.least, node.most, 1) if node.kind == "repeat" else inner


def _digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _always(_: str) -> bool:
    return True


def _no_newline(char: str) -> bool:
    return char != "\n"


class _Parser:
    """Reads a pattern from left to right; `flags` are the ones in force, of i, m, s and U."""

    def __init__(self, pattern: str) -> None:
        self.text, self.at = pattern, 0
        self.flags: frozenset[str] = frozenset()
        self.groups: list[str] = []

    def _peek(self, count: int = 1) -> str:
        return self.text[self.at : self.at + count]

    def _take(self) -> str:
        char = self._peek()
        if not char:
            raise Wrong("the pattern ends too soon")
        self.at += 1
        return char

    def _taken(self, text: str) -> bool:
        if not self.text.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def alternatives(self, depth: int) -> _Node:
        """Everything up to the group's end."""
        if depth > _MOST_DEPTH:
            raise Wrong(f"groups are nested more than {_MOST_DEPTH} deep")
        before = self.flags
        found: list[_Node] = []
        while True:
            found.append(self._sequence(depth))
            if not self._taken("|"):
                break
        self.flags = before
        return found[0] if len(found) == 1 else _Node("alt", tuple(found))

    def _sequence(self, depth: int) -> _Node:
        parts: list[_Node] = []
        while (char := self._peek()) and char not in "|)":
            if char in "*+?" or (char == "{" and self._bounds(take=False)):
                if not parts or parts[-1].kind == "flags":
                    raise Wrong(f"nothing stands before {char}")
                parts[-1] = self._repeated(parts[-1])
            elif self._taken("\\Q"):
                end = self.text.find("\\E", self.at)
                quoted = self.text[self.at :] if end < 0 else self.text[self.at : end]
                self.at += len(quoted) + (2 if end >= 0 else 0)
                parts += map(self._literal, quoted)
            else:
                parts.append(self._atom(depth))
        return _Node("seq", tuple(p for p in parts if p.kind != "flags"))

    def _repeated(self, part: _Node) -> _Node:
        if part.kind == "repeat":
            raise Wrong("a repetition of a repetition needs a group")
        char = self._peek()
        if char == "{":
            least, most = self._bounds(take=True) or (0, 0)
        else:
            self.at += 1
            least, most = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}[char]
        greedy = self._taken("?") == ("U" in self.flags)
        if max(least, most) > 1 and _times(part) * max(least, most) > _MOST_TIMES:
            raise Wrong(f"repetitions within repetitions of more than {_MOST_TIMES} times")
        return _Node("repeat", (part,), "", least, most, greedy)

    def _bounds(self, *, take: bool) -> tuple[int, int] | None:
        """What {n}, {n,} or {n,m} says; None where the brace is an ordinary character."""
        end = self.text.find("}", self.at)
        inner = self.text[self.at + 1 : end] if 0 < end - self.at < 20 else ""
        first, comma, last = inner.partition(",")
        if not _digits(first) or (last and not _digits(last)):
            return None
        least = int(first)
        most = (int(last) if last else -1) if comma else least
        if max(least, most) > _MOST_TIMES or 0 <= most < least:
            raise Wrong(f"{{{inner}}} is no repetition of at most {_MOST_TIMES} times")
        if take:
            self.at = end + 1
        return least, most

    def _atom(self, depth: int) -> _Node:
        char = self._take()
        match char:
            case "(":
                return self._group(depth)
            case "[":
                test, self.at = class_at(self.text, self.at, folding="i" in self.flags)
                return _Node("char", test=test)
            case ".":
                return _Node("char", test=_always if "s" in self.flags else _no_newline)
            case "^":
                return _Node("assert", test="line-start" if "m" in self.flags else "start")
            case "$":
                return _Node("assert", test="line-end" if "m" in self.flags else "end")
            case "\\":
                found, self.at = escape_at(self.text, self.at, folding="i" in self.flags)
                return _Node("assert" if isinstance(found, str) else "char", test=found)
        return self._literal(char)

    def _literal(self, char: str) -> _Node:
        if "i" in self.flags:
            wanted = folded(char)
            return _Node("char", test=lambda c: folded(c) == wanted)
        return _Node("char", test=char.__eq__)

    def _group(self, depth: int) -> _Node:
        if not self._taken("?"):
            return self._captured("", depth)
        if self._taken("P<") or (
            self._peek() == "<" and self._peek(2) not in ("<=", "<!") and self._taken("<")
        ):
            end = self.text.find(">", self.at)
            name = self.text[self.at : end] if end >= 0 else ""
            if not name.isascii() or not name.replace("_", "a").isalnum():
                raise Wrong(f"{name[:30]!r} is no name of a group")
            if name in self.groups:
                raise Wrong(f"two groups are called {name[:30]!r}")
            self.at = end + 1
            return self._captured(name, depth)
        before, wanted = self.flags, True
        while (char := self._take()) not in ":)":
            if char == "-" and wanted:
                wanted = False
            elif char in "imsU":
                self.flags = self.flags | {char} if wanted else self.flags - {char}
            else:
                raise Wrong(f"(?{char} is not of RE2's syntax")
        if char == ")":
            return _Node("flags")
        inner = self.alternatives(depth + 1)
        self._closed()
        self.flags = before
        return _Node("seq", (inner,))

    def _captured(self, name: str, depth: int) -> _Node:
        self.groups.append(name)
        number = len(self.groups)
        inner = self.alternatives(depth + 1)
        self._closed()
        return _Node("group", (inner,), least=number)

    def _closed(self) -> None:
        if not self._taken(")"):
            raise Wrong("a ( that is not closed")
