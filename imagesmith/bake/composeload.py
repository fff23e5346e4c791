"""Compose files as one tree: variables expanded, `include` and `extends` followed, several files merged.

Why the whole file is expanded, though bake needs `build` only: `${V:?why}` in any service is an error
for compose and buildx, too.
Spec: compose-spec's 12 to 14; compose-go's loader as buildx calls it: paths stay as they are written, except
in files that others name, whose paths are seen from the working folder.
Trust: files may come from strangers: their number, and how deep they name each other, is bounded;
reading.Folder says what may be read.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence

from imagesmith.bake.composemerge import merged, normal_service
from imagesmith.bake.contextpaths import rebased
from imagesmith.bake.dotenv import read_variables
from imagesmith.bake.interpolation import BadTemplate, interpolated
from imagesmith.bake.places import Source, Span, fault
from imagesmith.bake.reading import Folder
from imagesmith.bake.yamltree import Map, Node, Scalar, read_documents
from imagesmith.bake.yamltree import Sequence as Items
from imagesmith.errors import DefinitionError

__all__ = ["load"]

_MOST_FILES = 100
_MOST_DEPTH = 50
#: Characters of all texts that have variables.
_MOST_TEXT = 32 << 20
#: Values that services have of those that they extend.
_MOST_WEIGHT = 1_000_000
#: What of a service counts here.
_KEPT = ("image", "build", "environment", "env_file", "extends")


def load(sources: Sequence[Source], env: Mapping[str, str], folder: Folder) -> Map:
    """Compose files, merged in their order; only `services` (with what builds need) and `secrets` are left.

    Raises:
        DefinitionError: one cannot be read, is no compose file, or has a variable that is missing.
    """
    loader = _Loader(folder)
    model = loader.model(sources, env, "", ())
    if not model.items:
        raise fault(Span(sources[0], 0, 1), "empty compose file: there are no services")
    return model


class _Loader:
    """Reads files, each once for each environment, and counts them."""

    def __init__(self, folder: Folder) -> None:
        self._folder, self._count, self._weight, self._grown = folder, 0, 0, 0

    def model(
        self, sources: Iterable[Source], env: Mapping[str, str], place: str, above: tuple[str, ...]
    ) -> Map:
        """Files merged; `place` is their folder, seen from the working one, `above` what included them."""
        found: Map | None = None
        for source in sources:
            for layer in self._layers(source, env):
                services = self._extended(layer, found, env, place)
                model = _model(layer, services, place)
                for include in self._includes(layer, env, place, above):
                    model = _imported(include, model)
                found = _both(found or Map(model.span, {}), model)
        return found or Map(Span(Source("", ""), 0, 0), {})

    def _layers(self, source: Source, env: Mapping[str, str]) -> list[Map]:
        """The documents of a file, expanded, with services in their normal form."""
        layers: list[Map] = []
        for document in read_documents(source):
            if not isinstance(document, Map):
                raise fault(document.span, "a compose file is a mapping with the key services")
            layer = self._expanded(document, env, {})
            assert isinstance(layer, Map)
            layers.append(_normal(layer))
        return layers

    def _expanded(self, node: Node, env: Mapping[str, str], done: dict[int, Node]) -> Node:
        """A tree with its variables expanded; what an alias repeats is done once."""
        if id(node) in done:
            return done[id(node)]
        new: Node = node
        if isinstance(node, Scalar):
            if isinstance(node.value, str) and "$" in node.value:
                try:
                    new = Scalar(node.span, interpolated(node.value, env), node.tag)
                except BadTemplate as e:
                    raise fault(_within(node.span, e.part), str(e)) from e
                self._grown += len(new.value) if isinstance(new.value, str) else 0
                if self._grown > _MOST_TEXT:
                    raise fault(node.span, f"variables make more than {_MOST_TEXT >> 20} MiB of the files")
        elif isinstance(node, Map):
            items = {key: self._expanded(n, env, done) for key, n in node.items.items()}
            new = Map(node.span, items, node.keys, node.tag)
        else:
            new = Items(node.span, tuple(self._expanded(n, env, done) for n in node.items), node.tag)
        done[id(node)] = new
        return new

    def _read(self, path: str, place: Span) -> Source:
        self._count += 1
        if self._count > _MOST_FILES:
            raise fault(place, f"more than {_MOST_FILES} files are read for it")
        try:
            return self._folder.read(path)
        except DefinitionError as e:
            raise fault(place, e.message) from e

    # --- include -------------------------------------------------------------------------------

    def _includes(self, layer: Map, env: Mapping[str, str], place: str, above: tuple[str, ...]) -> list[Map]:
        node = layer.items.get("include")
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return []
        if not isinstance(node, Items):
            raise fault(node.span, "include must be a list")
        return [self._included(item, env, place, above) for item in node.items]

    def _included(self, node: Node, env: Mapping[str, str], place: str, above: tuple[str, ...]) -> Map:
        given = node.items if isinstance(node, Map) else {"path": node}
        for key in given:
            if key not in ("path", "project_directory", "env_file"):
                raise fault(
                    node.span, f"include has no key {key!r}: there are path, project_directory, env_file"
                )
        paths = [posixpath.join(place, text) for text in _texts(given.get("path"), node.span, "path")]
        if not paths:
            raise fault(node.span, "include needs a path")
        project = posixpath.dirname(paths[0])
        if "project_directory" in given:
            named = _texts(given["project_directory"], node.span, "project_directory")
            project = posixpath.join(place, named[0] if named else "")
        if paths[0] in above or len(above) >= _MOST_DEPTH:
            raise fault(node.span, f"include cycle detected: {' includes '.join((*above, paths[0]))}")
        files = [posixpath.join(place, text) for text in _texts(given.get("env_file"), node.span, "env_file")]
        if not files and self._folder.exists(beside := posixpath.join(project, ".env")):
            files = [beside]
        inner = dict(env)
        for file in files:
            for name, value in read_variables(self._read(file, node.span), inner).items():
                inner.setdefault(name, value)
        sources = [self._read(path, node.span) for path in paths]
        found = self.model(sources, inner, project, (*above, paths[0]))
        return _with_contexts(found, project)

    # --- extends -------------------------------------------------------------------------------

    def _extended(self, layer: Map, before: Map | None, env: Mapping[str, str], place: str) -> Map | None:
        services = layer.items.get("services")
        if not isinstance(services, Map):
            return None
        older = before.items.get("services") if before is not None else None
        known = {**(older.items if isinstance(older, Map) else {}), **services.items}
        done: dict[str, Node] = {}
        for name, node in services.items.items():
            done[name] = self._service(name, known, env, place, ())
            if node.tag:
                done[name] = node
        return Map(services.span, done, services.keys, services.tag)

    def _service(
        self,
        name: str,
        services: Mapping[str, Node],
        env: Mapping[str, str],
        place: str,
        seen: tuple[str, ...],
    ) -> Node:
        """A service with what it extends, its paths as seen from where `services` is."""
        service = services[name]
        if not isinstance(service, Map) or "extends" not in service.items:
            return service
        extends = service.items["extends"]
        given = extends.items if isinstance(extends, Map) else {"service": extends}
        base = _text(given.get("service"), extends.span, "extends.service")
        file = (
            posixpath.join(place, _text(given["file"], extends.span, "extends.file"))
            if "file" in given
            else ""
        )
        mark = f"{file}\0{base}" if file else f"{place}\0{base}"
        if mark in seen or (not file and base == name):
            raise fault(extends.span, f"service {name} extends itself, through {base}")
        if len(seen) >= _MOST_DEPTH:
            raise fault(extends.span, f"services extend each other more than {_MOST_DEPTH} deep")
        if file:
            others, inside = self._services_of(file, env, extends.span), posixpath.dirname(file)
        else:
            others, inside = services, place
        if base not in others:
            where = f" in {file}" if file else ""
            raise fault(extends.span, f"cannot extend service {name}: there is no service {base}{where}")
        older = self._service(base, others, env, inside, (*seen, mark))
        if file and isinstance(older, Map):
            older = _rebased_service(older, posixpath.relpath(inside or ".", place or "."))
        own = Map(service.span, {k: n for k, n in service.items.items() if k != "extends"}, service.keys)
        both = merged(older, own, ("services", name)) if isinstance(older, Map) else own
        self._weight += _weight(both)
        if self._weight > _MOST_WEIGHT:
            raise fault(extends.span, f"extends makes more than {_MOST_WEIGHT:,} values of it")
        return both

    def _services_of(self, file: str, env: Mapping[str, str], place: Span) -> Mapping[str, Node]:
        found: dict[str, Node] = {}
        for layer in self._layers(self._read(file, place), env):
            services = layer.items.get("services")
            found.update(services.items if isinstance(services, Map) else {})
        return found


# --- trees -------------------------------------------------------------------------------------


def _weight(service: Node) -> int:
    """How many values a service's build has, in its lists and mappings."""
    build = service.items.get("build") if isinstance(service, Map) else None
    nodes = build.items.values() if isinstance(build, Map) else ()
    return 1 + sum(1 if isinstance(node, Scalar) else len(node.items) for node in nodes)


def _within(span: Span, part: str) -> Span:
    at = span.source.text.find(part, span.start, span.end)
    return span if at < 0 else Span(span.source, at, at + len(part))


def _normal(layer: Map) -> Map:
    """A file's tree with normal services; what is of the wrong kind is refused."""
    items = dict(layer.items)
    for key in ("services", "secrets"):
        node = items.get(key)
        if node is None or (isinstance(node, Scalar) and node.value is None):
            items.pop(key, None)
        elif not isinstance(node, Map):
            raise fault(node.span, f"{key} must be a mapping")
    services = items.get("services")
    if isinstance(services, Map):
        items["services"] = Map(
            services.span, {n: _kept(n, s) for n, s in services.items.items()}, services.keys, services.tag
        )
    return Map(layer.span, items, layer.keys)


def _kept(name: str, service: Node) -> Node:
    if isinstance(service, Scalar) and (service.value is None or service.tag):
        return service if service.tag else Map(service.span, {})
    if not isinstance(service, Map):
        raise fault(service.span, f"services.{name} must be a mapping")
    kept = {key: node for key, node in service.items.items() if key in _KEPT}
    return normal_service(Map(service.span, kept, service.keys, service.tag))


def _model(layer: Map, services: Map | None, place: str) -> Map:
    """What of a file counts, its secrets' paths seen from the working folder."""
    items: dict[str, Node] = {}
    if services is not None:
        items["services"] = services
        if place:
            moved = {
                n: _rebased_service(s, place) if isinstance(s, Map) else s for n, s in services.items.items()
            }
            items["services"] = Map(services.span, moved, services.keys, services.tag)
    secrets = layer.items.get("secrets")
    if isinstance(secrets, Map):
        moved = {n: _rebased_key(s, "file", place) for n, s in secrets.items.items()}
        items["secrets"] = Map(secrets.span, moved, secrets.keys, secrets.tag)
    return Map(layer.span, items, layer.keys)


def _both(older: Map, newer: Map) -> Map:
    both = merged(older, newer)
    assert isinstance(both, Map)
    return both


def _imported(include: Map, model: Map) -> Map:
    """A model with what it includes: two that have one name must be the same."""
    items = dict(model.items)
    for key, node in include.items.items():
        own = items.get(key)
        if not isinstance(own, Map) or not isinstance(node, Map):
            items[key] = node
            continue
        for name, value in node.items.items():
            if name in own.items and _plain(own.items[name]) != _plain(value):
                raise fault(
                    own.keys[name], f"{key}.{name} conflicts with the one of {value.span.source.name}"
                )
        items[key] = Map(own.span, {**node.items, **own.items}, {**node.keys, **own.keys}, own.tag)
    return Map(model.span, items, model.keys)


def _plain(node: Node) -> object:
    """A tree without places, to compare."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Map):
        return {key: _plain(n) for key, n in node.items.items()}
    return [_plain(n) for n in node.items]


# --- paths -------------------------------------------------------------------------------------


def _rebased_service(service: Map, place: str) -> Map:
    """A service whose paths were written in the folder `place`, as seen from where that is named from."""
    if place in ("", "."):
        return service
    items = dict(service.items)
    build = items.get("build")
    if isinstance(build, Map):
        build = _rebased_key(build, "context", place)
        assert isinstance(build, Map)
        named = build.items.get("additional_contexts")
        if isinstance(named, Map):
            moved = {key: _rebased(node, place) for key, node in named.items.items()}
            new = Map(named.span, moved, named.keys, named.tag)
            build = Map(build.span, {**build.items, "additional_contexts": new}, build.keys, build.tag)
        items["build"] = build
    files = items.get("env_file")
    if isinstance(files, Items):
        moved_files = tuple(_rebased_key(_rebased(node, place), "path", place) for node in files.items)
        items["env_file"] = Items(files.span, moved_files, files.tag)
    return Map(service.span, items, service.keys, service.tag)


def _rebased_key(node: Node, key: str, place: str) -> Node:
    if not isinstance(node, Map) or key not in node.items:
        return node
    return Map(node.span, {**node.items, key: _rebased(node.items[key], place)}, node.keys, node.tag)


def _rebased(node: Node, place: str) -> Node:
    if isinstance(node, Scalar) and isinstance(node.value, str) and node.value:
        return Scalar(node.span, rebased(node.value, place), node.tag)
    return node


def _with_contexts(model: Map, place: str) -> Map:
    """An included model whose builds without a context have their own folder as one."""
    services = model.items.get("services")
    if not isinstance(services, Map):
        return model
    items: dict[str, Node] = {}
    for name, service in services.items.items():
        items[name] = service
        build = service.items.get("build") if isinstance(service, Map) else None
        if isinstance(service, Map) and isinstance(build, Map) and "context" not in build.items:
            context = Scalar(build.span, place or ".")
            build = Map(
                build.span, {**build.items, "context": context}, {**build.keys, "context": build.span}
            )
            items[name] = Map(service.span, {**service.items, "build": build}, service.keys)
    return Map(model.span, {**model.items, "services": Map(services.span, items, services.keys)}, model.keys)


def _text(node: Node | None, place: Span, what: str) -> str:
    found = _texts(node, place, what)
    if len(found) != 1:
        raise fault(place, f"{what} must be a string")
    return found[0]


def _texts(node: Node | None, place: Span, what: str) -> list[str]:
    """A string, or a list of them; the paths among them as they are, with the user's home for ~."""
    if node is None:
        return []
    found: list[str] = []
    for item in node.items if isinstance(node, Items) else (node,):
        if not isinstance(item, Scalar) or not isinstance(item.value, str):
            raise fault(place, f"{what} must be a string, or a list of strings")
        found.append(os.path.expanduser(item.value) if item.value.startswith("~/") else item.value)
    return found
