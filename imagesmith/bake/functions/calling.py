"""What a function of bake's language is: its parameters, how it is called, how it refuses.

Spec: cty's function package: arguments are converted to the parameters' kinds; null is refused unless a
parameter takes it; the last parameter may stand for any number of arguments.
Trust: arguments are whatever a bake file holds. What a function gives back is bounded, and a body that makes
much out of little asks `bounded` first.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping, Sequence

from imagesmith.bake.values import SetValue, Unsuitable, Value, flag_of, kind_of, number_of, text_of
from imagesmith.values import frozen

__all__ = [
    "MOST_CHARACTERS", "MOST_ITEMS", "CallError", "Function", "Kind", "Parameter", "anything", "boolean",
    "bounded", "costing", "integer", "items", "mapping", "number", "sequence", "string", "strings",
]  # fmt: skip

#: The longest text, and the longest list, that a function makes.
MOST_CHARACTERS = 4 << 20
MOST_ITEMS = 100_000


class CallError(Exception):
    """A call that is refused: the text, and the argument at fault, from 0, or None for the whole call."""

    def __init__(self, message: str, argument: int | None = None) -> None:
        super().__init__(message)
        self.message, self.argument = message, argument


#: Turns an argument into what a body takes, or raises Unsuitable.
Kind = Callable[[Value], Value]


@frozen(eq=False)
class Parameter:
    """One of a function's: its name in messages, what it takes, and whether null is among that."""

    name: str
    kind: Kind
    null: bool = False


@frozen(eq=False)
class Function:
    """A function by name: `body` gets converted arguments; `rest` stands for any number of further ones.

    `cost` says what a call takes beyond going through its arguments and its result once, in steps of a Budget
    (some two microseconds); it gets the arguments as they were given.
    """

    name: str
    body: Callable[..., Value]
    parameters: tuple[Parameter, ...] = ()
    rest: Parameter | None = None
    cost: Callable[[Sequence[Value]], int] | None = None

    def __call__(self, args: Sequence[Value]) -> Value:
        """The function's value.

        Raises:
            CallError: wrong in number or kind, or refused by the function.
        """
        self._counted(len(args))
        try:
            result = self.body(*(self._converted(n, arg) for n, arg in enumerate(args)))
            return self._bounded(result)
        except CallError as e:
            raise CallError(f"{self.name}: {e.message}", e.argument) from e
        except Unsuitable as e:
            raise CallError(f"{self.name}: {e}") from e
        except decimal.DivisionByZero as e:
            raise CallError(f"{self.name}: division by zero", len(args) - 1) from e
        except decimal.Overflow as e:
            raise CallError(f"{self.name}: the result is too large a number") from e
        except decimal.DecimalException as e:
            raise CallError(f"{self.name}: this has no result") from e
        except RecursionError as e:
            raise CallError(f"{self.name}: too deeply nested") from e

    def _counted(self, count: int) -> None:
        wanted = len(self.parameters)
        if count == wanted or (count > wanted and self.rest):
            return
        names = [p.name for p in self.parameters] + ([f"{self.rest.name}..."] if self.rest else [])
        some = f"{wanted} argument{'' if wanted == 1 else 's'}{' or more' if self.rest else ''}"
        listed = f" ({', '.join(names)})" if names else ""
        raise CallError(f"{self.name}: takes {some}{listed}, not {count}", wanted if count > wanted else None)

    def _converted(self, n: int, arg: Value) -> Value:
        parameter = self.parameters[n] if n < len(self.parameters) else self.rest
        assert parameter is not None
        if arg is None:
            if parameter.null:
                return None
            raise CallError(f"{parameter.name} is null", n)
        try:
            return parameter.kind(arg)
        except Unsuitable as e:
            raise CallError(f"{parameter.name}: {e}", n) from e

    def _bounded(self, result: Value) -> Value:
        if isinstance(result, str):
            bounded(characters=len(result))
        elif isinstance(result, tuple | SetValue):
            bounded(items=len(result))
        return result


def bounded(*, characters: int = 0, items: int = 0) -> None:
    """Refuse what would be too large, before it is made.

    Raises:
        CallError: more than MOST_CHARACTERS or MOST_ITEMS.
    """
    if characters > MOST_CHARACTERS:
        raise CallError(f"the result has {characters} characters, more than {MOST_CHARACTERS}")
    if items > MOST_ITEMS:
        raise CallError(f"the result has {items} elements, more than {MOST_ITEMS}")


def costing(steps: int, each: int = 0) -> Callable[[Sequence[Value]], int]:
    """A cost: so many steps for a call, and so many for each character of its texts."""

    def cost(args: Sequence[Value]) -> int:
        return steps + each * sum(len(arg) for arg in args if isinstance(arg, str))

    return cost


def anything(value: Value) -> Value:
    """Any value as it is."""
    return value


def string(value: Value) -> Value:
    """A string, or a number or bool as one."""
    return text_of(value)


def number(value: Value) -> Value:
    """A number, or a string that spells one."""
    return number_of(value)


def integer(value: Value) -> Value:
    """A whole number within 64 bits, or a string that spells one."""
    found = number_of(value)
    if found != found.to_integral_value():
        raise Unsuitable("a whole number is needed")
    if not -(1 << 63) <= found < 1 << 63:
        raise Unsuitable("the number does not fit into 64 bits")
    return found


def boolean(value: Value) -> Value:
    """A bool, or a string that spells one."""
    return flag_of(value)


def sequence(value: Value) -> Value:
    """A list, or a set as one."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, SetValue):
        return value.items
    raise Unsuitable(f"a list is needed, not a {kind_of(value)}")


def strings(value: Value) -> Value:
    """A list or set of strings as a list, its numbers and bools as strings."""
    found = sequence(value)
    assert isinstance(found, tuple)
    for n, item in enumerate(found):
        if item is None or isinstance(item, tuple | SetValue | Mapping):
            raise Unsuitable(f"element {n}: a string is needed, not a {kind_of(item)}")
    return tuple(text_of(item) for item in found)


def mapping(value: Value) -> Value:
    """A map."""
    if isinstance(value, Mapping):
        return value
    raise Unsuitable(f"a map is needed, not a {kind_of(value)}")


def items(value: Value) -> Value:
    """A list, set or map."""
    if isinstance(value, tuple | SetValue | Mapping):
        return value
    raise Unsuitable(f"a list, set or map is needed, not a {kind_of(value)}")
