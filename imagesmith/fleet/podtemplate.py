"""A pod template of the user's, laid over the pods that units run in.

Why: what a cluster wants of pods (limits, tolerations, accounts, other security profiles) is endless; we say
what a build needs, the template says all else, and has the last word.
Spec: Kubernetes' PodTemplateSpec, or a Pod; as with a strategic merge, objects are laid over each other,
lists of what has a name are joined by it (mounts by their path), other lists are replaced, null takes away.
Trust: the user's file. What an API server would refuse only after it was sent is refused here, with its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagesmith.bake.places import Source, Span, fault
from imagesmith.bake.yamltree import Map, Node, Scalar, Sequence, read_documents

__all__ = ["CONTAINER", "laid_over", "read_template"]

#: The container in which a unit runs; the template's container of that name is laid over it.
CONTAINER = "work"
#: By what the items of a list are told apart.
_KEYS = {
    "containers": "name", "initContainers": "name", "volumes": "name", "env": "name",
    "imagePullSecrets": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath",
    "hostAliases": "ip",
}  # fmt: skip
#: What a pod template may have; a whole Pod has its kind besides.
_TOP = ("metadata", "spec", "apiVersion", "kind", "template")


def read_template(name: str, text: str) -> dict[str, Any]:
    """The template of a file in YAML or JSON: `metadata` and `spec`.

    Raises:
        DefinitionError: it is none, or asks for what a unit's pod cannot be.
    """
    source = Source(name, text)
    documents = read_documents(source)
    whole = Span(source, 0, 0)
    if len(documents) != 1 or not isinstance(documents[0], Map):
        raise fault(documents[0].span if documents else whole, "a pod template is one object, with spec")
    top = documents[0]
    if isinstance(inner := top.items.get("template"), Map):  # kind: PodTemplate
        top = inner
    for key, node in top.items.items():
        if key not in _TOP:
            raise fault(node.span, f"a pod template has no {key[:60]}", hint="metadata and spec are known")
    metadata, spec = top.items.get("metadata"), top.items.get("spec")
    if metadata is not None and not isinstance(metadata, Map):
        raise fault(metadata.span, "metadata is an object")
    if not isinstance(spec, Map):
        raise fault((spec or top).span, "a pod template is an object with spec")
    _check(spec)
    return {key: _plain(top.items[key]) for key in ("metadata", "spec") if key in top.items}


def _check(spec: Map) -> None:
    """What the schema allows, and no API server or no unit does; and lists that are to be joined."""
    for key in ("containers", "initContainers", "volumes"):
        node = spec.items.get(key)
        if node is not None and not isinstance(node, Sequence):
            raise fault(node.span, f"{key} is a list")
        for item in node.items if node is not None else ():
            name = item.items.get("name") if isinstance(item, Map) else None
            if name is None or not isinstance(_value(name), str):
                raise fault(item.span, f"each of {key} is an object with a name")
    restart = spec.items.get("restartPolicy")
    if restart is not None and _value(restart) != "Never":
        raise fault(
            restart.span, "restartPolicy must be Never, since a lost unit gets a new pod", hint="leave it out"
        )
    users = spec.items.get("hostUsers")
    if users is not None and _value(users) is False:
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if key in spec.items and _value(spec.items[key]) is True:
                raise fault(spec.items[key].span, f"{key} cannot be had with hostUsers: false")


def _value(node: Node) -> object:
    return node.value if isinstance(node, Scalar) else None


def _plain(node: Node) -> Any:  # noqa: ANN401 - whatever YAML can hold
    """A node as JSON has it."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Map):
        return {key: _plain(item) for key, item in node.items.items()}
    return [_plain(item) for item in node.items]


def laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """An object with another one laid over it; see the module's docstring."""
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        if value is None:
            out.pop(key, None)
        elif isinstance(old, Mapping) and isinstance(value, Mapping):
            out[key] = laid_over(old, value)
        elif isinstance(old, list) and isinstance(value, list) and key in _KEYS:
            out[key] = _joined(old, value, _KEYS[key])
        else:
            out[key] = value
    return out


def _joined(base: list[Any], over: list[Any], key: str) -> list[Any]:
    """A list whose items have names, with those of another one laid over or added."""
    out = list(base)
    at = {item[key]: n for n, item in enumerate(base)}
    for item in over:
        name = item.get(key) if isinstance(item, Mapping) else None
        place = at.get(name) if isinstance(name, str) else None
        if place is None:
            out.append(item)
        else:
            out[place] = laid_over(out[place], item)
    return out
