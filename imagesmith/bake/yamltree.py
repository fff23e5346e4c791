"""YAML as a tree whose nodes know their places: scalars, sequences, mappings; anchors and `<<` are settled.

Why not the parser's own constructors: they forget where a value stood, make objects of Python for tags, and
read YAML 1.1, where `on` is true. Here a tag builds nothing, and a plain scalar is what compose takes it for.
Spec: YAML 1.2's core schema as go-yaml v3 has it, which compose uses: `yes` and `on` are strings, a number
with a leading zero is octal, what looks like a time is a string, `<<` merges.
Trust: the text is hostile. Depth, events, and what aliases multiply are bounded; events are read one by one,
so that nothing is built before it is counted. This module alone imports `yaml`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from imagesmith.bake.places import Source, Span, fault
from imagesmith.values import field, frozen

__all__ = ["Map", "Node", "Scalar", "Sequence", "read_documents", "text_of_scalar"]

_MOST_DEPTH = 100
#: Nodes of a document, those counted again that an alias repeats.
_MOST_NODES = 100_000
_YAML = "tag:yaml.org,2002:"
_OURS = ("!reset", "!override")

_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@frozen(eq=False)
class Scalar:
    """A text, or what a plain scalar is by itself: a flag, a number, nothing; `tag` is one of ours."""

    span: Span
    value: str | bool | int | float | None
    tag: str = ""


@frozen(eq=False)
class Sequence:
    """`[a, b]`, or lines with a dash."""

    span: Span
    items: tuple[Node, ...]
    tag: str = ""


@frozen(eq=False)
class Map:
    """Values by key, in order; `keys` says where the keys stand."""

    span: Span
    items: Mapping[str, Node]
    keys: Mapping[str, Span] = field(default_factory=dict)
    tag: str = ""


Node = Scalar | Sequence | Map


def read_documents(source: Source) -> list[Node]:
    """The documents of a file, those left out that are empty.

    Raises:
        DefinitionError: it is no YAML, has a tag that is not known, or is larger than its limits.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Composer(source, yaml.parse(source.text, Loader=loader)).documents()
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        at = min(mark.index if mark else 0, len(source.text))
        raise fault(Span(source, at, at + 1), f"not YAML: {_plain(e.problem or e.context or '')}") from e
    except yaml.YAMLError as e:  # a character that YAML does not have
        at = getattr(e, "position", 0)
        at = at if isinstance(at, int) and at < len(source.text) else 0
        raise fault(Span(source, at, at + 1), "not YAML: a control character") from e
    except (RecursionError, UnicodeEncodeError) as e:  # half of a surrogate pair
        raise fault(Span(source, 0, 1), "not YAML: it cannot be read") from e


def text_of_scalar(value: str | bool | int | float | None) -> str:
    """A scalar as the text that compose makes of it; nothing is an empty one."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    return str(value)


def _float_text(value: float) -> str:
    """As Go prints it: the shortest digits, with an exponent below 1e-4 and from 1e21."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    if not 1e-4 <= abs(value) < 1e21:
        return repr(value)
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:200]


def _resolved(text: str) -> str | bool | int | float | None:
    """What a plain scalar is."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text[0] not in "-+.0123456789" or len(text) > 300:
        return text
    if _INT.fullmatch(text):
        number = _integer(text)
        if number is not None and -(1 << 63) <= number < 1 << 64:
            return number
    if _FLOAT.fullmatch(text):
        value = float(text.replace("_", ""))
        return text if math.isinf(value) else value
    if special := _SPECIAL.fullmatch(text):
        return math.nan if special[3] else math.inf * (-1 if special[1] == "-" else 1)
    return text


def _integer(text: str) -> int | None:
    digits = text.replace("_", "")
    bare = digits.lstrip("+-")
    base = {"0b": 2, "0o": 8, "0x": 16}.get(bare[:2], 8 if bare[:1] == "0" and len(bare) > 1 else 10)
    try:
        return int(digits, base if base != 8 or bare[1:2] == "o" else 8)
    except ValueError:  # only underscores behind its prefix
        return None


class _Composer:
    """Makes nodes of events."""

    def __init__(self, source: Source, events: Iterator[Any]) -> None:
        self._source, self._events = source, events
        self._anchors: dict[str, Node | None] = {}
        self._sizes: dict[int, int] = {}
        self._kept: list[Node] = []
        self._count = 0

    def documents(self) -> list[Node]:
        found: list[Node] = []
        for event in self._events:
            if type(event).__name__ == "DocumentStartEvent":
                self._anchors = {}
                node = self._node(next(self._events), 0)
                if not (isinstance(node, Scalar) and node.value is None):
                    found.append(node)
        return found

    def _span(self, event: Any) -> Span:  # noqa: ANN401 - yaml's events have no common type with marks
        return Span(self._source, event.start_mark.index, event.end_mark.index)

    def _node(self, event: Any, depth: int) -> Node:  # noqa: ANN401
        span = self._span(event)
        if depth > _MOST_DEPTH:
            raise fault(span, f"nodes stand within each other more than {_MOST_DEPTH} deep")
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self._alias(event.anchor, span)
        self._grow(1, span)
        before = self._count
        if event.anchor:
            self._anchors[event.anchor] = None
        node = self._made(event, kind, span, depth)
        self._sizes[id(node)] = self._count - before + 1
        if event.anchor:
            self._anchors[event.anchor] = node
            self._kept.append(node)  # an id stays its own
        return node

    def _alias(self, name: str, span: Span) -> Node:
        node = self._anchors.get(name)
        if node is None:
            what = "stands within what it names" if name in self._anchors else "names nothing before it"
            raise fault(span, f"alias *{_plain(name)} {what}")
        self._grow(self._sizes[id(node)], span)
        return node

    def _grow(self, count: int, span: Span) -> None:
        self._count += count
        if self._count > _MOST_NODES:
            raise fault(span, f"more than {_MOST_NODES:,} nodes, those counted again that aliases repeat")

    def _made(self, event: Any, kind: str, span: Span, depth: int) -> Node:  # noqa: ANN401
        tag = self._tag(event, span)
        if kind == "ScalarEvent":
            return self._scalar(event, span, tag)
        if kind == "SequenceStartEvent":
            items: list[Node] = []
            while type(event := next(self._events)).__name__ != "SequenceEndEvent":
                items.append(self._node(event, depth + 1))
            return Sequence(span.to(self._span(event)), tuple(items), tag)
        return self._map(span, tag, depth)

    def _tag(self, event: Any, span: Span) -> str:  # noqa: ANN401
        """!reset or !override; a tag of YAML's own kinds is checked, and nothing else is known."""
        tag = event.tag or ""
        if tag in ("", "!") or tag in _OURS:
            return tag.removeprefix("!") and tag
        kinds = {
            "ScalarEvent": ("str", "int", "float", "bool", "null", "timestamp"),
            "SequenceStartEvent": ("seq",),
        }
        known = kinds.get(type(event).__name__, ("map",))
        if tag.removeprefix(_YAML) not in known or not tag.startswith(_YAML):
            shown = _plain(tag).replace(_YAML, "!!")
            raise fault(span, f"tag {shown} is not known here: there are !reset and !override")
        return ""

    def _scalar(self, event: Any, span: Span, tag: str) -> Scalar:  # noqa: ANN401
        text: str = event.value
        kind = (event.tag or "").removeprefix(_YAML)
        if tag in _OURS:
            return Scalar(span, text if event.style else _resolved(text), tag)
        if kind in ("int", "float", "bool", "null"):
            value = _resolved(text)
            if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            fits = {"int": int, "float": float, "bool": bool, "null": type(None)}[kind]
            if type(value) is not fits:
                raise fault(span, f"{_plain(text)!r} is no {kind}")
            return Scalar(span, value)
        return Scalar(span, _resolved(text) if event.implicit[0] and not kind else text)

    def _map(self, span: Span, tag: str, depth: int) -> Map:
        own: dict[str, Node] = {}
        keys: dict[str, Span] = {}
        merged: list[Map] = []
        while type(event := next(self._events)).__name__ != "MappingEndEvent":
            is_merge = type(event).__name__ == "ScalarEvent" and event.value == "<<" and not event.style
            key = self._node(event, depth + 1)
            place = self._span(event)
            value = self._node(next(self._events), depth + 1)
            if is_merge:
                merged += _maps_of(value, place)
                continue
            if not isinstance(key, Scalar) or not isinstance(key.value, str):
                raise fault(place, "a key must be a string; put it in quotes")
            if key.value in own:
                raise fault(
                    place, f"key {_plain(key.value)!r} stands there already, in line {keys[key.value].line}"
                )
            own[key.value], keys[key.value] = value, place
        for other in merged:
            for name, node in other.items.items():
                own.setdefault(name, node)
                keys.setdefault(name, other.keys[name])
        return Map(span.to(self._span(event)), own, keys, tag)


def _maps_of(value: Node, place: Span) -> list[Map]:
    """What `<<` merges: a mapping, or several of which the first goes before."""
    nodes = value.items if isinstance(value, Sequence) else (value,)
    found = [node for node in nodes if isinstance(node, Map)]
    if len(found) != len(nodes):
        raise fault(place, "<< merges a mapping, or a list of mappings")
    return found
