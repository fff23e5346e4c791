"""Which names and functions an expression asks for, without working it out.

Why: values that need each other in a long row are worked out one after the other, not each within the one
that needs it; so how many there may be, and whether they are refused, does not depend on their order.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagesmith.bake import nodes
from imagesmith.bake.nodes import Expr
from imagesmith.values import field_names

__all__ = ["asked_by"]

#: Those that give names to some of their parts.
_BINDING = (nodes.ForTuple, nodes.ForMap, nodes.TemplateFor, nodes.Splat)
_KINDS = (
    nodes.Literal, nodes.Template, nodes.TemplateIf, nodes.Variable, nodes.GetAttr, nodes.Index, nodes.Call,
    nodes.Unary, nodes.Binary, nodes.Conditional, nodes.TupleExpr, nodes.MapExpr, *_BINDING,
)  # fmt: skip


def asked_by(expr: Expr) -> tuple[set[str], set[str]]:
    """The names that are not the expression's own, and the functions that it calls."""
    names: set[str] = set()
    functions: set[str] = set()
    todo: list[tuple[Expr, frozenset[str]]] = [(expr, frozenset())]
    while todo:
        at, bound = todo.pop()
        if isinstance(at, nodes.Variable) and at.name not in bound:
            names.add(at.name)
        if isinstance(at, nodes.Call):
            functions.add(at.name)
        own = bound
        if isinstance(at, nodes.Splat):
            own = bound | {at.item}
        elif isinstance(at, nodes.ForTuple | nodes.ForMap | nodes.TemplateFor):
            own = bound | {at.key, at.value}
        todo += ((part, bound if name in ("collection", "of") else own) for name, part in _parts(at))
    return names, functions


def _parts(expr: Expr) -> Iterator[tuple[str, Expr]]:
    """The expressions within one, each with the name of the field that has it."""
    for name in field_names(expr):
        todo = [getattr(expr, name)]
        while todo:
            value = todo.pop()
            if isinstance(value, tuple):
                todo += value
            elif isinstance(value, _KINDS):
                yield name, value
