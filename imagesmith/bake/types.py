"""Types: what a variable says it takes, what a value becomes by one, and what values have in common.

Values do not know whether they are a list or a tuple, a map or an object (bake/values.py); a type does, and
where HCL would refuse a list for a tuple, this takes it.
Spec: HCL's type expressions (ext/typeexpr) with `optional`, and cty's conversions and unification.
Trust: types and values are of a hostile file; both are no deeper than parser and
evaluator let them be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from imagesmith.bake import nodes
from imagesmith.bake.nodes import Expr
from imagesmith.bake.places import fault
from imagesmith.bake.values import (
    SetValue,
    Unsuitable,
    Value,
    flag_of,
    kind_of,
    number_of,
    set_of,
    text_of,
)
from imagesmith.values import field, frozen

__all__ = ["ANY", "BOOL", "NUMBER", "STRING", "Type", "convert", "parse_type", "type_of", "unified"]


@frozen
class Type:
    """A type: any, string, number, bool; list, set and map `of` one; tuple of `items`; object of `fields`.

    `optional` are the fields of an object that may be missing, each with what it then is.
    """

    kind: str
    of: Type | None = None
    items: tuple[Type, ...] = ()
    fields: Mapping[str, Type] = field(default_factory=dict)
    optional: Mapping[str, Value] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """As it is written in a file."""
        if self.of is not None:
            return f"{self.kind}({self.of.text})"
        if self.kind == "tuple":
            return f"tuple([{', '.join(item.text for item in self.items)}])"
        if self.kind != "object":
            return self.kind
        shown = (f"{name}={self._field_text(name)}" for name in self.fields)
        return f"object({{{', '.join(shown)}}})"

    def _field_text(self, name: str) -> str:
        text = self.fields[name].text
        return f"optional({text})" if name in self.optional else text


ANY, STRING, NUMBER, BOOL = Type("any"), Type("string"), Type("number"), Type("bool")
_SIMPLE = {t.kind: t for t in (ANY, STRING, NUMBER, BOOL)}
_COLLECTIONS = ("list", "set", "map")
_HINT = "types are string, number, bool, any, list(…), set(…), map(…), tuple([…]) and object({…})"


# --- what is written ------------------------------------------------------------------------------


def parse_type(expr: Expr) -> Type:
    """The type that an expression spells, as in `list(string)`.

    Raises:
        DefinitionError: it spells none.
    """
    if isinstance(expr, nodes.Variable) and expr.name in _SIMPLE:
        return _SIMPLE[expr.name]
    if isinstance(expr, nodes.Call) and not expr.spread:
        if expr.name in _COLLECTIONS:
            return Type(expr.name, of=parse_type(_only(expr)))
        if expr.name == "tuple":
            of = _only(expr)
            if not isinstance(of, nodes.TupleExpr):
                raise fault(of.span, "tuple takes its types in brackets: tuple([string, number])")
            return Type("tuple", items=tuple(parse_type(item) for item in of.items))
        if expr.name == "object":
            return _object(_only(expr))
        if expr.name == "optional":
            raise fault(expr.span, "only a field of an object can be optional")
    if isinstance(expr, nodes.Variable) and expr.name in _COLLECTIONS:
        raise fault(expr.span, f"{expr.name} needs the type of its elements: {expr.name}(string)")
    raise fault(expr.span, f"{expr.span.text.strip() or 'this'} is no type", hint=_HINT)


def _only(call: nodes.Call) -> Expr:
    if len(call.args) != 1:
        raise fault(call.span, f"{call.name} takes one argument, not {len(call.args)}")
    return call.args[0]


def _object(expr: Expr) -> Type:
    if not isinstance(expr, nodes.MapExpr):
        raise fault(expr.span, "object takes its fields in braces: object({name = string})")
    fields: dict[str, Type] = {}
    optional: dict[str, Value] = {}
    for key, of in expr.items:
        name = _constant(key)
        if not isinstance(name, str):
            raise fault(key.span, "a field's name is a name or a string")
        if name in fields:
            raise fault(key.span, f"the field {name} is there already")
        if isinstance(of, nodes.Call) and of.name == "optional":
            if len(of.args) not in (1, 2):
                raise fault(of.span, "optional takes a type, and perhaps a default")
            fields[name] = parse_type(of.args[0])
            optional[name] = _default(of.args[1], fields[name]) if len(of.args) == 2 else None
        else:
            fields[name] = parse_type(of)
    return Type("object", fields=fields, optional=optional)


def _default(expr: Expr, wanted: Type) -> Value:
    try:
        return convert(_constant(expr), wanted)
    except Unsuitable as e:
        raise fault(expr.span, f"the default is not of its type: {e}") from None


def _constant(expr: Expr) -> Value:
    """The value of an expression that asks nobody."""
    match expr:
        case nodes.Literal():
            return expr.value
        case nodes.TupleExpr():
            return tuple(_constant(item) for item in expr.items)
        case nodes.MapExpr():
            found = {str(_constant(key)): _constant(value) for key, value in expr.items}
            return {key: found[key] for key in sorted(found)}
        case nodes.Unary(op="-"):
            number = _constant(expr.of)
            if isinstance(number, Decimal):
                return -number
    raise fault(expr.span, "the default of an optional field is a constant")


# --- conversion -----------------------------------------------------------------------------------


def convert(value: Value, wanted: Type) -> Value:
    """A value as one of a type; null is of each.

    Raises:
        Unsuitable: it cannot be; the text begins with where in the value, if not at its top.
    """
    return _converted(value, wanted, "")


def _converted(value: Value, wanted: Type, path: str) -> Value:
    if value is None or wanted.kind == "any":
        return value
    if (simple := _PRIMITIVE.get(wanted.kind)) is not None:
        try:
            return simple(value)
        except Unsuitable as e:
            raise _unsuitable(path, str(e)) from None
    match wanted.kind:
        case "list":
            return tuple(_elements(value, wanted, path))
        case "set":
            return set_of(_elements(value, wanted, path))
        case "tuple":
            return _tuple(value, wanted, path)
        case "map":
            return _map(value, wanted, path)
    return _fields(value, wanted, path)


_PRIMITIVE: dict[str, Callable[[Value], Value]] = {"string": text_of, "number": number_of, "bool": flag_of}


def _unsuitable(path: str, text: str) -> Unsuitable:
    return Unsuitable(f"{path.removeprefix('.')}: {text}" if path else text)


def _sequence(value: Value, wanted: str, path: str) -> tuple[Value, ...]:
    if isinstance(value, tuple):
        return value
    if isinstance(value, SetValue):
        return value.items
    raise _unsuitable(path, f"a {wanted} is needed, not a {kind_of(value)}")


def _elements(value: Value, wanted: Type, path: str) -> list[Value]:
    items = _sequence(value, wanted.kind, path)
    of = _common(wanted, items, path)
    return [_converted(item, of, f"{path}[{i}]") for i, item in enumerate(items)]


def _common(wanted: Type, items: Sequence[Value], path: str) -> Type:
    """The type of a collection's elements: where it is any, what they have in common."""
    assert wanted.of is not None
    if wanted.of.kind != "any":
        return wanted.of
    of = unified([type_of(item) for item in items])
    if of is None:
        raise _unsuitable(path, f"the elements of a {wanted.kind} have one type")
    return of


def _tuple(value: Value, wanted: Type, path: str) -> Value:
    items = _sequence(value, "tuple", path)
    if len(items) != len(wanted.items):
        raise _unsuitable(path, f"{len(wanted.items)} elements are needed, not {len(items)}")
    pairs = enumerate(zip(items, wanted.items, strict=True))
    return tuple(_converted(item, of, f"{path}[{i}]") for i, (item, of) in pairs)


def _mapping(value: Value, wanted: str, path: str) -> Mapping[str, Value]:
    if isinstance(value, Mapping):
        return value
    article = "an" if wanted == "object" else "a"
    raise _unsuitable(path, f"{article} {wanted} is needed, not a {kind_of(value)}")


def _map(value: Value, wanted: Type, path: str) -> Value:
    found = _mapping(value, "map", path)
    of = _common(wanted, [found[key] for key in found], path)
    return {key: _converted(found[key], of, f"{path}.{key}") for key in sorted(found)}


def _fields(value: Value, wanted: Type, path: str) -> Value:
    found = _mapping(value, "object", path)
    made: dict[str, Value] = {}
    for name in sorted(wanted.fields):
        if name in found:
            made[name] = _converted(found[name], wanted.fields[name], f"{path}.{name}")
        elif name not in wanted.optional:
            raise _unsuitable(path, f"the field {name} is missing")
        if made.get(name) is None and name in wanted.optional:
            made[name] = wanted.optional[name]
    return made


# --- what values have in common -------------------------------------------------------------------


def type_of(value: Value) -> Type:
    """The type of a value: lists are tuples, maps are objects, null is any."""
    match value:
        case None:
            return ANY
        case bool():
            return BOOL
        case str():
            return STRING
        case Decimal():
            return NUMBER
        case tuple():
            return Type("tuple", items=tuple(type_of(item) for item in value))
        case SetValue():
            of = unified([type_of(item) for item in value])
            return ANY if of is None else Type("set", of=of)
        case dict():
            return Type("object", fields={key: type_of(value[key]) for key in value})
    return ANY  # what is worked out when it is asked for


def unified(types: Sequence[Type]) -> Type | None:
    """The type that values of all these types can be converted to; None if there is none."""
    known = [t for t in types if t.kind != "any"]
    if not known:
        return ANY
    if all(t == known[0] for t in known[1:]):
        return known[0]
    kinds = {t.kind for t in known}
    if kinds <= {"string", "number", "bool"}:
        return STRING if "string" in kinds else None
    if kinds == {"tuple"} and len({len(t.items) for t in known}) == 1:
        columns = [unified(column) for column in zip(*(t.items for t in known), strict=True)]
        if None not in columns:
            return Type("tuple", items=tuple(c for c in columns if c is not None))
    if kinds <= {"tuple", "list", "set"}:
        of = unified([inner for t in known for inner in (t.items if t.of is None else (t.of,))])
        return None if of is None else Type("set" if kinds == {"set"} else "list", of=of)
    if kinds <= {"object", "map"}:
        return _unified_maps(known, kinds)
    return None


def _unified_maps(known: list[Type], kinds: set[str]) -> Type | None:
    if kinds == {"object"} and all(t.fields.keys() == known[0].fields.keys() for t in known):
        fields = {name: unified([t.fields[name] for t in known]) for name in known[0].fields}
        if None not in fields.values():
            return Type("object", fields={name: t for name, t in fields.items() if t is not None})
    of = unified([inner for t in known for inner in (t.fields.values() if t.of is None else (t.of,))])
    return None if of is None else Type("map", of=of)
