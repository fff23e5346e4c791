"""Functions that a definition declares: parameters, perhaps one for all that follow, and an expression.

Spec: buildx's bake reference (function); a function that needs itself is refused, as there.
Trust: an expression of somebody else's, under the budget of its definition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from imagesmith.bake.budget import Budget
from imagesmith.bake.evaluate import Scope, evaluate
from imagesmith.bake.functions.calling import CallError
from imagesmith.bake.nodes import Block, Expr, Literal, TupleExpr, Variable
from imagesmith.bake.places import Span, fault
from imagesmith.bake.values import Value

__all__ = ["UserFunction", "Within"]


class UserFunction:
    """A function of the file: parameters, perhaps one for all that follow, and an expression."""

    def __init__(self, name: str, block: Block, names: Scope, budget: Budget) -> None:
        self._name, self._block, self._names, self._budget = name, block, names, budget
        self._busy = False

    def check(self) -> None:
        """Look whether it can be called.

        Raises:
            DefinitionError: it cannot.
        """
        self.parts()

    def parts(self) -> tuple[list[str], str, Expr]:
        """Its parameters, the name for further arguments or nothing, and its expression.

        Raises:
            DefinitionError: it says none.
        """
        said = self._block.body.attributes
        if "params" not in said or "result" not in said:
            missing = "params" if "params" not in said else "result"
            raise fault(self._block.span, f"function {self._name} needs {missing}")
        params = said["params"].expr
        if not isinstance(params, TupleExpr):
            raise fault(params.span, "params is a list of names")
        rest = said.get("variadic_params")
        return [_name_of(p) for p in params.items], _name_of(rest.expr) if rest else "", said["result"].expr

    def __call__(self, args: Sequence[Value]) -> Value:
        """The value for some arguments.

        Raises:
            CallError: they are too few or too many, or it calls itself.
            DefinitionError: of its expression.
        """
        params, rest, result = self.parts()
        if len(args) < len(params):
            raise CallError(f"an argument is missing: {params[len(args)]}")
        if len(args) > len(params) and not rest:
            raise CallError(f"it takes {len(params)} arguments, not {len(args)}", len(params))
        if self._busy:
            raise CallError(f"function cycle not allowed for {self._name}")
        local: dict[str, Value] = dict(zip(params, args, strict=False))
        if rest:
            local[rest] = tuple(args[len(params) :])
        self._busy = True
        try:
            return evaluate(result, Within(self._names, local), self._budget)
        finally:
            self._busy = False


def _name_of(expr: Expr) -> str:
    if isinstance(expr, Variable):
        return expr.name
    if isinstance(expr, Literal) and isinstance(expr.value, str):  # JSON has them so
        return expr.value
    raise fault(expr.span, "a parameter is a name")


class Within(Scope):
    """Names of a function's arguments, or of a matrix, before those of the file; Scope."""

    def __init__(self, names: Scope, local: Mapping[str, Value]) -> None:
        self._names, self._local = names, local

    def value(self, name: str, span: Span) -> Value:
        """See Scope."""
        return self._local[name] if name in self._local else self._names.value(name, span)

    def function(self, name: str) -> Callable[[Sequence[Value]], Value] | None:
        """See Scope."""
        return self._names.function(name)
