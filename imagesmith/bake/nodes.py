"""A bake file as a tree: bodies of attributes and blocks, and expressions.

Spec: HCL2's native syntax (hclsyntax/spec.md); the JSON form gives the same tree.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.bake.places import Span
from imagesmith.bake.values import Value
from imagesmith.values import frozen

__all__ = [
    "Attribute", "Binary", "Block", "Body", "Call", "Conditional", "Expr", "ForMap", "ForTuple", "GetAttr",
    "Index", "Label", "Literal", "MapExpr", "Splat", "Template", "TemplateFor", "TemplateIf", "TupleExpr",
    "Unary", "Variable",
]  # fmt: skip


@frozen(eq=False)
class Literal:
    """A number, bool, null, or a string without templates."""

    span: Span
    value: Value


@frozen(eq=False)
class Template:
    """Parts that are joined to one string; of a single part that is no literal, its value as it is."""

    span: Span
    parts: tuple[Expr, ...]


@frozen(eq=False)
class TemplateIf:
    """`%{if C}…%{else}…%{endif}`."""

    span: Span
    condition: Expr
    then: Expr
    otherwise: Expr


@frozen(eq=False)
class TemplateFor:
    """`%{for K, V in COLLECTION}…%{endfor}`; `key` is empty where one name is given."""

    span: Span
    key: str
    value: str
    collection: Expr
    body: Expr


@frozen(eq=False)
class Variable:
    """A name by itself; `target` in `target.app.tags`, too."""

    span: Span
    name: str


@frozen(eq=False)
class GetAttr:
    """`of.name`; `of.0` is an Index."""

    span: Span
    of: Expr
    name: str


@frozen(eq=False)
class Index:
    """`of[key]`."""

    span: Span
    of: Expr
    key: Expr


@frozen(eq=False)
class Splat:
    """`of[*]…` or `of.*…`: `each` is worked out for every element, which it knows as Variable `item`.

    `item` is a name that no file can write.
    """

    span: Span
    of: Expr
    item: str
    each: Expr


@frozen(eq=False)
class Call:
    """`name(args)`; `name_span` is that of the name; with `spread` the last argument is a list of several."""

    span: Span
    name: str
    name_span: Span
    args: tuple[Expr, ...]
    spread: bool = False


@frozen(eq=False)
class Unary:
    """`-of` or `!of`."""

    span: Span
    op: str
    of: Expr


@frozen(eq=False)
class Binary:
    """`left op right`, op one of || && == != < <= > >= + - * / %."""

    span: Span
    op: str
    left: Expr
    right: Expr


@frozen(eq=False)
class Conditional:
    """`condition ? then : otherwise`."""

    span: Span
    condition: Expr
    then: Expr
    otherwise: Expr


@frozen(eq=False)
class TupleExpr:
    """`[a, b]`."""

    span: Span
    items: tuple[Expr, ...]


@frozen(eq=False)
class MapExpr:
    """`{a = 1, "b" = 2, (k) = 3}`; a bare name as key is a Literal."""

    span: Span
    items: tuple[tuple[Expr, Expr], ...]


@frozen(eq=False)
class ForTuple:
    """`[for K, V in COLLECTION: RESULT if CONDITION]`; `key` is empty where one name is given."""

    span: Span
    key: str
    value: str
    collection: Expr
    result: Expr
    condition: Expr | None


@frozen(eq=False)
class ForMap:
    """`{for K, V in COLLECTION: NAME => RESULT... if CONDITION}`; `grouped` for the dots."""

    span: Span
    key: str
    value: str
    collection: Expr
    name: Expr
    result: Expr
    condition: Expr | None
    grouped: bool


Expr = (
    Literal | Template | TemplateIf | TemplateFor | Variable | GetAttr | Index | Splat | Call | Unary | Binary
    | Conditional | TupleExpr | MapExpr | ForTuple | ForMap
)  # fmt: skip


@frozen(eq=False)
class Attribute:
    """`name = expr`; `span` is that of the name."""

    name: str
    span: Span
    expr: Expr


@frozen(eq=False)
class Label:
    """A block's label."""

    text: str
    span: Span


@frozen(eq=False)
class Block:
    """`type "label" { … }`; `span` is that of the type."""

    type: str
    labels: tuple[Label, ...]
    body: Body
    span: Span


@frozen(eq=False)
class Body:
    """Attributes by name, and blocks in order; `span` is the whole."""

    attributes: Mapping[str, Attribute]
    blocks: tuple[Block, ...]
    span: Span
