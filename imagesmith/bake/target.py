"""A target: what one image, or one set of files, is built of, in the words of bake files.

What an attribute may be, how one comes over that of an earlier file or of a parent, and how `--print` shows
it, is one table: ATTRIBUTES.
Spec: buildx's bake reference; the order of the attributes is that of `--print`.
Trust: values that a bake or compose file worked out; what is wrong is shown at its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from imagesmith.bake.entries import Entry, entries_of, entry_of, shown, without_doubles
from imagesmith.bake.places import Span, fault
from imagesmith.bake.values import SetValue, Unsuitable, Value, flag_of, kind_of, number_of, text_of
from imagesmith.dockerfile.suggest import suggest
from imagesmith.values import field, frozen

__all__ = [
    "ATTRIBUTES", "RESOURCES", "Attributes", "Entry", "Group", "Kind", "Setting", "Target", "attribute",
    "completed", "merged", "printed", "resource", "setting", "settled",
]  # fmt: skip

#: What one attribute says: a text, a flag, a list of texts, a map of texts, a list of entries.
Setting = str | bool | tuple[str, ...] | Mapping[str, str] | tuple[Entry, ...]

#: By the names of bake files: texts, flags, lists of texts, maps of texts, lists of entries.
Attributes = Mapping[str, Setting]


@frozen
class Kind:
    """What an attribute is: `of` is text, flag, texts, map, entries or resources.

    With `adds` a list comes after that of an earlier block, otherwise in its place; maps go key by key. With
    `escaped` it may hold any text, and `--print` writes it so that bake reads it back.
    """

    of: str
    adds: bool = False
    escaped: bool = False


#: What a target says beside `name`, `matrix` and `inherits`.
ATTRIBUTES: Mapping[str, Kind] = {
    "description": Kind("text"),
    "annotations": Kind("texts", adds=True, escaped=True),
    "attest": Kind("entries", adds=True),
    "context": Kind("text"),
    "contexts": Kind("map"),
    "dockerfile": Kind("text"),
    "dockerfile-inline": Kind("text", escaped=True),
    "args": Kind("map", escaped=True),
    "labels": Kind("map", escaped=True),
    "tags": Kind("texts"),
    "cache-from": Kind("entries", adds=True),
    "cache-to": Kind("entries"),
    "target": Kind("text"),
    "secret": Kind("entries", adds=True),
    "ssh": Kind("entries", adds=True),
    "platforms": Kind("texts"),
    "output": Kind("entries"),
    "pull": Kind("flag"),
    "no-cache": Kind("flag"),
    "network": Kind("text"),
    "no-cache-filter": Kind("texts", adds=True),
    "shm-size": Kind("text"),
    "ulimits": Kind("texts", adds=True),
    "resources": Kind("resources"),
    "call": Kind("text"),
    "entitlements": Kind("texts", adds=True),
    "extra-hosts": Kind("map", escaped=True),
    "policy": Kind("entries", adds=True),
}

#: The keys of `resources`; True for those that are whole numbers.
RESOURCES: Mapping[str, bool] = {
    "memory": False, "memory-swap": False, "cpu-shares": True, "cpu-period": True, "cpu-quota": True,
    "cpuset-cpus": False, "cpuset-mems": False,
}  # fmt: skip


@frozen(kw_only=True)
class Target:
    """A target whose matrix, inheritance and overrides are settled; `span` is where its name stands."""

    name: str
    attributes: Attributes = field(default_factory=dict)
    span: Span | None = None


@frozen(kw_only=True)
class Group:
    """Names of targets and groups under one name."""

    name: str
    targets: tuple[str, ...]
    description: str = ""
    span: Span | None = None


def attribute(name: str, value: Value, span: Span) -> Setting | None:
    """What a file's attribute says; None where it is null, which is as if it were not there.

    Args:
        name: one of ATTRIBUTES.
        value: what its expression gave; null within a list or map is left out.
        span: where the attribute stands.

    Raises:
        DefinitionError: there is no such attribute, or it cannot be that.
    """
    if name not in ATTRIBUTES:
        message = f'unsupported argument: a target has no "{name}"{suggest(name, ATTRIBUTES)}'
        raise fault(span, message)
    try:
        found = setting(name, value)
    except Unsuitable as e:
        raise fault(span, f"{name}: {e}") from e
    if found is not None and any("\0" in text for text in _every_text(found)):
        raise fault(span, f"{name}: no text here may hold the character \\u0000")
    return found


def _every_text(value: Setting) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (*value, *value.values())
    elif isinstance(value, tuple):
        for item in value:
            yield from _every_text(item)


def setting(name: str, value: Value) -> Setting | None:
    """The same, for whoever knows the place.

    Raises:
        Unsuitable: the attribute cannot be that.
    """
    if value is None:
        return None
    match ATTRIBUTES[name].of:
        case "text":
            return text_of(value)
        case "flag":
            return flag_of(value)
        case "texts":
            return tuple(text_of(item) for item in _list(value) if item is not None)
        case "entries":
            return _entries(name, value)
        case "resources":
            return {key: resource(key, item) for key, item in _map(value).items() if item is not None}
    out = {}
    for key, item in _map(value).items():
        if item is not None:
            try:
                out[key] = text_of(item)
            except Unsuitable as e:
                raise Unsuitable(f"{key}: {e}") from e
    return out


def _list(value: Value) -> Sequence[Value]:
    if isinstance(value, SetValue):
        return value.items
    if not isinstance(value, tuple):
        raise Unsuitable(f"a list is needed, not a {kind_of(value)}")
    return value


def _map(value: Value) -> Mapping[str, Value]:
    if not isinstance(value, Mapping):
        raise Unsuitable(f"a map is needed, not a {kind_of(value)}")
    return value


def _entries(name: str, value: Value) -> tuple[Entry, ...]:
    out: list[Entry] = []
    for item in _list(value):
        if isinstance(item, str):
            out += entries_of(name, item)
        elif isinstance(item, Mapping):
            out.append(entry_of(name, item))
        elif item is not None:
            raise Unsuitable(f"an entry is a string or an object, not a {kind_of(item)}")
    return tuple(out)


def resource(key: str, value: Value) -> str:
    """One of RESOURCES as text.

    Raises:
        Unsuitable: there is no such key, or it cannot be that.
    """
    if key not in RESOURCES:
        raise Unsuitable(f"unknown resources key {key}{suggest(key, RESOURCES)}")
    try:
        if not RESOURCES[key]:
            return text_of(value)
        number = number_of(value)
    except Unsuitable as e:
        raise Unsuitable(f"{key}: {e}") from e
    if number != number.to_integral_value() or abs(number) >= 2**63:
        raise Unsuitable(f"{key}: a whole number is needed, not {text_of(number)}")
    return text_of(number.to_integral_value())


def merged(older: Attributes, newer: Attributes) -> Attributes:
    """What two blocks say together: of an earlier file and a later one, or of parents and their child."""
    out = dict(older)
    for name, value in newer.items():
        kind, before = ATTRIBUTES[name], older.get(name)
        if before is not None and isinstance(value, Mapping) and isinstance(before, Mapping):
            out[name] = {**before, **value}
        elif before is not None and kind.adds and isinstance(value, tuple) and isinstance(before, tuple):
            out[name] = _settled(name, (*before, *value))
        elif name != "description" or value:
            out[name] = value
    return out


def settled(attributes: Attributes) -> Attributes:
    """What a block says after its parents and its overrides: without doubles, and without what is empty.

    A list of entries that is empty says nothing to children; network host asks for its entitlement.
    """
    out: dict[str, Setting] = {}
    for name, value in attributes.items():
        if isinstance(value, tuple):
            value = _settled(name, value)
            if not value and ATTRIBUTES[name].of == "entries":
                continue
        elif name == "contexts" and isinstance(value, Mapping):
            value = {key: place for key, place in value.items() if place}
            if not value:
                continue
        out[name] = value
    if out.get("network") == "host":
        asked = out.get("entitlements", ())
        assert isinstance(asked, tuple)
        out["entitlements"] = _settled("entitlements", (*asked, "network.host"))
    return out


def _settled(name: str, value: Sequence[str | Entry]) -> Setting:
    """A list without doubles; a list has texts or entries, as the table says."""
    if ATTRIBUTES[name].of == "entries":
        return without_doubles(name, [entry for entry in value if not isinstance(entry, str)])
    return tuple(dict.fromkeys(text for text in value if isinstance(text, str) and text))


def completed(attributes: Attributes) -> Attributes:
    """The attributes of a target that is built: with a context and a Dockerfile."""
    return {
        **attributes,
        "context": attributes.get("context", "."),
        "dockerfile": attributes.get("dockerfile") or "Dockerfile",
    }


def printed(target: Target) -> dict[str, object]:
    """What `--print` shows of a target: keys in their order, nothing that is empty."""
    out: dict[str, object] = {}
    for name, kind in ATTRIBUTES.items():
        value = target.attributes.get(name)
        if value is None or value in ((), {}) or (name == "description" and not value):
            continue
        if kind.of == "resources" and isinstance(value, Mapping):
            out[name] = {k: int(value[k]) if RESOURCES[k] else value[k] for k in RESOURCES if k in value}
        elif isinstance(value, Mapping):
            out[name] = {key: _escaped(kind, value[key]) for key in sorted(value)}
        elif isinstance(value, tuple):
            out[name] = [_escaped(kind, v) if isinstance(v, str) else shown(name, v) for v in value]
        else:
            out[name] = _escaped(kind, value) if isinstance(value, str) else value
    return out


def _escaped(kind: Kind, text: str) -> str:
    return text.replace("${", "$${").replace("%{", "%%{") if kind.escaped else text
