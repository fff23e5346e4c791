"""A definition: the targets and groups of all its files, later files over earlier ones.

A block with a matrix is as many targets as the matrix has combinations; its own name is a group of them.
What a target inherits is settled when it is asked for, since each parent has its own --set.
Spec: buildx's bake reference and hclparser.
Trust: files are others'; the number of targets is bounded, and how much their expressions take (budget.py).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from imagesmith.bake.budget import Budget
from imagesmith.bake.compose import Composed
from imagesmith.bake.evaluate import Scope, evaluate
from imagesmith.bake.nodes import Attribute, Block, Body
from imagesmith.bake.overrides import Overrides, overridden
from imagesmith.bake.places import Span, fault
from imagesmith.bake.target import ATTRIBUTES, Attributes, Group, Setting, Target, attribute, merged
from imagesmith.bake.userfunctions import Within
from imagesmith.bake.values import SetValue, Unsuitable, Value, kind_of, text_of
from imagesmith.bake.variables import Given, Names, VariableDoc, only
from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import DefinitionError
from imagesmith.values import replace

__all__ = ["Definition", "define"]

_BLOCKS = ("target", "group", "variable", "function")
_NAME = re.compile(r"[a-zA-Z0-9_-]+")
#: What a target's block says besides its attributes.
_APART = ("name", "matrix", "inherits")
#: The most targets of a definition.
_MOST = 10_000


class Definition:
    """What the files say.

    targets    by name, in their order, each with what its own blocks say
    groups     by name
    variables  as `--list` shows them
    """

    def __init__(
        self,
        targets: Mapping[str, Target],
        groups: Mapping[str, Group],
        variables: tuple[VariableDoc, ...],
        parents: Mapping[str, Sequence[tuple[str, Span]]],
    ) -> None:
        self.targets, self.groups, self.variables, self._parents = targets, groups, variables, parents

    def resolve(self, name: str, overrides: Overrides) -> Target:
        """A target with what it inherits, and with what is set over it and its parents.

        Parents count from left to right, each with its own; one that would inherit from itself is left out.

        Raises:
            DefinitionError: there is no such target, or no such parent.
        """
        if name not in self.targets:
            raise DefinitionError(f"failed to find target {name}{suggest(name, self.targets)}")
        attributes = _Inheriting(self.targets, self._parents, overrides).of(name)
        return replace(self.targets[name], attributes=attributes or {})


class _Inheriting:
    """Works out what targets inherit, each once."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        parents: Mapping[str, Sequence[tuple[str, Span]]],
        overrides: Overrides,
    ) -> None:
        self._targets, self._parents, self._overrides = targets, parents, overrides
        self._known: dict[str, Attributes | None] = {}

    def of(self, name: str) -> Attributes | None:
        """A target's attributes; None while they are worked out."""
        todo = [name]
        while todo:  # a chain of parents may be longer than one of calls
            at = todo[-1]
            if at not in self._known:
                self._known[at] = None
                for parent, span in self._parents.get(at, ()):
                    if parent not in self._targets:
                        raise fault(span, f"failed to find target {parent}{suggest(parent, self._targets)}")
                parents = [parent for parent, _ in self._parents.get(at, ())]
                todo += [parent for parent in reversed(parents) if parent not in self._known]
                continue
            todo.pop()
            if self._known[at] is None:
                self._known[at] = self._settled(at)
        return self._known[name]

    def _settled(self, name: str) -> Attributes:
        found: Attributes = {}
        for parent, _ in self._parents.get(name, ()):
            found = merged(found, self._known.get(parent) or {})
        found = merged(found, self._targets[name].attributes)
        return overridden(found, self._overrides.get(name, ()))


def define(bodies: Sequence[Body | Composed], given: Given) -> Definition:
    """What some files say together.

    Args:
        bodies: of the files, in their order.
        given: values of variables.

    Raises:
        DefinitionError: at its place, for whatever is wrong in any of them.
    """
    return _Definer(given).define(bodies)


class _Named:
    """A target that a block gives: under a name, with the names of its matrix."""

    def __init__(self, name: str, block: Block, scope: Scope, span: Span) -> None:
        self.name, self.block, self.scope, self.span = name, block, scope, span


class _Definer:
    """Reads blocks; attributes that others ask for are worked out when they do."""

    def __init__(self, given: Given) -> None:
        self._budget = Budget()
        self._names = Names(given, self._budget)
        self._blocks: dict[str, list[_Named]] = {}
        self._group_blocks: dict[str, Block] = {}
        self._values: dict[tuple[Block, str, str], Value] = {}
        self._busy: set[tuple[Block, str, str]] = set()
        self._targets: dict[str, Target] = {}
        self._groups: dict[str, Group] = {}
        self._parents: dict[str, list[tuple[str, Span]]] = {}
        self._made: set[str] = set()  # groups that are of matrices

    def define(self, bodies: Sequence[Body | Composed]) -> Definition:
        """See define."""
        files = [body for body in bodies if isinstance(body, Body)]
        for body in bodies:
            if isinstance(body, Composed):
                self._targets |= body.targets
                self._groups[body.group.name] = body.group
        for body in files:
            _refuse_others(body)
            self._names.add(body)
        self._names.more = {
            "target": _Lazily(lambda: self._blocks, self._target_value),
            "group": _Lazily(lambda: self._group_blocks, self._group_value),
        }
        for block in (block for body in files for block in body.blocks):
            if block.type == "group":
                self._group_blocks[_label(block)] = block
        for block in (block for body in files for block in body.blocks):
            if block.type == "target":
                self._add(block)
        variables = self._names.work_out_all()
        for name, found in self._blocks.items():
            for named in found:
                self._merge(name, named)
        for name, block in self._group_blocks.items():
            self._groups[name] = self._group(name, block)
        return Definition(self._targets, self._groups, variables, self._parents)

    # --- blocks as targets -----------------------------------------------------------------------

    def _add(self, block: Block) -> None:
        """Note the targets of a block, under their names."""
        label = _label(block)
        only(block.body, (*ATTRIBUTES, *_APART), (), "a target")
        matrix, name = block.body.attributes.get("matrix"), block.body.attributes.get("name")
        if matrix is None:
            if name is not None:
                raise fault(name.span, "name needs a matrix, whose targets it names")
            self._note(_Named(label, block, self._names, block.labels[0].span))
            return
        made: dict[str, None] = {}
        for combination in self._combinations(matrix):
            scope = Within(self._names, combination)
            found = self._text(name, scope) if name else label
            at = name.expr.span if name else matrix.span
            if not _NAME.fullmatch(found):
                raise fault(at, _invalid(found))
            if found in made:
                hint = "" if name else "`name` gives each its own, by the values of the matrix"
                raise fault(at, f"the matrix makes target {found} twice", hint=hint)
            made[found] = None
            self._note(_Named(found, block, scope, block.labels[0].span))
        if list(made) != [label]:
            before = self._groups[label].targets if label in self._made else ()
            both = tuple(dict.fromkeys((*before, *made)))
            self._groups[label] = Group(name=label, targets=both, span=block.labels[0].span)
            self._made.add(label)

    def _note(self, named: _Named) -> None:
        self._blocks.setdefault(named.name, []).append(named)
        if len(self._blocks) > _MOST:
            raise fault(named.span, f"more than {_MOST} targets")

    def _combinations(self, matrix: Attribute) -> Iterator[dict[str, Value]]:
        value = evaluate(matrix.expr, self._names, self._budget)
        if not isinstance(value, Mapping):
            raise fault(matrix.expr.span, f"matrix: a map of lists is needed, not a {kind_of(value)}")
        lists: dict[str, Sequence[Value]] = {}
        for key in sorted(value):
            items = value[key]
            if not isinstance(items, tuple | SetValue):
                raise fault(matrix.expr.span, f"matrix: {key}: a list is needed, not a {kind_of(items)}")
            lists[key] = tuple(items)
        for values in itertools.product(*lists.values()):
            yield dict(zip(lists, values, strict=True))

    def _merge(self, name: str, named: _Named) -> None:
        """A block's attributes come over those that earlier ones gave the target."""
        own: dict[str, Setting] = {}
        for one in named.block.body.attributes.values():
            if one.name == "inherits":
                self._parents[name] = self._inherited(one, named)
            elif one.name not in _APART:
                found = attribute(one.name, self._attribute(named, one), one.span)
                if found is not None:
                    own[one.name] = found
        before = self._targets.get(name)
        attributes = merged(before.attributes, own) if before else own
        self._targets[name] = Target(name=name, attributes=attributes, span=named.span)

    def _inherited(self, one: Attribute, named: _Named) -> list[tuple[str, Span]]:
        return [(text, one.expr.span) for text in self._texts(one, self._attribute(named, one))]

    def _group(self, name: str, block: Block) -> Group:
        only(block.body, ("targets", "description"), (), "a group")
        said = block.body.attributes
        targets = said.get("targets")
        members = self._texts(targets, self._group_attribute(block, targets)) if targets else []
        description = self._names.text(said["description"]) if "description" in said else ""
        span = block.labels[0].span
        return Group(name=name, targets=tuple(dict.fromkeys(members)), description=description, span=span)

    # --- values ------------------------------------------------------------------------------------

    def _attribute(self, named: _Named, one: Attribute) -> Value:
        return self._worked_out(named.block, named.name, one, named.scope)

    def _group_attribute(self, block: Block, one: Attribute) -> Value:
        return self._worked_out(block, "", one, self._names)

    def _worked_out(self, block: Block, name: str, one: Attribute, scope: Scope) -> Value:
        """An attribute's value; others may ask for it while theirs are worked out."""
        key = block, name, one.name
        if key not in self._values:
            if key in self._busy:
                raise fault(one.span, f"{one.name} is needed for itself")
            self._busy.add(key)
            try:
                self._values[key] = evaluate(one.expr, scope, self._budget)
            finally:
                self._busy.discard(key)
        return self._values[key]

    def _target_value(self, name: str) -> Value:
        """What `target.NAME` stands for: its name, and its attributes as they will be; null if not said.

        Those of its own blocks, the last of each: what is inherited or set over them is not known yet.
        """
        found = {one.name: (named, one) for named in self._blocks[name] for one in _attributes(named.block)}

        def value(key: str) -> Value:
            if key not in found:
                return name if key == "name" else None
            named, one = found[key]
            said = self._attribute(named, one)
            return attribute(key, said, one.span) if key in ATTRIBUTES else said

        return _Lazily(lambda: dict.fromkeys((*ATTRIBUTES, "name", "inherits")), value)

    def _group_value(self, name: str) -> Value:
        block = self._group_blocks[name]
        found = block.body.attributes
        known = dict.fromkeys(("targets", "description")) | dict(found)
        return _Lazily(
            lambda: known, lambda key: self._group_attribute(block, found[key]) if key in found else None
        )

    def _text(self, one: Attribute, scope: Scope) -> str:
        try:
            return text_of(evaluate(one.expr, scope, self._budget))
        except Unsuitable as e:
            raise fault(one.expr.span, f"{one.name}: {e}") from e

    def _texts(self, one: Attribute, value: Value) -> list[str]:
        if value is None:
            return []
        if not isinstance(value, tuple | SetValue):
            raise fault(one.expr.span, f"{one.name}: a list is needed, not a {kind_of(value)}")
        try:
            return [text_of(item) for item in value]
        except Unsuitable as e:
            raise fault(one.expr.span, f"{one.name}: {e}") from e


def _attributes(block: Block) -> Iterator[Attribute]:
    return (one for one in block.body.attributes.values() if one.name not in ("name", "matrix"))


def _label(block: Block) -> str:
    """The name of a target or group."""
    if len(block.labels) != 1:
        span = block.labels[1].span if block.labels else block.span
        raise fault(span, f"a {block.type} has one name")
    label = block.labels[0]
    if not _NAME.fullmatch(label.text):
        raise fault(label.span, _invalid(label.text))
    return label.text


def _invalid(name: str) -> str:
    return f'invalid name "{name}": only letters, digits, _ and - are allowed'


def _refuse_others(body: Body) -> None:
    for block in body.blocks:
        if block.type not in _BLOCKS:
            raise fault(block.span, f'unsupported block type "{block.type}"{suggest(block.type, _BLOCKS)}')


class _Lazily(Mapping[str, Value]):
    """A map whose values are worked out when they are asked for."""

    def __init__(self, keys: Callable[[], Mapping[str, object]], value: Callable[[str], Value]) -> None:
        self._keys, self._value = keys, value

    def __getitem__(self, key: str) -> Value:
        if key not in self._keys():
            raise KeyError(key)
        return self._value(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())
