"""What the tests of bake's language share: a scope of plain names, and what stands under an error's caret."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import pytest

from imagesmith.bake import hcl
from imagesmith.bake.evaluate import Budget, evaluate
from imagesmith.bake.functions.table import FUNCTIONS
from imagesmith.bake.nodes import Expr
from imagesmith.bake.places import Source, Span, fault
from imagesmith.bake.values import Value
from imagesmith.errors import DefinitionError

__all__ = ["Names", "expr_of", "marked", "n", "refused", "value_of"]


class Names:
    """A scope: values by name, and the functions that every bake file has."""

    def __init__(self, values: Mapping[str, Value] | None = None) -> None:
        self._values = values or {}

    def value(self, name: str, span: Span) -> Value:
        if name not in self._values:
            raise fault(span, f"there is no variable {name}")
        return self._values[name]

    def function(self, name: str) -> Callable[[Sequence[Value]], Value] | None:
        return FUNCTIONS.get(name)


def n(text: str | int) -> Decimal:
    """A number."""
    return Decimal(text)


def expr_of(text: str) -> Expr:
    """The expression of an attribute that is given this text."""
    return hcl.parse(Source("docker-bake.hcl", f"x = {text}\n")).attributes["x"].expr


def value_of(text: str, budget: Budget | None = None, **values: Value) -> Value:
    """The value of an expression, with some variables."""
    return evaluate(expr_of(text), Names(values), budget)


def marked(error: DefinitionError) -> str:
    """The characters under an error's caret."""
    return error.source.split("\n")[error.line - 1][error.column : error.end]


def refused(text: str, **values: Value) -> tuple[str, str]:
    """The message of an expression that is wrong, and what its caret is under."""
    with pytest.raises(DefinitionError) as caught:
        value_of(text, **values)
    assert caught.value.file == "docker-bake.hcl"
    assert "\n" not in caught.value.message
    return caught.value.message, marked(caught.value)
