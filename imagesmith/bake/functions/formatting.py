"""`format` and `formatlist`: printf for the values of bake's language.

Spec: cty's stdlib: format.go, format_fsm.rl; Go's fmt for numbers (math/big's Format). Widths of strings
count grapheme clusters.
Trust: a width or precision is bounded before anything is padded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal

from imagesmith.bake.functions.calling import (
    CallError,
    Function,
    Parameter,
    anything,
    bounded,
    string,
)
from imagesmith.bake.functions.encodings import json_of
from imagesmith.bake.functions.graphemes import clusters
from imagesmith.bake.values import SetValue, Unsuitable, Value, flag_of, number_of, text_of
from imagesmith.values import frozen

__all__ = ["FUNCTIONS"]

_VERB = re.compile(
    r"%(?P<flags>[0#+ -]*)(?:\[(?P<at>[1-9][0-9]*)\])?(?P<width>[1-9][0-9]*)?(?:\.(?P<precision>[0-9]*))?"
    r"(?:\[(?P<late>[1-9][0-9]*)\])?(?P<mode>[a-zA-Z])"
)
_BASES = {"b": "b", "d": "d", "o": "o", "x": "x", "X": "X"}
_PREFIXES = {"b": "0b", "o": "0", "x": "0x", "X": "0X"}
_LARGEST = 100_000


@frozen(eq=False)
class _Verb:
    """One % sequence: how it is written, its flags, width and precision (-1 for none), its letter."""

    raw: str
    flags: str
    width: int
    precision: int
    mode: str

    def padded(self, text: str) -> str:
        """A text that is no number, as wide as is asked."""
        missing = self.width - len(clusters(text)) if self.width > 0 else 0
        if missing <= 0:
            return text
        pad = ("0" if "0" in self.flags else " ") * missing
        return text + pad if "-" in self.flags else pad + text


def _format(spec: str, *args: Value) -> Value:
    out: list[str] = []
    size, at, next_arg, used = 0, 0, 1, 0
    while at < len(spec):
        percent = spec.find("%", at)
        if percent < 0 or spec[percent + 1 : percent + 2] == "%":
            out.append(spec[at:] if percent < 0 else spec[at : percent + 1])
            at = len(spec) if percent < 0 else percent + 2
            continue
        out.append(spec[at:percent])
        found = _VERB.match(spec, percent)
        if found is None or (found["at"] and found["late"]):
            raise CallError(f"format: {spec[percent : percent + 12]!r} is no verb", 0)
        explicit = found["at"] or found["late"]
        number = _size(explicit, found[0]) if explicit else next_arg
        if number > len(args):
            raise CallError(f"{found[0]} needs value {number}, and there are {len(args)}", 0)
        out.append(_shown(_verb_of(found), args[number - 1], number))
        size += len(out[-1])
        bounded(characters=size)
        next_arg, used, at = number + 1, max(used, number), found.end()
    if used < len(args):
        raise CallError(f"{len(args)} values are given, and the format uses {used}", used + 1)
    return "".join(out)


def _verb_of(found: re.Match[str]) -> _Verb:
    width = _size(found["width"], found[0]) if found["width"] else -1
    precision = _size(found["precision"] or "0", found[0]) if found["precision"] is not None else -1
    return _Verb(found[0], found["flags"], width, precision, found["mode"])


def _size(digits: str, raw: str) -> int:
    if len(digits) > 6 or int(digits) > _LARGEST:
        raise CallError(f"format: a number in {raw[:20]} is larger than {_LARGEST}", 0)
    return int(digits)


def _shown(verb: _Verb, value: Value, argument: int) -> str:
    if value is None and verb.mode != "v":
        raise CallError(f"{verb.raw} cannot show null", argument)
    try:
        if verb.mode == "v":
            return verb.padded(_plain(verb, value))
        if verb.mode == "t":
            return text_of(flag_of(value))
        if verb.mode in "sq":
            return verb.padded(_text(verb, value))
        if verb.mode in _BASES:
            return _integer(verb, number_of(value))
        if verb.mode in "eEfgG":
            return _decimal(verb, number_of(value))
    except Unsuitable as e:
        raise CallError(f"{verb.raw}: {e}", argument) from e
    raise CallError(f"format: {verb.raw} has no verb that is known; one of v t b d o x X e E f g G s q", 0)


def _plain(verb: _Verb, value: Value) -> str:
    if "#" not in verb.flags and isinstance(value, str):
        return value
    if "#" not in verb.flags and isinstance(value, Decimal):
        return _general(value, -1)
    return json_of(value)


def _text(verb: _Verb, value: Value) -> str:
    text = text_of(value)
    text = "".join(clusters(text)[: verb.precision]) if verb.precision > 0 else text
    return json_of(text) if verb.mode == "q" else text


def _integer(verb: _Verb, value: Decimal) -> str:
    if value != value.to_integral_value():
        raise Unsuitable("a whole number is needed")
    digits = format(abs(int(value)), _BASES[verb.mode])
    if digits == "0" and verb.precision == 0:
        return ""
    sign = _sign(verb, value < 0)
    prefix = _PREFIXES.get(verb.mode, "") if "#" in verb.flags else ""
    zeros = max(verb.precision - len(digits), 0)
    missing = max(verb.width - len(sign + prefix + digits) - zeros, 0)
    left = right = 0
    if "-" in verb.flags:
        right = missing
    elif "0" in verb.flags and verb.precision < 0:
        zeros = missing
    else:
        left = missing
    return f"{' ' * left}{sign}{prefix}{'0' * zeros}{digits}{' ' * right}"


def _decimal(verb: _Verb, value: Decimal) -> str:
    sign, size = _sign(verb, value < 0), value.copy_abs()
    precision = 6 if verb.precision < 0 else verb.precision
    if verb.mode == "f":
        digits = format(size.quantize(Decimal(1).scaleb(-precision), context=_exact(size, precision)), "f")
    elif verb.mode in "eE":
        digits = _scientific(size, precision)
    else:
        digits = _general(size, verb.precision)
    digits = digits.upper() if verb.mode in "EG" else digits
    missing = max(verb.width - len(sign + digits), 0)
    if "-" in verb.flags:
        return f"{sign}{digits}{' ' * missing}"
    return f"{sign}{'0' * missing}{digits}" if "0" in verb.flags else f"{' ' * missing}{sign}{digits}"


def _sign(verb: _Verb, negative: bool) -> str:
    return "-" if negative else "+" if "+" in verb.flags else " " if " " in verb.flags else ""


def _exact(size: Decimal, places: int) -> Context:
    """How a number is rounded to places behind the point, however many digits that takes."""
    return Context(prec=max(size.adjusted(), 0) + places + 2, rounding=ROUND_HALF_EVEN)


def _scientific(size: Decimal, places: int) -> str:
    rounded = Context(prec=places + 1, rounding=ROUND_HALF_EVEN).plus(size)
    digits = "".join(map(str, rounded.as_tuple().digits)).ljust(places + 1, "0")[: places + 1]
    exponent = rounded.adjusted() if rounded else 0
    point = "." if places else ""
    return f"{digits[0]}{point}{digits[1:]}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"


def _general(value: Decimal, precision: int) -> str:
    """With an exponent below 1e-4, and from 1e6, or the precision, on; as short as may be without one."""
    sign, size = "-" if value < 0 else "", value.copy_abs()
    precision = max(precision, 1) if precision >= 0 else precision
    if precision > 0:
        size = Context(prec=precision, rounding=ROUND_HALF_EVEN).plus(size)
    digits = "".join(map(str, size.as_tuple().digits)).strip("0") if size else "0"
    exponent = size.adjusted() if size else 0
    limit = precision
    if precision > len(digits) >= exponent + 1:
        limit = len(digits)
    if precision < 0:
        limit = 6
    if exponent < -4 or exponent >= limit:
        return sign + _scientific(size, len(digits) - 1)
    return sign + text_of(size)


def _formatlist(spec: str, *args: Value) -> Value:
    lengths = {n: len(arg) for n, arg in enumerate(args, 1) if isinstance(arg, tuple | SetValue)}
    count = next(iter(lengths.values()), 1)
    for n, length in lengths.items():
        if length != count:
            raise CallError(f"a list of {length} elements beside one of {count}", n)
    columns = [tuple(arg) if isinstance(arg, tuple | SetValue) else (arg,) * count for arg in args]
    out: list[Value] = []
    size = 0
    for n in range(count):
        row: Sequence[Value] = [column[n] for column in columns]
        out.append(_format(spec, *row))
        size += len(str(out[-1]))
        bounded(characters=size)
    return tuple(out)


_FORMAT = (Parameter("format", string),)
_ARGS = Parameter("args", anything, null=True)

FUNCTIONS = (
    Function("format", _format, _FORMAT, _ARGS),
    Function("formatlist", _formatlist, _FORMAT, _ARGS),
)
