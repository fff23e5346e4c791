"""Several compose files as one: what a later file, or a service that extends another one, changes.

    a scalar         the later one counts; nothing (null) changes nothing
    a mapping        key by key; keys `x-…` are replaced as a whole
    a list           the later one's follow; of tags, platforms and secrets each once
    args, labels…    a list of `K=V` is a mapping, and so is what they merge to
    !reset X         what was there is gone; with !override X stands alone

Spec: compose-spec's 13-merge.md; compose-go's override.
Trust: nodes of yamltree.py, whose depth is bounded.
"""

from __future__ import annotations

from imagesmith.bake.places import fault
from imagesmith.bake.yamltree import Map, Node, Scalar, Sequence, text_of_scalar

__all__ = ["merged", "normal_service", "pairs_of"]

#: Keys of `build` that are mappings, or lists of `K=V`.
_PAIRS = ("args", "labels", "additional_contexts", "ssh")
#: Lists of `build` that hold each text once.
_ONCE = ("tags", "platforms", "secrets", "entitlements", "no_cache_filter")


def merged(older: Node, newer: Node, path: tuple[str, ...] = ()) -> Node:
    """What two files say together.

    Args:
        older: a node of the first, whose services are normal.
        newer: that of the second.
        path: the keys that lead to them.

    Raises:
        DefinitionError: they are of different kinds.
    """
    if newer.tag == "!override":
        return _untagged(newer)
    if isinstance(newer, Scalar) and newer.value is None:
        return older
    if isinstance(older, Map) and isinstance(newer, Map):
        return _maps(older, newer, path)
    if isinstance(older, Sequence) and isinstance(newer, Sequence):
        items = (*older.items, *newer.items)
        once = path[2:3] == ("build",) and path[3:] in [(key,) for key in _ONCE]
        return Sequence(newer.span, _each_once(items) if once or path[3:4] == ("extra_hosts",) else items)
    is_free = (isinstance(older, Scalar) and (older.value is None or isinstance(newer, Scalar))) or path[
        3:4
    ] == ("ulimits",)
    if not is_free:
        raise fault(newer.span, f"cannot override {'.'.join(path)}: it is of another kind elsewhere")
    return newer


def _maps(older: Map, newer: Map, path: tuple[str, ...]) -> Map:
    items, keys = dict(older.items), {**older.keys, **newer.keys}
    for key, node in newer.items.items():
        if node.tag == "!reset":
            items.pop(key, None)
        elif key in items and not key.startswith("x-"):
            items[key] = merged(items[key], node, (*path, key))
        else:
            items[key] = _untagged(node)
    return Map(newer.span, items, keys)


def _untagged(node: Node) -> Node:
    """A node without !reset below it, and without its own tag."""
    if isinstance(node, Map):
        items = {k: _untagged(n) for k, n in node.items.items() if n.tag != "!reset"}
        return Map(node.span, items, node.keys)
    if isinstance(node, Sequence):
        return Sequence(node.span, tuple(_untagged(n) for n in node.items if n.tag != "!reset"))
    return Scalar(node.span, node.value)


def _each_once(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """The last of those with one name, where the first stood."""
    found: dict[str, Node] = {}
    for n, node in enumerate(items):
        name = node.items.get("source") if isinstance(node, Map) else node
        found[text_of_scalar(name.value) if isinstance(name, Scalar) else f"\0{n}"] = node
    return tuple(found.values())


def normal_service(service: Map) -> Map:
    """A service with its forms that are short written out: `build: DIR`, lists of `K=V`."""
    items = dict(service.items)
    if "environment" in items:
        items["environment"] = pairs_of(items["environment"])
    if (files := items.get("env_file")) is not None and isinstance(files, Scalar) and files.value is not None:
        items["env_file"] = Sequence(files.span, (files,), files.tag)
    build = items.get("build")
    if isinstance(build, Scalar) and build.value is not None:
        build = Map(
            build.span, {"context": Scalar(build.span, build.value)}, {"context": build.span}, build.tag
        )
    if isinstance(build, Map):
        items["build"] = _normal_build(build)
    return Map(service.span, items, service.keys, service.tag)


def _normal_build(build: Map) -> Map:
    items = dict(build.items)
    for key in _PAIRS:
        if key in items:
            items[key] = pairs_of(items[key])
    if "extra_hosts" in items:
        items["extra_hosts"] = _hosts_of(items["extra_hosts"])
    return Map(build.span, items, build.keys, build.tag)


def pairs_of(node: Node, separators: str = "=") -> Node:
    """A list of `K=V` as a mapping; a `K` alone has nothing as its value."""
    if isinstance(node, Scalar) and isinstance(node.value, str) and not node.tag:
        node = Sequence(node.span, (node,))  # ssh: default
    if not isinstance(node, Sequence):
        return node
    items: dict[str, Node] = {}
    keys = {}
    for item in node.items:
        if not isinstance(item, Scalar):
            raise fault(item.span, "NAME=VALUE is needed")
        text = text_of_scalar(item.value)
        at = min((i for i in map(text.find, separators) if i >= 0), default=-1)
        name = text if at < 0 else text[:at]
        items[name] = Scalar(item.span, None if at < 0 else text[at + 1 :], item.tag)
        keys[name] = item.span
    return Map(node.span, items, keys, node.tag)


def _hosts_of(node: Node) -> Node:
    """extra_hosts as a mapping of lists."""
    items: dict[str, Node] = {}
    keys = {}
    parts = node.items if isinstance(node, Sequence) else (node,)
    for part in parts:
        found = pairs_of(Sequence(part.span, (part,)), "=:") if isinstance(part, Scalar) else part
        if not isinstance(found, Map):
            raise fault(part.span, "HOST=ADDRESS is needed")
        for host, value in found.items.items():
            values = value.items if isinstance(value, Sequence) else (value,)
            before = items.get(host)
            old = before.items if isinstance(before, Sequence) else ()
            items[host] = Sequence(value.span, (*old, *values), value.tag)
            keys[host] = found.keys[host]
    return Map(node.span, items, keys, node.tag)
