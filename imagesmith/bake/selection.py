"""Which targets a command line means: names, patterns, groups, and what those targets link to.

Why links are followed here: a target that another one needs (`contexts = {base = "target:base"}`) is built as
well, once, and without an output of its own unless it was asked for.
Spec: buildx's bake; its errors, its order, and which groups `--print` shows.
Trust: a definition from elsewhere may have any groups and links; circles and depth end in an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from imagesmith.bake.overrides import Overrides
from imagesmith.bake.patterns import is_pattern, matching
from imagesmith.bake.places import Span, fault
from imagesmith.bake.target import Attributes, Group, Target, completed
from imagesmith.context.addresses import is_http_url
from imagesmith.context.git import is_git_url
from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import DefinitionError, ImagesmithError, UsageError
from imagesmith.values import frozen, replace

__all__ = ["Definition", "Selection", "linked_by", "local_path", "prepared", "select"]

#: How deep links may go.
_DEPTH = 200
_EPOCH = "SOURCE_DATE_EPOCH"
#: What is no path, though it has no host.
_PLACES = ("target:", "docker-image:", "oci-layout:")


class Definition(Protocol):
    """What was read: its targets and groups by name."""

    @property
    def targets(self) -> Iterable[str]:
        """The names of all targets, or a map of them."""

    @property
    def groups(self) -> Mapping[str, Group]:
        """The groups."""

    def resolve(self, name: str, overrides: Overrides) -> Target:
        """A target with what it inherits, and with what is set over it and its parents."""


@frozen(kw_only=True)
class Selection:
    """What is built.

    targets     by name, in the order in which they were asked for; then those that they need
    groups      those that `--print` shows; `default` is always there
    linked      targets that only others need
    is_foreign  the definition is from elsewhere: its author named what there is to fetch
    own_remote  the repository that it is from, if it is one, which the user named
    """

    targets: Mapping[str, Target]
    groups: Mapping[str, Group]
    linked: frozenset[str] = frozenset()
    is_foreign: bool = False
    own_remote: str = ""


def select(definition: Definition, names: Sequence[str], overrides: Overrides) -> Selection:
    """The targets of some names, which may be groups' or patterns; without names those of `default`.

    Raises:
        UsageError: there is no such target or group.
        DefinitionError: a group or a link names no target, or links make a circle.
    """
    asked = _asked(definition, names or ("default",))
    targets: dict[str, Target] = {}
    groups: dict[str, Group] = {}
    for name in asked:
        found, passed = _expanded(definition, name)
        for target in found:
            if target not in targets:
                targets[target] = _resolved(definition, target, overrides, None)
        groups |= {group: definition.groups[group] for group in passed}
    default = groups.get("default")
    shown = [*(default.targets if default else ()), *(n for n in asked if default is None or n != "default")]
    groups["default"] = replace(
        default or Group(name="default", targets=()), targets=tuple(sorted(set(shown)))
    )
    wanted = set(targets)
    _Links(definition, overrides, targets, wanted).follow()
    return Selection(targets=targets, groups=groups, linked=frozenset(set(targets) - wanted))


def _asked(definition: Definition, names: Sequence[str]) -> list[str]:
    """Names and patterns as names, each once; services of compose files have `_` for dots."""
    known = [*definition.groups, *definition.targets]
    out: list[str] = []
    for given in names:
        name = given.replace(".", "_")
        if is_pattern(name):
            found = matching(name, known)
            if not found:
                raise UsageError(f'could not find any target matching "{name}"')
            out += found
        else:
            if name not in known:
                hint = _hint_for(given)
                alike = "" if hint else suggest(name, known)
                raise UsageError(f"failed to find target {given}{alike}", hint=hint)
            out.append(name)
    return list(dict.fromkeys(out))


def _hint_for(name: str) -> str:
    """What to do where a name is no target's."""
    if name == "default":
        return "without names the group or target `default` is built"
    if name in (".", "..") or "/" in name:
        return "bake takes targets; folders are `context` in the file, or --set '*.context=DIR'"
    return ""


def _expanded(definition: Definition, name: str) -> tuple[list[str], list[str]]:
    """The targets of a name, and the groups that it leads through; each once, however groups are nested.

    A group may have a target of its own name: within itself the name is that target's.
    """
    targets: dict[str, None] = {}
    groups: dict[str, None] = {}
    within: set[str] = set()
    pending: list[tuple[str, Span | None, Iterator[str]]] = [("", None, iter((name,)))]
    while pending:
        inside, span, members = pending[-1]
        member = next(members, None)
        if member is None:
            within.discard(inside)
            pending.pop()
            continue
        group = definition.groups.get(member)
        if group is not None and member not in within:
            if member not in groups:
                groups[member] = None
                within.add(member)
                pending.append((member, group.span, iter(group.targets)))
        elif member in definition.targets:
            targets[member] = None
        elif group is not None:
            raise _fault(span, f"group {inside}: infinite loop, {member} has it as a member")
        else:
            known = [*definition.groups, *definition.targets]
            raise _fault(span, f"failed to find target {member}{suggest(member, known)}")
    return list(targets), list(groups)


def _resolved(definition: Definition, name: str, overrides: Overrides, span: Span | None) -> Target:
    if name not in definition.targets:
        raise _fault(span, f"failed to find target {name}{suggest(name, definition.targets)}")
    target = definition.resolve(name, overrides)
    return replace(target, attributes=completed(target.attributes))


def _fault(span: Span | None, message: str) -> ImagesmithError:
    return DefinitionError(message) if span is None else fault(span, message)


def linked_by(target: Target) -> list[str]:
    """The names of targets that it has as contexts."""
    contexts = _texts_by_name(target, "contexts")
    return [place.removeprefix("target:") for place in contexts.values() if place.startswith("target:")]


class _Links:
    """Follows links, depth first: whoever is used is complete before its user is looked at."""

    def __init__(
        self, definition: Definition, overrides: Overrides, targets: dict[str, Target], wanted: set[str]
    ) -> None:
        self._definition, self._overrides, self._targets = definition, overrides, targets
        self._wanted = wanted
        self._done: set[str] = set()

    def follow(self) -> None:
        for name in list(self._targets):
            self._visit(name, ())

    def _visit(self, name: str, above: tuple[str, ...]) -> None:
        if name in self._done:
            return
        target = self._targets[name]
        if len(above) > _DEPTH:
            raise _fault(target.span, f"target {name}: links go deeper than {_DEPTH}")
        for other in linked_by(target):
            if other == name:
                raise _fault(target.span, f"target {other} cannot link to itself")
            if other in above:
                raise _fault(target.span, f"infinite loop from {name} to {other}")
            if other not in self._targets:
                used = _resolved(self._definition, other, self._overrides, target.span)
                attributes: Attributes = {**used.attributes, "output": ({"type": "cacheonly"},)}
                self._targets[other] = replace(used, attributes=attributes)
            self._visit(other, (*above, name))
            target = self._users(target, self._targets[other])
        self._targets[name] = target
        self._done.add(name)

    def _users(self, target: Target, used: Target) -> Target:
        """A target that uses another one: it may do what that one may, and is for no other platforms."""
        mine, its = _texts(target, "platforms"), _texts(used, "platforms")
        if len(mine) > 1 and len(its) > 1 and not set(mine) <= set(its):
            raise _fault(
                target.span,
                f"target {used.name} can't be used by {target.name} because its platforms"
                f" [{' '.join(mine)}] are not a subset of [{' '.join(its)}]",
            )
        have = _texts(target, "entitlements")
        more = [name for name in _texts(used, "entitlements") if name not in have]
        if not more:
            return target
        return replace(target, attributes={**target.attributes, "entitlements": (*have, *more)})


def _texts(target: Target, name: str) -> tuple[str, ...]:
    value = target.attributes.get(name, ())
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, tuple) else ()


def _texts_by_name(target: Target, name: str) -> Mapping[str, str]:
    value = target.attributes.get(name)
    return value if isinstance(value, Mapping) else {}


def local_path(place: str) -> str | None:
    """The path of a context or Dockerfile of this machine, cleaned; None for what is elsewhere."""
    if place.startswith("cwd://"):
        return _clean(place.removeprefix("cwd://"))
    if is_http_url(place) or is_git_url(place) or "://" in place or place.startswith(_PLACES):
        return None
    return _clean(place)


def _clean(path: str) -> str:
    """As Go's path.Clean: two slashes at the beginning are one."""
    path = os.path.normpath(path)
    return path[1:] if path.startswith("//") else path


def prepared(selection: Selection, env: Mapping[str, str]) -> Selection:
    """What is built and printed: contexts cleaned, and SOURCE_DATE_EPOCH for targets that do not name it.

    Raises:
        DefinitionError: a context or Dockerfile from standard input.
    """
    return replace(
        selection, targets={name: _prepared(target, env) for name, target in selection.targets.items()}
    )


def _prepared(target: Target, env: Mapping[str, str]) -> Target:
    attributes = dict(target.attributes)
    for what in ("context", "dockerfile"):
        if attributes[what] == "-":
            raise _fault(target.span, f"target {target.name}: {what} from stdin not allowed in bake")
    path = local_path(str(attributes["context"]))
    if path is not None:
        attributes["context"] = path
    args = _texts_by_name(target, "args")
    if env.get(_EPOCH) and _EPOCH not in args:
        attributes["args"] = {**args, _EPOCH: env[_EPOCH]}
    return replace(target, attributes=attributes)
