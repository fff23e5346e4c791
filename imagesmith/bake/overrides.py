"""--set: what the command line says over a bake file, `PATTERN.KEY[.NAME][+]=VALUE`.

Why they are read before any target is worked out: a mistake is told once, and parents have their own.
Spec: buildx's bake --set. What buildx loses of it (network, ulimits, no-cache-filter) counts here, and push
and load count after output, whichever was said first.
Trust: words of the command line; every mistake is a UsageError that quotes the word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from imagesmith.bake.entries import Entry
from imagesmith.bake.patterns import matching
from imagesmith.bake.target import ATTRIBUTES, Attributes, Setting, merged, setting, settled
from imagesmith.bake.values import Unsuitable
from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import UsageError
from imagesmith.options import boolean
from imagesmith.values import frozen

__all__ = ["Override", "Overrides", "overridden", "overrides_of"]

#: What --set calls attributes; an empty name is that of no attribute.
_KEYS = {
    "annotations": "annotations", "args": "args", "attest": "attest", "cache-from": "cache-from",
    "cache-to": "cache-to", "call": "call", "context": "context", "contexts": "contexts",
    "dockerfile": "dockerfile", "entitlements": "entitlements", "extra-hosts": "extra-hosts",
    "labels": "labels", "load": "", "network": "network", "no-cache": "no-cache",
    "no-cache-filter": "no-cache-filter", "output": "output", "platform": "platforms", "policy": "policy",
    "pull": "pull", "push": "", "resources": "resources", "secrets": "secret", "shm-size": "shm-size",
    "ssh": "ssh", "tags": "tags", "target": "target", "ulimits": "ulimits",
}  # fmt: skip

#: Lists that --set adds to with `=` as well.
_ADDED = ("annotations", "attest", "entitlements")

#: Says that what is not set on the command line is not looked up in the environment either.
_NO_LOOKUP = "BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP"


@frozen
class Override:
    """One key of one target: an attribute's new value, or what is added to it; or `push` or `load`."""

    name: str
    value: Setting
    adds: bool = False


#: By the names of targets.
Overrides = Mapping[str, tuple[Override, ...]]


@frozen
class _Word:
    """A --set taken apart; `value` is None where the environment is asked."""

    pattern: str
    key: str
    sub: str
    value: str | None
    adds: bool

    @property
    def path(self) -> str:
        return f"{self.key}.{self.sub}" if self.sub else self.key


def overrides_of(texts: Sequence[str], names: Iterable[str], env: Mapping[str, str]) -> Overrides:
    """What each target is to have instead.

    Args:
        texts: the values of --set, in order. Those of one list come together; of other keys the last counts.
        names: of all targets.
        env: where `PATTERN.args.NAME` without a value is looked up; nothing is set where it has none.

    Raises:
        UsageError: a text that is none, a key that is not known, a pattern that no target has.
    """
    known = list(names)
    found: dict[str, dict[str, list[_Word]]] = {}
    for text in texts:
        word = _word(text)
        for name in _named(word.pattern, known):
            value = word.value
            if value is None:
                if _disabled(env) or word.sub not in env:
                    continue
                value = env[word.sub]
            put = _Word(word.pattern, word.key, word.sub, value, word.adds)
            found.setdefault(name, {}).setdefault(word.path, []).append(put)
    return {name: tuple(_override(words) for words in by.values()) for name, by in found.items()}


def _disabled(env: Mapping[str, str]) -> bool:
    try:
        return boolean(_NO_LOOKUP, env.get(_NO_LOOKUP) or "false")
    except UsageError:
        return False  # as buildx has it


def _word(text: str) -> _Word:
    path, equals, value = text.partition("=")
    adds = path.endswith("+")
    path = path.removesuffix("+")
    pattern, dot, rest = path.partition(".")
    if not dot:
        hint = f"*.{path}=… is for all targets" if path in _KEYS else ""
        raise UsageError(f"invalid override key {path}, expected target.name", hint=hint)
    key, _, sub = rest.partition(".")
    if not equals and key != "args":
        raise UsageError(f"invalid override {text}, expected target.name=value")
    if key not in _KEYS:
        raise UsageError(f"--set {text}: unknown key: {key}{suggest(key, _KEYS)}")
    is_map = _KEYS[key] and ATTRIBUTES[_KEYS[key]].of in ("map", "resources")
    if is_map and not sub:
        raise UsageError(f"--set {text}: invalid key {path}, {key} requires name")
    if sub and not is_map:
        raise UsageError(f"--set {text}: invalid key {path}, {key} has no parts")
    return _Word(pattern, key, sub, value if equals else None, adds)


def _named(pattern: str, names: Sequence[str]) -> list[str]:
    if pattern in names:
        return [pattern]
    found = matching(pattern, names)
    if not found:
        raise UsageError(f"could not find any target matching '{pattern}'{suggest(pattern, names)}")
    return found


def _override(words: Sequence[_Word]) -> Override:
    """What is said of one key of a target; the last word says whether a list is added to."""
    last = words[-1]
    name, value = _KEYS[last.key], last.value or ""
    try:
        if not name:
            return Override(last.key, boolean(last.key, value))
        kind = ATTRIBUTES[name].of
        if kind in ("texts", "entries"):
            said = setting(name, tuple(word.value or "" for word in words))
        elif kind in ("map", "resources"):
            said = setting(name, {last.sub: value})
        elif kind == "flag":
            said = boolean(name, value)
        else:
            said = setting(name, value)
    except (Unsuitable, UsageError) as e:
        why = e.message if isinstance(e, UsageError) else str(e)
        raise UsageError(f"--set {last.pattern}.{last.path}={value}: {why}") from e
    assert said is not None  # a text is never null
    return Override(name, said, last.adds or name in _ADDED)


def overridden(attributes: Attributes, overrides: Sequence[Override]) -> Attributes:
    """A target's attributes, its parents' among them, with what is set over them; settled."""
    out = dict(attributes)
    for override in overrides:
        name, value = override.name, override.value
        if name not in ATTRIBUTES:
            continue
        before = out.get(name)
        if isinstance(value, tuple) and override.adds and isinstance(before, tuple):
            out[name] = (*before, *value)
        elif isinstance(value, tuple):
            out[name] = value
        else:
            out = dict(merged(out, {name: value}))
    asked = {o.name: o.value for o in overrides if o.name not in ATTRIBUTES}
    said = out.get("output", ())
    outputs = [e for e in said if isinstance(e, Mapping)] if isinstance(said, tuple) else []
    if "push" in asked:
        outputs = _pushed(outputs) if asked["push"] else _kept(outputs)
    if asked.get("load"):
        outputs = _loaded(outputs)
    if asked:
        out["output"] = tuple(outputs)
    return settled(out)


def _pushed(outputs: Sequence[Entry]) -> list[Entry]:
    """An image is pushed; where there is no output, or docker's alone, one that is comes to them."""
    found = [{**e, "push": "true"} if e["type"] == "image" else e for e in outputs]
    if all(e["type"] == "docker" for e in found):
        found.append({"type": "image", "push": "true"})
    return found


def _kept(outputs: Sequence[Entry]) -> list[Entry]:
    """Nothing is pushed: a registry is no output, and the last takes its place."""
    found = list(outputs)
    i = 0
    while i < len(found):
        if found[i]["type"] == "registry":
            found[i] = found[-1]
            found.pop()
            continue
        if found[i]["type"] == "image":
            found[i] = {**found[i], "push": "false"}
        i += 1
    return found


def _loaded(outputs: Sequence[Entry]) -> list[Entry]:
    """An image is loaded as well, unless that is said already, or files are what is wanted."""
    for entry in outputs:
        if entry["type"] not in ("docker", "image", "registry", "oci"):
            return list(outputs)
        if entry["type"] == "docker" and not entry.get("dest"):
            return list(outputs)
    return [*outputs, {"type": "docker"}]
