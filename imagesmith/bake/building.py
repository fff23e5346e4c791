"""Make nodes of what the grammar found.

Why a loop and no recursion: a file of a megabyte may nest as deep as it is long. How deep nodes are is
counted while they are made, so that whoever walks them may recurse.
Trust: a hostile file; DEPTH is the limit.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from itertools import groupby
from typing import TYPE_CHECKING, Any

from imagesmith.bake import nodes
from imagesmith.bake.nodes import Attribute, Block, Body, Expr
from imagesmith.bake.pieces import Piece
from imagesmith.bake.places import Span, fault
from imagesmith.bake.values import ARITHMETIC, Value
from imagesmith.values import frozen

if TYPE_CHECKING:
    from lark import Token, Tree

__all__ = ["DEPTH", "ITEM", "built"]

#: Nodes are no deeper than this.
DEPTH = 200
#: The name of a splat's element, which no file can write.
ITEM = "*"
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None}


def built(piece: Piece, tree: Tree[Token]) -> Body | Expr:
    """The node of a tree.

    Raises:
        DefinitionError: it is too deep, or says the same name twice.
    """
    builder = _Builder(piece)
    #: Trees still to be made, each twice: first for its children, then for itself; and what was made.
    todo: list[tuple[Any, bool]] = [(tree, False)]
    done: list[tuple[Any, int]] = []
    while todo:
        found, ready = todo.pop()
        if not hasattr(found, "data"):
            done.append((found, 0))
        elif not ready:
            todo.append((found, True))
            todo.extend((child, False) for child in reversed(found.children))
        else:
            count = len(found.children)
            children = done[len(done) - count :]
            del done[len(done) - count :]
            depth = 1 + max((deep for _, deep in children), default=0)
            depth += count if found.data == "steps" else 0
            span = builder.span_of(found)
            if depth > DEPTH:
                raise fault(span, f"this is nested deeper than {DEPTH} levels")
            done.append((builder.make(found.data, span, [child for child, _ in children]), depth))
    result: Body | Expr = done[0][0]
    return result


@frozen(eq=False)
class _Step:
    """A step of a traversal: get, index, short_splat or splat, with its name or key."""

    kind: str
    span: Span
    what: Any


@frozen(eq=False)
class _ForEach:
    """The names of a `for`, that of the key empty where one is given, and what it goes over."""

    names: tuple[str, str, Expr]


class _Builder:
    """A function for each rule of the grammar: its children are made already, words among them."""

    def __init__(self, piece: Piece) -> None:
        self._piece = piece
        self._span = piece.span(0, 0)

    def make(self, rule: str, span: Span, children: list[Any]) -> Any:  # noqa: ANN401 - a node or a part of one
        if rule in ("splat", "short_splat"):
            return _Step(rule, span, None)
        self._span = span
        function: Callable[[list[Any]], Any] = getattr(self, f"_{rule}")
        return function(children)

    def span_of(self, tree: Tree[Token]) -> Span:
        meta = tree.meta
        return self._piece.span(0, 0) if meta.empty else self._piece.span(meta.start_pos, meta.end_pos)

    def _at(self, token: Token) -> Span:
        return self._piece.span(token.start_pos or 0, token.end_pos or 0)

    # --- bodies -------------------------------------------------------------------------------

    def _file(self, found: list[Any]) -> Body:
        body: Body = found[0]
        return Body(body.attributes, body.blocks, self._piece.span(0, len(self._piece.text)))

    def _body(self, found: list[Any]) -> Body:
        attributes: dict[str, Attribute] = {}
        blocks = []
        for item in found:
            if isinstance(item, Block):
                blocks.append(item)
            elif isinstance(item, Attribute):
                if other := attributes.get(item.name):
                    raise fault(item.span, f"{item.name} is set already, in line {other.span.line}")
                attributes[item.name] = item
        return Body(attributes, tuple(blocks), self._span)

    _inside = _body

    def _attribute(self, found: list[Any]) -> Attribute:
        return Attribute(str(found[0]), self._at(found[0]), found[-1])

    def _block(self, found: list[Any]) -> Block:
        name, *labels, body = [child for child in found if not _is(child, "LEFT_BRACE", "RIGHT_BRACE")]
        return Block(str(name), tuple(labels), Body(body.attributes, body.blocks, self._span), self._at(name))

    def _label(self, found: list[Any]) -> nodes.Label:
        texts = [str(child) for child in found if _is(child, "NAME", "TEXT")]
        return nodes.Label("".join(texts), self._span)

    def _expression(self, found: list[Any]) -> Expr:
        expr: Expr = found[0]
        return expr

    # --- operators ----------------------------------------------------------------------------

    def _conditional(self, found: list[Any]) -> Expr:
        condition, then, otherwise = _nodes(found)
        return nodes.Conditional(self._span, condition, then, otherwise)

    def _binary(self, found: list[Any]) -> Expr:
        return nodes.Binary(self._span, str(found[1]), found[0], found[2])

    def _negation(self, found: list[Any]) -> Expr:
        return nodes.Unary(self._span, str(found[0]), found[1])

    # --- traversals ---------------------------------------------------------------------------

    def _get(self, found: list[Any]) -> _Step:
        return _Step("get", self._span, str(found[-1]))

    def _index(self, found: list[Any]) -> _Step:
        token = next((child for child in found if _is(child, "INTEGER")), None)
        return _Step("index", self._span, _nodes(found)[0] if token is None else self._number([token]))

    def _steps(self, found: list[Any]) -> Expr:
        of, steps = found[0], found[1:]
        for i, step in enumerate(steps):
            if step.kind not in ("splat", "short_splat"):
                of = _stepped(of, step)
                continue
            rest, after = steps[i + 1 :], []
            if step.kind == "short_splat":
                stop = next((j for j, s in enumerate(rest) if not s.span.text.startswith(".")), len(rest))
                rest, after = rest[:stop], rest[stop:]
                if inner := next((s for s in rest if s.kind == "short_splat"), None):
                    raise fault(inner.span, "there is no .* within another one", hint="write [*]")
            item: Expr = nodes.Variable(step.span, ITEM)
            each = self._steps([item, *rest]) if rest else item
            splat = nodes.Splat(of.span.to(each.span), of, ITEM, each)
            return self._steps([splat, *after]) if after else splat
        result: Expr = of
        return result

    # --- operands -----------------------------------------------------------------------------

    def _variable(self, found: list[Any]) -> Expr:
        name = str(found[0])
        return nodes.Literal(self._span, _WORDS[name]) if name in _WORDS else nodes.Variable(self._span, name)

    def _number(self, found: list[Any]) -> Expr:
        try:
            return nodes.Literal(self._span, ARITHMETIC.create_decimal(str(found[0])))
        except decimal.DecimalException:
            raise fault(self._span, "this number is too large") from None

    def _call(self, found: list[Any]) -> Expr:
        name = found[0]
        spread = any(_is(child, "DOTS") for child in found)
        return nodes.Call(self._span, str(name), self._at(name), tuple(_nodes(found)), spread)

    def _parentheses(self, found: list[Any]) -> Expr:
        expr: Expr = _nodes(found)[0]
        named = isinstance(expr, nodes.Variable | nodes.GetAttr) or expr.span.text in _WORDS
        if named:  # as a key it is no bare name any more
            return nodes.Template(self._span, (expr,))
        return expr

    def _tuple(self, found: list[Any]) -> Expr:
        return nodes.TupleExpr(self._span, tuple(_nodes(found)))

    def _map(self, found: list[Any]) -> Expr:
        return nodes.MapExpr(self._span, tuple(child for child in found if isinstance(child, tuple)))

    def _pair(self, found: list[Any]) -> tuple[Expr, Expr]:
        key, value = _nodes(found)
        if isinstance(key, nodes.Variable) or (isinstance(key, nodes.Literal) and key.span.text in _WORDS):
            return nodes.Literal(key.span, key.span.text), value
        if isinstance(key, nodes.GetAttr):
            raise fault(key.span, "a name with a dot is no key", hint="put it in quotes, or in parentheses")
        return key, value

    def _for_each(self, found: list[Any]) -> _ForEach:
        names = [str(child) for child in found if _is(child, "NAME")]
        return _ForEach((names[0] if len(names) > 1 else "", names[-1], _nodes(found)[0]))

    def _condition(self, found: list[Any]) -> tuple[Expr]:
        return (_nodes(found)[0],)

    def _for_tuple(self, found: list[Any]) -> Expr:
        names, condition = _each_of(found)
        return nodes.ForTuple(self._span, *names, _nodes(found)[0], condition)

    def _for_map(self, found: list[Any]) -> Expr:
        names, condition = _each_of(found)
        grouped = any(_is(child, "DOTS") for child in found)
        name, result = _nodes(found)
        return nodes.ForMap(self._span, *names, name, result, condition, grouped)

    # --- templates ----------------------------------------------------------------------------

    def _text(self, found: list[Any]) -> Expr:
        return nodes.Literal(self._span, str(found[0]))

    def _interpolation(self, found: list[Any]) -> Expr:
        expr: Expr = _nodes(found)[0]
        return expr

    def _template(self, found: list[Any]) -> Expr:
        return _joined(self._piece.span(0, len(self._piece.text)), _nodes(found))

    def _string(self, found: list[Any]) -> Expr:
        return _joined(self._span, _nodes(found))

    _heredoc = _string

    def _template_if(self, found: list[Any]) -> Expr:
        kinds = [getattr(child, "type", "") for child in found]
        close = kinds.index("CLOSE")
        stop = kinds.index("ELSE") if "ELSE" in kinds else len(found) - 1
        then, otherwise = _nodes(found[close + 1 : stop]), _nodes(found[stop:])
        return nodes.TemplateIf(
            self._span, _nodes(found[:close])[0], _joined(self._span, then), _joined(self._span, otherwise)
        )

    def _template_for(self, found: list[Any]) -> Expr:
        close = next(i for i, child in enumerate(found) if _is(child, "CLOSE"))
        each = self._for_each(found[:close])
        body = _joined(self._span, _nodes(found[close + 1 :]))
        return nodes.TemplateFor(self._span, *each.names, body)


def _is(child: object, *kinds: str) -> bool:
    return getattr(child, "type", None) in kinds and isinstance(child, str)


def _nodes(found: list[Any]) -> list[Any]:
    """The expressions among a rule's children."""
    return [child for child in found if hasattr(child, "span") and not isinstance(child, _Step)]


def _each_of(found: list[Any]) -> tuple[tuple[str, str, Expr], Expr | None]:
    """The names and the collection of a `for`, and its condition."""
    each = next(child for child in found if isinstance(child, _ForEach))
    condition = next((child[0] for child in found if isinstance(child, tuple)), None)
    return each.names, condition


def _stepped(of: Expr, step: _Step) -> Expr:
    span = of.span.to(step.span)
    return nodes.GetAttr(span, of, step.what) if step.kind == "get" else nodes.Index(span, of, step.what)


def _joined(span: Span, parts: list[Expr]) -> Expr:
    """Parts of a template as one expression: a Literal where all are text."""
    joined: list[Expr] = []
    for text, run in groupby(parts, _is_text):
        if text:
            literals: list[Any] = list(run)
            place = literals[0].span.to(literals[-1].span)
            joined.append(nodes.Literal(place, "".join(literal.value for literal in literals)))
        else:
            joined.extend(run)
    if not joined:
        return nodes.Literal(span, "")
    if len(joined) == 1 and _is_text(joined[0]):
        return nodes.Literal(span, joined[0].value)  # type: ignore[union-attr]  # it is a Literal
    return nodes.Template(span, tuple(joined))


def _is_text(part: Expr) -> bool:
    return isinstance(part, nodes.Literal) and isinstance(part.value, str)
