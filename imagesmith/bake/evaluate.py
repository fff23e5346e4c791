"""Work out an expression's value.

What HCL does and other languages do not: both sides of `&&` and `||` are worked out, and a mistake in one is
no mistake where the other decides; both results of `? :` become one type, and mistakes in the one that is not
taken are none; `[*]` of null is an empty list, and of a single value a list of it.
Spec: HCL's native syntax (hclsyntax/spec.md), with cty's operators.
Trust: a hostile file: a Budget bounds the steps, what is made, and how deep values are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from imagesmith.bake import nodes
from imagesmith.bake.budget import Budget
from imagesmith.bake.functions.calling import CallError, Function
from imagesmith.bake.nodes import Expr
from imagesmith.bake.operators import attribute, calculated, element, fitting, unary
from imagesmith.bake.places import Span, fault
from imagesmith.bake.types import convert, parse_type, type_of, unified
from imagesmith.bake.values import (
    SetValue,
    Unsuitable,
    Value,
    equal,
    flag_of,
    kind_of,
    text_of,
)
from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import DefinitionError

__all__ = ["LAZY", "Budget", "Scope", "evaluate"]

#: What is called like a function and is none, for it does not want all its arguments' values.
LAZY = ("try", "can", "convert")


class Scope(Protocol):
    """What an expression's names stand for."""

    def value(self, name: str, span: Span) -> Value:
        """A name's value; whoever lacks it raises a fault at the span."""

    def function(self, name: str) -> Callable[[Sequence[Value]], Value] | None:
        """A function; None if there is none of the name."""


def evaluate(expr: Expr, scope: Scope, budget: Budget | None = None) -> Value:
    """The value of an expression. Budgets are shared by what is worked out for one file.

    Raises:
        DefinitionError: with its place, for all that is wrong; and where the budget is spent.
    """
    budget = budget or Budget()
    with budget.nested(expr.span):
        try:
            value = _Evaluation(scope, budget, {}).value(expr)
        except RecursionError:
            budget.refuse(expr.span, "this goes too deep")
        budget.weigh(value, expr.span)
        return value


class _Evaluation:
    """Expressions under one scope, with the names of the `for`s around."""

    def __init__(self, scope: Scope, budget: Budget, names: Mapping[str, Value]) -> None:
        self._scope, self._budget, self._names = scope, budget, names

    def value(self, expr: Expr) -> Value:
        """The value of an expression of any kind."""
        self._budget.step(expr.span)
        return _WAYS[type(expr)](self, expr)

    def _with(self, names: Mapping[str, Value]) -> _Evaluation:
        return _Evaluation(self._scope, self._budget, {**self._names, **names})

    # --- names and literals -------------------------------------------------------------------

    def _literal(self, expr: nodes.Literal) -> Value:
        return expr.value

    def _variable(self, expr: nodes.Variable) -> Value:
        if expr.name in self._names:
            return self._names[expr.name]
        return self._scope.value(expr.name, expr.span)

    def _tuple(self, expr: nodes.TupleExpr) -> Value:
        return tuple(self.value(item) for item in expr.items)

    def _map(self, expr: nodes.MapExpr) -> Value:
        made: dict[str, Value] = {}
        for key, value in expr.items:
            made[self._key(key)] = self.value(value)
        return _sorted(made)

    def _key(self, expr: Expr) -> str:
        return fitting(text_of, self.value(expr), expr.span, "a key is a string")

    # --- templates ----------------------------------------------------------------------------

    def _template(self, expr: nodes.Template) -> Value:
        if len(expr.parts) == 1:
            return self.value(expr.parts[0])
        return self._joined((self._text(part) for part in expr.parts), expr.span)

    def _text(self, expr: Expr) -> str:
        return fitting(text_of, self.value(expr), expr.span, "this cannot stand in a string")

    def _joined(self, texts: Iterable[str], span: Span) -> str:
        made = []
        for text in texts:
            self._budget.grow(len(text), span)
            made.append(text)
        return "".join(made)

    def _template_if(self, expr: nodes.TemplateIf) -> Value:
        return self._text(expr.then if self._condition(expr.condition) else expr.otherwise)

    def _template_for(self, expr: nodes.TemplateFor) -> Value:
        each = self._each(expr.key, expr.value, expr.collection)
        return self._joined((inner._text(expr.body) for inner in each), expr.span)

    # --- operators ----------------------------------------------------------------------------

    def _unary(self, expr: nodes.Unary) -> Value:
        return unary(expr, self.value(expr.of))

    def _binary(self, expr: nodes.Binary) -> Value:
        """A row of operators is a deep tree to the left: worked out from its lower end, without recursion."""
        row = [expr]
        while isinstance(row[-1].left, nodes.Binary):
            row.append(row[-1].left)
        left: Value | DefinitionError = self._tried(row[-1].left)
        for found in reversed(row):
            self._budget.step(found.span)
            try:
                left = self._operated(found, left)
            except DefinitionError as e:
                if self._budget.spent:
                    raise
                left = e
        if isinstance(left, DefinitionError):
            raise left
        return left

    def _tried(self, expr: Expr) -> Value | DefinitionError:
        """A value, or the mistake that there is instead."""
        try:
            return self.value(expr)
        except DefinitionError as e:
            if self._budget.spent:
                raise
            return e

    def _operated(self, expr: nodes.Binary, left: Value | DefinitionError) -> Value:
        op, right = expr.op, self._tried(expr.right)
        if op in ("&&", "||"):
            return self._decided(expr, left, right)
        if isinstance(left, DefinitionError):
            raise left
        if isinstance(right, DefinitionError):
            raise right
        if op in ("==", "!="):
            for value, at in ((left, expr.left.span), (right, expr.right.span)):
                self._budget.weigh(value, at)
            return equal(left, right) is (op == "==")
        return calculated(expr, left, right)

    def _decided(
        self, expr: nodes.Binary, left: Value | DefinitionError, right: Value | DefinitionError
    ) -> bool:
        """`&&` and `||`: a side that decides hides a mistake on the other one."""
        deciding = expr.op == "||"
        mistake: DefinitionError | None = None
        decided = False
        for side, at in ((left, expr.left.span), (right, expr.right.span)):
            if isinstance(side, DefinitionError):
                mistake = mistake or side
            elif fitting(flag_of, side, at, f"unsuitable for {expr.op}") is deciding:
                decided = True
        if mistake is not None and not decided:
            raise mistake
        return deciding if decided else not deciding

    def _condition(self, expr: Expr) -> bool:
        return fitting(flag_of, self.value(expr), expr.span, "a condition is true or false")

    def _conditional(self, expr: nodes.Conditional) -> Value:
        then, otherwise = self._tried(expr.then), self._tried(expr.otherwise)
        taken, other = (then, otherwise) if self._condition(expr.condition) else (otherwise, then)
        if isinstance(taken, DefinitionError):
            raise taken
        if isinstance(other, DefinitionError) or taken is None or other is None:
            return taken
        if kind_of(taken) == kind_of(other) and isinstance(taken, str | bool | Decimal):
            return taken
        self._budget.weigh(taken, expr.span)
        self._budget.weigh(other, expr.span)
        common = unified([type_of(taken), type_of(other)])
        try:
            if common is not None:
                return convert(taken, common)
        except Unsuitable:
            pass
        kinds = f"{kind_of(taken)} and {kind_of(other)}"
        raise fault(expr.span, f"the results of ? : need one type, these are {kinds} of different types")

    # --- traversals ---------------------------------------------------------------------------

    def _get(self, expr: nodes.GetAttr) -> Value:
        return attribute(self.value(expr.of), expr.name, expr.span)

    def _index(self, expr: nodes.Index) -> Value:
        return element(expr, self.value(expr.of), self.value(expr.key))

    def _splat(self, expr: nodes.Splat) -> Value:
        of = self.value(expr.of)
        if of is None:
            return ()
        items = of if isinstance(of, tuple) else of.items if isinstance(of, SetValue) else (of,)
        return tuple(self._with({expr.item: item}).value(expr.each) for item in items)

    # --- for ----------------------------------------------------------------------------------

    def _each(self, key: str, value: str, collection: Expr) -> Iterator[_Evaluation]:
        """An evaluation for each element, which knows its names."""
        of = self.value(collection)
        pairs: Iterable[tuple[Value, Value]]
        if isinstance(of, Mapping):
            pairs = ((name, of[name]) for name in sorted(of))
        elif isinstance(of, tuple):
            pairs = ((Decimal(i), item) for i, item in enumerate(of))
        elif isinstance(of, SetValue):
            pairs = ((item, item) for item in of)
        else:
            raise fault(collection.span, f"for goes over a list, set or map, not a {kind_of(of)}")
        for name, item in pairs:
            self._budget.step(collection.span)
            yield self._with({key: name, value: item} if key else {value: item})

    def _for_tuple(self, expr: nodes.ForTuple) -> Value:
        each = self._each(expr.key, expr.value, expr.collection)
        condition = expr.condition
        return tuple(
            inner.value(expr.result) for inner in each if condition is None or inner._condition(condition)
        )

    def _for_map(self, expr: nodes.ForMap) -> Value:
        made: dict[str, Value] = {}
        groups: dict[str, list[Value]] = {}
        for inner in self._each(expr.key, expr.value, expr.collection):
            if expr.condition is not None and not inner._condition(expr.condition):
                continue
            name = inner._key(expr.name)
            result = inner.value(expr.result)
            if expr.grouped:
                groups.setdefault(name, []).append(result)
            elif name in made:
                hint = "... behind the result makes a list of all"
                raise fault(expr.name.span, f"two elements have the key {name}", hint=hint)
            else:
                made[name] = result
        return _sorted({name: tuple(results) for name, results in groups.items()} if expr.grouped else made)

    # --- calls --------------------------------------------------------------------------------

    def _call(self, expr: nodes.Call) -> Value:
        if expr.name in LAZY and not expr.spread:
            return self._lazy(expr)
        function = self._scope.function(expr.name)
        if function is None:
            raise fault(expr.name_span, f"there is no function {expr.name}{_nearest(expr.name)}")
        args = [self.value(arg) for arg in expr.args]
        if expr.spread:
            last = args.pop()
            if not isinstance(last, tuple | SetValue):
                raise fault(expr.args[-1].span, f"... needs a list, not a {kind_of(last)}")
            args.extend(last)
        for arg in args:
            self._budget.weigh(arg, expr.span)
        if isinstance(function, Function) and function.cost is not None:
            self._budget.step(expr.span, function.cost(args))
        try:
            result = function(args)
        except CallError as e:
            at = expr.span if e.argument is None else expr.args[min(e.argument, len(expr.args) - 1)].span
            raise fault(at, str(e)) from None
        self._budget.weigh(result, expr.span)
        return result

    def _lazy(self, expr: nodes.Call) -> Value:
        if expr.name == "convert":
            return self._convert(expr)
        if not expr.args or (expr.name == "can" and len(expr.args) != 1):
            wanted = "one expression" if expr.name == "can" else "an expression, or several"
            raise fault(expr.span, f"{expr.name} takes {wanted}")
        found: Value | DefinitionError = None
        for arg in expr.args:
            found = self._tried(arg)
            if not isinstance(found, DefinitionError):
                return True if expr.name == "can" else found
        if expr.name == "can":
            return False
        raise fault(expr.span, f"try: no expression has a value; the last: {found}")

    def _convert(self, expr: nodes.Call) -> Value:
        if len(expr.args) != 2:
            raise fault(expr.span, "convert takes a value and a type")
        value, wanted = self.value(expr.args[0]), parse_type(expr.args[1])
        self._budget.weigh(value, expr.span)
        try:
            return convert(value, wanted)
        except Unsuitable as e:
            raise fault(expr.args[0].span, f"convert: {e}") from None


def _nearest(name: str) -> str:
    """The nearest name of a function."""
    from imagesmith.bake.functions.table import FUNCTIONS

    return suggest(name, [*FUNCTIONS, *LAZY])


def _sorted(made: dict[str, Value]) -> Value:
    return {key: made[key] for key in sorted(made)}


_WAYS: dict[type, Callable[[_Evaluation, Any], Value]] = {
    nodes.Literal: _Evaluation._literal, nodes.Variable: _Evaluation._variable,
    nodes.Template: _Evaluation._template, nodes.TemplateIf: _Evaluation._template_if,
    nodes.TemplateFor: _Evaluation._template_for, nodes.TupleExpr: _Evaluation._tuple,
    nodes.MapExpr: _Evaluation._map, nodes.ForTuple: _Evaluation._for_tuple,
    nodes.ForMap: _Evaluation._for_map, nodes.Unary: _Evaluation._unary, nodes.Binary: _Evaluation._binary,
    nodes.Conditional: _Evaluation._conditional, nodes.GetAttr: _Evaluation._get,
    nodes.Index: _Evaluation._index, nodes.Splat: _Evaluation._splat, nodes.Call: _Evaluation._call,
}  # fmt: skip
