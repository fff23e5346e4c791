"""Compose files as targets: every service with a `build` is one, and the group default is all of them.

Spec: buildx's bake/compose.go, compose-spec's build.md, and docker's page on `x-bake`. Beyond buildx,
`entitlements`, `privileged` and `no_cache_filter` count, as they do for `docker compose build`.
Trust: files may come from strangers; see yamltree.py and composeload.py for what is bounded. What a build may
read and ask for is checked where targets are, by `--allow`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from imagesmith.bake.composeload import load
from imagesmith.bake.composevalues import flag, scalar, size_text, text, texts, words
from imagesmith.bake.dotenv import read_variables
from imagesmith.bake.entries import Entry, entries_of, without_doubles
from imagesmith.bake.places import Source, Span, fault
from imagesmith.bake.reading import Folder
from imagesmith.bake.target import Group, Setting, Target
from imagesmith.bake.values import Unsuitable
from imagesmith.bake.yamltree import Map, Node, Scalar
from imagesmith.bake.yamltree import Sequence as Items
from imagesmith.dockerfile.suggest import suggest
from imagesmith.values import frozen

__all__ = ["Composed", "environment", "read"]

_NAME = re.compile(r"[a-zA-Z0-9_-]+")
#: Keys of `build`, and the attribute that a text of it is, as it stands.
_TEXTS = {
    "context": "context", "dockerfile": "dockerfile", "dockerfile_inline": "dockerfile-inline",
    "target": "target", "network": "network",
}  # fmt: skip
_FLAGS = {"no_cache": "no-cache", "pull": "pull"}
_LISTS = {
    "tags": "tags", "platforms": "platforms", "entitlements": "entitlements",
    "no_cache_filter": "no-cache-filter",
}  # fmt: skip
_CACHES = {"cache_from": "cache-from", "cache_to": "cache-to"}
_BUILD = (
    *_TEXTS, *_FLAGS, *_LISTS, *_CACHES, "args", "labels", "additional_contexts", "ssh", "secrets",
    "shm_size", "ulimits", "extra_hosts", "provenance", "sbom", "privileged", "isolation",
)  # fmt: skip
#: Keys of x-bake: texts with spaces, or lists.
_X_ENTRIES = ("cache-from", "cache-to", "secret", "ssh", "output")
_X_TEXTS = ("tags", "platforms", "no-cache-filter")
_X_BAKE = (*_X_ENTRIES, *_X_TEXTS, "pull", "no-cache", "contexts")


@frozen(eq=False)
class Composed:
    """What compose files say: targets by name, and the group of all, in the order of the files."""

    targets: Mapping[str, Target]
    group: Group
    sources: tuple[Source, ...]


def environment(
    env: Mapping[str, str], folder: Folder, given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The variables of compose files: of `.env` in the folder, of `env`, and by --var; the last wins.

    Raises:
        DefinitionError: `.env` cannot be read.
    """
    found = dict(env)
    if folder.exists(".env"):
        for name, value in read_variables(folder.read(".env"), env).items():
            found.setdefault(name, value)
    return found | dict(given or {})


def read(sources: Sequence[Source], env: Mapping[str, str], folder: Folder) -> Composed:
    """Compose files, merged by compose's rules, as targets.

    Args:
        sources: the files, in order; at least one.
        env: values of variables; see `environment`.
        folder: where files lie that they name; contexts are not looked at.

    Raises:
        DefinitionError: something in them is wrong; it is shown at its place.
    """
    model = load(sources, env, folder)
    services, secrets = model.items.get("services"), model.items.get("secrets")
    known = secrets.items if isinstance(secrets, Map) else {}
    targets: dict[str, Target] = {}
    span = services.span if isinstance(services, Map) else None
    if isinstance(services, Map):
        for name, service in services.items.items():
            if isinstance(service, Map) and isinstance(build := service.items.get("build"), Map):
                target = _Service(name, service, build, services.keys[name], env, folder, known).target()
                if target.name in targets:
                    raise fault(services.keys[name], f"another service is target {target.name}, too")
                targets[target.name] = target
    return Composed(targets, Group(name="default", targets=tuple(targets), span=span), tuple(sources))


def _target_name(service: str) -> str:
    """A service's name as that of a target: a dot, which none has, is an underscore."""
    return service.replace(".", "_")


class _Service:
    """One service with a build."""

    def __init__(
        self, name: str, service: Map, build: Map, place: Span, env: Mapping[str, str], folder: Folder,
        secrets: Mapping[str, Node],
    ) -> None:  # fmt: skip
        self._name, self._service, self._build, self._place = name, service, build, place
        self._env, self._folder, self._secrets = env, folder, secrets
        self._found: dict[str, Setting] = {}

    def target(self) -> Target:
        name = _target_name(self._name)
        if not _NAME.fullmatch(name):
            raise fault(
                self._place, f"invalid service name {name!r}: a target's has letters, digits, _ and -"
            )
        for key, node in self._build.items.items():
            if key not in _BUILD and not key.startswith("x-"):
                where = self._build.keys.get(key, node.span)
                raise fault(where, f"services.{self._name}.build has no key {key!r}{suggest(key, _BUILD)}")
        self._plain()
        self._maps()
        self._lists()
        self._extension()
        if not self._found.get("tags") and "image" in self._service.items:
            self._put("tags", tuple(filter(None, (text(self._service.items["image"], "image"),))))
        return Target(name=name, attributes=self._found, span=self._place)

    def _put(self, name: str, value: Setting) -> None:
        """Keep what is not empty."""
        if value not in ("", (), {}, False):
            self._found[name] = value

    def _get(self, key: str) -> Node | None:
        node = self._build.items.get(key)
        return None if isinstance(node, Scalar) and node.value is None else node

    def _plain(self) -> None:
        self._found["context"] = "."
        for key, name in _TEXTS.items():
            if (node := self._get(key)) is not None:
                self._put(name, text(node, key))
        for key, name in _FLAGS.items():
            if (node := self._get(key)) is not None:
                self._put(name, flag(node, key))
        if (node := self._get("shm_size")) is not None:
            self._put("shm-size", size_text(node))
        if (node := self._get("isolation")) is not None and text(node, "isolation") not in ("", "default"):
            raise fault(node.span, "isolation is of Windows; leave it out")

    # --- maps ----------------------------------------------------------------------------------

    def _maps(self) -> None:
        args = {key: scalar(node, f"args.{key}") for key, node in self._pairs("args").items()}
        own = self._environment() if None in args.values() else {}
        known = {
            key: own.get(key, self._env.get(key)) if value is None else value for key, value in args.items()
        }
        self._put("args", {key: value for key, value in known.items() if value is not None})
        self._put(
            "labels", {k: scalar(node, f"labels.{k}") or "" for k, node in self._pairs("labels").items()}
        )
        contexts = self._pairs("additional_contexts")
        self._put(
            "contexts", _contexts({k: text(node, f"additional_contexts.{k}") for k, node in contexts.items()})
        )
        hosts = self._pairs("extra_hosts")
        self._put("extra-hosts", {host: ",".join(texts(node, "extra_hosts")) for host, node in hosts.items()})
        self._put("ulimits", tuple(_ulimit(name, node) for name, node in self._pairs("ulimits").items()))

    def _pairs(self, key: str) -> Mapping[str, Node]:
        node = self._get(key)
        if node is None:
            return {}
        if not isinstance(node, Map):
            raise fault(node.span, f"{key} must be a mapping")
        return node.items

    def _environment(self) -> dict[str, str]:
        """The service's own variables, which args without a value are looked up in first."""
        found: dict[str, str] = {}
        files = self._service.items.get("env_file")
        for node in files.items if isinstance(files, Items) else ():
            found |= self._env_file(node)
        own = self._service.items.get("environment")
        for key, node in own.items.items() if isinstance(own, Map) else ():
            value = scalar(node, f"environment.{key}")
            value = self._env.get(key) if value is None else value
            if value is not None:
                found[key] = value
        return found

    def _env_file(self, node: Node) -> dict[str, str]:
        given = node.items if isinstance(node, Map) else {"path": node}
        if "path" not in given:
            raise fault(node.span, "env_file needs a path")
        path = text(given["path"], "env_file.path")
        if (
            "required" in given
            and not flag(given["required"], "env_file.required")
            and not self._folder.exists(path)
        ):
            return {}
        source = self._folder.read(path)
        if "format" in given and text(given["format"], "env_file.format") == "raw":
            lines = [line for line in source.text.splitlines() if line.strip() and not line.startswith("#")]
            return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}
        return read_variables(source, self._env)

    # --- lists ---------------------------------------------------------------------------------

    def _lists(self) -> None:
        for key, name in _LISTS.items():
            if (node := self._get(key)) is not None:
                self._put(name, tuple(dict.fromkeys(texts(node, key))))
        for key, name in _CACHES.items():
            if (node := self._get(key)) is not None:
                self._entries(name, node, texts(node, key))
        for key in ("sbom", "provenance"):
            if (node := self._get(key)) is not None:
                self._entries("attest", node, _attest(key, text(node, key)))
        secrets = self._get("secrets")
        if secrets is not None:
            if not isinstance(secrets, Items):
                raise fault(secrets.span, "secrets must be a list")
            self._put("secret", tuple(self._secret(node) for node in secrets.items))
        keys = {k: scalar(node, f"ssh.{k}") for k, node in self._pairs("ssh").items()}
        self._put(
            "ssh", tuple({"id": k, "paths": keys[k] or ""} if keys[k] else {"id": k} for k in sorted(keys))
        )
        if (node := self._get("privileged")) is not None and flag(node, "privileged"):
            asked = self._found.get("entitlements", ())
            assert isinstance(asked, tuple)
            self._put("entitlements", tuple(dict.fromkeys((*(str(e) for e in asked), "security.insecure"))))

    def _entries(self, name: str, node: Node, given: Sequence[str]) -> None:
        """Add entries of a list, each once."""
        before = self._found.get(name, ())
        assert isinstance(before, tuple)
        found: list[Entry] = [entry for entry in before if not isinstance(entry, str)]
        try:
            for one in given:
                found += entries_of(name, one)
        except Unsuitable as e:
            raise fault(node.span, f"{name}: {e}") from e
        self._put(name, without_doubles(name, found))

    def _secret(self, node: Node) -> Entry:
        given = node.items.get("source", node) if isinstance(node, Map) else node
        name = text(given, "secrets")
        secret = self._secrets.get(name)
        if secret is None:
            raise fault(given.span, f"service {self._name} refers to undefined build secret {name}")
        items = secret.items if isinstance(secret, Map) else {}
        if (external := items.get("external")) is not None and (
            isinstance(external, Map) or flag(external, "external")
        ):
            raise fault(secret.span, f"unsupported external secret {name}: give it a file or an environment")
        found = {"id": name}
        for key, to in (("file", "src"), ("environment", "env")):
            if key in items:
                found[to] = text(items[key], f"secrets.{name}.{key}")
        return found

    # --- x-bake --------------------------------------------------------------------------------

    def _extension(self) -> None:
        node = self._get("x-bake")
        if node is None:
            return
        if not isinstance(node, Map):
            raise fault(node.span, "x-bake must be a mapping")
        for key, value in node.items.items():
            if key not in _X_BAKE:
                raise fault(
                    node.keys.get(key, value.span), f"x-bake has no key {key!r}{suggest(key, _X_BAKE)}"
                )
            if key in _X_ENTRIES:
                self._entries(key, value, words(value, key))
            elif key in _X_TEXTS:
                before = self._found.get(key, ())
                assert isinstance(before, tuple)
                self._put(key, tuple(dict.fromkeys((*(str(t) for t in before), *words(value, key)))))
            elif key == "contexts":
                self._more_contexts(value)
            elif not (isinstance(value, Scalar) and value.value is None):
                self._found[key] = flag(value, key)
        ssh = self._found.get("ssh")
        if isinstance(ssh, tuple):
            found = [entry for entry in ssh if not isinstance(entry, str)]
            self._found["ssh"] = tuple(sorted(found, key=lambda e: (e.get("id", ""), e.get("paths", ""))))

    def _more_contexts(self, node: Node) -> None:
        if not isinstance(node, Map):
            raise fault(node.span, "contexts must be a mapping")
        more = _contexts({name: text(value, f"contexts.{name}") for name, value in node.items.items()})
        before = self._found.get("contexts", {})
        assert isinstance(before, Mapping)
        self._put("contexts", {**more, **before})


def _contexts(given: Mapping[str, str]) -> dict[str, str]:
    """Named contexts, in which a service is its target."""
    found = {}
    for name, place in given.items():
        kind, colon, rest = place.partition(":")
        found[name] = f"target:{_target_name(rest)}" if colon and kind in ("service", "target") else place
    return found


def _attest(kind: str, value: str) -> list[str]:
    if not value:
        return []
    if value.lower() in ("true", "t", "1"):
        return [f"type={kind}"]
    if value.lower() in ("false", "f", "0"):
        return [f"type={kind},disabled=true"]
    return [f"type={kind},{value}"]


def _ulimit(name: str, node: Node) -> str:
    """`NAME=SOFT:HARD`."""
    given = node.items if isinstance(node, Map) else {"soft": node, "hard": node}
    limits = []
    for key in ("soft", "hard"):
        value = scalar(given[key], f"ulimits.{name}.{key}") if key in given else None
        if value is None or not re.fullmatch(r"-1|[0-9]{1,19}", value):
            raise fault(node.span, f"ulimits.{name} needs a whole number, or soft and hard ones")
        limits.append(int(value))
    if limits[1] != -1 and (limits[0] == -1 or limits[0] > limits[1]):
        raise fault(node.span, f"ulimits.{name}: soft {limits[0]} is more than hard {limits[1]}")
    return f"{name}={limits[0]}:{limits[1]}"
