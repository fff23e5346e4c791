"""How much a file may ask for while its expressions are worked out.

Why: a few lines can ask for more than any machine has: `for`s in each other, a text that doubles with every
line, lists that hold each other twice and so are small in memory and endless to whoever goes through them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from imagesmith.bake.functions.calling import MOST_CHARACTERS, MOST_ITEMS
from imagesmith.bake.places import Span, fault
from imagesmith.bake.values import SetValue, Value

__all__ = ["Budget"]

#: Expressions, elements and work of functions, together; characters of all texts that templates make; levels
#: of a value.
_STEPS = 2_000_000
_CHARACTERS = 16 * MOST_CHARACTERS
_LEVELS = 100
#: Values that ask for values that ask for values.
_NESTED = 40
#: Characters that a function goes through in the time of one step.
_CHARACTERS_A_STEP = 16


class Budget:
    """What is left for the expressions of a file; `spent` says that something was refused for it.

    One that is spent refuses everything: neither try() nor a `? :` goes on after it.
    """

    def __init__(self, steps: int = _STEPS, characters: int = _CHARACTERS) -> None:
        self.spent = False
        self._steps, self._characters, self._depth = steps, characters, 0

    def step(self, span: Span, count: int = 1) -> None:
        """One expression, or one element; or work that takes as long as so many.

        Raises:
            DefinitionError: there were too many.
        """
        self._steps -= count
        if self._steps < 0:
            self.refuse(span, "this takes too many steps to work out")

    def grow(self, characters: int, span: Span) -> None:
        """Characters of a text that is made.

        Raises:
            DefinitionError: there were too many.
        """
        self._characters -= characters
        if self._characters < 0:
            self.refuse(span, "the texts of this file become too long")

    @contextmanager
    def nested(self, span: Span) -> Iterator[None]:
        """While a value is worked out, for others perhaps.

        Raises:
            DefinitionError: too many are being worked out for each other.
        """
        if self._depth >= _NESTED:
            self.refuse(span, f"more than {_NESTED} values are needed for each other")
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def weigh(self, value: Value, span: Span) -> None:
        """Refuse a value that is too large or too deep to be gone through, lists that share parts included.

        What it holds counts as steps: whoever asks is about to go through it.

        Raises:
            DefinitionError: it is.
        """
        if isinstance(value, str):
            if len(value) > MOST_CHARACTERS:
                self.refuse(span, f"this text has {len(value)} characters, more than {MOST_CHARACTERS}")
            self.step(span, len(value) // _CHARACTERS_A_STEP)
            return
        if not isinstance(value, tuple | SetValue | Mapping):
            return
        items = characters = 0
        level: list[Value] = [value]
        for _ in range(_LEVELS):
            below: list[Value] = []
            for found in level:
                if isinstance(found, str):
                    characters += len(found)
                elif isinstance(found, tuple | SetValue):
                    items += len(found)
                    below.extend(found if items <= MOST_ITEMS else ())
                elif isinstance(found, dict):  # others work out what they hold when it is asked for
                    items += len(found)
                    below.extend(found.values() if items <= MOST_ITEMS else ())
                if items > MOST_ITEMS or characters > MOST_CHARACTERS:
                    self.refuse(span, "this value is too large")
            if not below:
                self.step(span, items + characters // _CHARACTERS_A_STEP)
                return
            level = below
        self.refuse(span, f"this value is deeper than {_LEVELS} levels")

    def refuse(self, span: Span, message: str) -> NoReturn:
        """Spend what is left, and say why."""
        self.spent, self._steps = True, -1
        raise fault(span, message)
