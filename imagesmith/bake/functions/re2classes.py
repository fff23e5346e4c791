r"""What one character of a text has to be, for a class or an escape in a regular expression of Go's.

Spec: RE2's syntax: `[…]` with ranges, Perl's and POSIX's classes, which are ASCII's, `\p` with a general
category, and escapes of single characters.
Trust: patterns may be hostile; every step here goes forward.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

__all__ = ["Test", "Wrong", "class_at", "escape_at", "folded"]

Test = Callable[[str], bool]


class Wrong(Exception):
    """A pattern that is refused; the text says why."""


_SPACES = "\t\n\f\r "
_PERL: dict[str, Test] = {
    "d": lambda c: "0" <= c <= "9",
    "s": lambda c: c in _SPACES,
    "w": lambda c: c == "_" or (c.isascii() and c.isalnum()),
}
_POSIX: dict[str, Test] = {
    "alnum": lambda c: c.isascii() and c.isalnum(),
    "alpha": lambda c: c.isascii() and c.isalpha(),
    "ascii": str.isascii,
    "blank": lambda c: c in "\t ",
    "cntrl": lambda c: c < " " or c == "\x7f",
    "digit": _PERL["d"],
    "graph": lambda c: "!" <= c <= "~",
    "lower": lambda c: "a" <= c <= "z",
    "print": lambda c: " " <= c <= "~",
    "punct": lambda c: "!" <= c <= "~" and not c.isalnum(),
    "space": lambda c: c in "\t\n\v\f\r ",
    "upper": lambda c: "A" <= c <= "Z",
    "word": _PERL["w"],
    "xdigit": lambda c: c in "0123456789abcdefABCDEF",
}
_CATEGORIES = frozenset(
    major + minor
    for major, minors in (
        ("L", "ultmo"),
        ("M", "nce"),
        ("N", "dlo"),
        ("P", "cdseifo"),
        ("S", "mcko"),
        ("Z", "slp"),
        ("C", "cfos"),
    )
    for minor in ("", *minors)
)
_CONTROLS = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ASSERTIONS = {"A": "start", "z": "end", "b": "word", "B": "no-word"}
_OCTAL = "01234567"
_HEX = "0123456789abcdefABCDEF"
#: Characters beyond the pair of cases that are of it as well.
_KIN = {"k": "\u212a", "s": "\u017f", "\xe5": "\u212b"}


def folded(char: str) -> str:
    """What characters have in common that differ in case only."""
    for change in (str.lower, str.upper, str.lower):
        changed = change(char)
        char = changed if len(changed) == 1 else char
    return char


def escape_at(text: str, at: int, *, folding: bool) -> tuple[Test | str, int]:
    """What the characters behind a backslash stand for outside of a class, and where they end.

    Returns:
        a test of a character, or the name of an assertion.

    Raises:
        Wrong: the escape is none of RE2's.
    """
    char = text[at : at + 1]
    if char in _ASSERTIONS:
        return _ASSERTIONS[char], at + 1
    found = _shorthand(text, at)
    if found is not None:
        test, negated, end = found
        return _tested([], [test], negated, folding), end
    literal, end = _character(text, at - 1)
    return _tested([(literal, literal)], [], False, folding), end


def class_at(text: str, at: int, *, folding: bool) -> tuple[Test, int]:
    """The test of a class whose bracket is before `at`, and the place behind its end.

    Raises:
        Wrong: it is no class of RE2's.
    """
    negated = text.startswith("^", at)
    at += negated
    ranges: list[tuple[str, str]] = []
    tests: list[Test] = []
    first = True
    while first or not text.startswith("]", at):
        first = False
        if text.startswith("[:", at) and (end := text.find(":]", at)) >= 0:
            name = text[at + 2 : end]
            if name.removeprefix("^") not in _POSIX:
                raise Wrong(f"[:{name[:20]}:] is no class that is known")
            tests.append(_unless(_POSIX[name.removeprefix("^")], name[:1] == "^"))
            at = end + 2
            continue
        found = _shorthand(text, at + 1) if text.startswith("\\", at) else None
        if found is not None:
            tests.append(_unless(found[0], found[1]))
            at = found[2]
            continue
        low, at = _character(text, at)
        high = low
        if text.startswith("-", at) and not text.startswith("-]", at):
            high, at = _character(text, at + 1)
        if high < low:
            raise Wrong(f"the range {low}-{high} has its end before its beginning")
        ranges.append((low, high))
    return _tested(ranges, tests, negated, folding), at + 1


def _unless(test: Test, negated: bool) -> Test:
    return (lambda c: not test(c)) if negated else test


def _tested(ranges: list[tuple[str, str]], tests: list[Test], negated: bool, folding: bool) -> Test:
    def one(char: str) -> bool:
        return any(low <= char <= high for low, high in ranges) or any(test(char) for test in tests)

    def kin(char: str) -> bool:
        low = folded(char)
        cased = (c for c in (char.lower(), char.upper()) if len(c) == 1)
        return any(map(one, {char, low, _KIN.get(low, low), *cased}))

    if not folding and not tests and not negated and len(ranges) == 1:
        low, high = ranges[0]
        return low.__eq__ if low == high else lambda c: low <= c <= high
    return _unless(kin if folding else one, negated)


def _shorthand(text: str, at: int) -> tuple[Test, bool, int] | None:
    r"""A class such as \d or \pL, from behind its backslash: its test, whether it is negated, its end."""
    char = text[at : at + 1]
    if char and char in "dswDSW":
        return _PERL[char.lower()], char.isupper(), at + 1
    if not char or char not in "pP":
        return None
    negated, name, end = char == "P", text[at + 1 : at + 2], at + 2
    if name == "{":
        close = text.find("}", at)
        name, end = text[at + 2 : close] if close >= 0 else "", close + 1
        negated, name = negated != (name[:1] == "^"), name.removeprefix("^")
    if name == "Any":
        return lambda _: True, negated, end
    if name not in _CATEGORIES:
        raise Wrong(f"\\{char}{{{name[:20]}}} is no general category; scripts are not known here")
    return lambda c: unicodedata.category(c).startswith(name), negated, end


def _character(text: str, at: int) -> tuple[str, int]:
    """A single character, escaped or not, and the place behind it."""
    char = text[at : at + 1]
    if not char:
        raise Wrong("a [ that is not closed")
    if char != "\\":
        return char, at + 1
    char, at = text[at + 1 : at + 2], at + 2
    if not char:
        raise Wrong("a backslash at the end")
    if char in _CONTROLS:
        return _CONTROLS[char], at
    if char == "x":
        return _hexadecimal(text, at)
    if char == "0" or (char in _OCTAL and text[at : at + 1] and text[at] in _OCTAL):
        start = at - 1
        while at < start + 3 and text[at : at + 1] and text[at] in _OCTAL:
            at += 1
        return chr(int(text[start:at], 8)), at
    if char.isascii() and not char.isalnum():
        return char, at
    raise Wrong(f"\\{char} is not of RE2's syntax")


def _hexadecimal(text: str, at: int) -> tuple[str, int]:
    close = text.find("}", at) if text.startswith("{", at) else -1
    digits, end = (text[at + 1 : close], close + 1) if close >= 0 else (text[at : at + 2], at + 2)
    if (
        not digits
        or set(digits) - set(_HEX)
        or (close < 0 and len(digits) < 2)
        or len(digits.lstrip("0")) > 6
    ):
        raise Wrong(f"\\x{text[at : at + 10]} is no character")
    if int(digits, 16) > 0x10FFFF:
        raise Wrong(f"\\x{{{digits}}} is no character")
    return chr(int(digits, 16)), end
