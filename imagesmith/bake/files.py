"""Which files are a definition, and reading them: bake files as trees, compose files as one value.

Without `-f`, and without BUILDX_BAKE_FILE, all are read that there are of FILES; later ones come over earlier
ones. Compose files come first, wherever they are named: by compose's rules they are one.
Spec: buildx's bake reference, and its variables BUILDX_BAKE_FILE, BUILDX_BAKE_PATH_SEPARATOR,
BUILDX_BAKE_FILE_RELATIVE_PATHS and BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP.
Trust: see reading.py; in a definition from elsewhere, `cwd://FILE` is a file of the user's, and no other is.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence

from imagesmith.bake.compose import Composed, environment, read
from imagesmith.bake.contextpaths import rebased
from imagesmith.bake.nodes import Body
from imagesmith.bake.places import Source
from imagesmith.bake.reading import Folder, decoded
from imagesmith.bake.target import Setting, Target
from imagesmith.errors import DefinitionError
from imagesmith.values import replace

__all__ = [
    "FILES", "allows_lookup", "beside_its_file", "is_relative_to_files", "names_given", "names_there",
    "parse", "read_definition",
]  # fmt: skip

#: What is read where nothing is named, in this order.
FILES = (
    "compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml", "docker-bake.json",
    "docker-bake.hcl", "docker-bake.override.json", "docker-bake.override.hcl",
)  # fmt: skip
_LOCAL = "cwd://"
_TRUE = ("1", "t", "T", "TRUE", "true", "True")


def names_given(flags: Sequence[str], env: Mapping[str, str]) -> tuple[str, ...]:
    """The names of files: those of `-f`, or those of BUILDX_BAKE_FILE; none if neither says any."""
    if flags:
        return tuple(flags)
    separator = env.get("BUILDX_BAKE_PATH_SEPARATOR") or os.pathsep
    return tuple(name for name in env.get("BUILDX_BAKE_FILE", "").split(separator) if name)


def names_there(folder: Folder) -> tuple[str, ...]:
    """Those of FILES that a folder has.

    Raises:
        DefinitionError: it has none.
    """
    found = tuple(name for name in FILES if folder.exists(name))
    if not found:
        hint = "name one with -f, or write docker-bake.hcl or compose.yaml"
        raise DefinitionError(f"no definition in {folder.path}", hint=hint)
    return found


def allows_lookup(env: Mapping[str, str]) -> bool:
    """True where variables of definitions take values of the environment."""
    return env.get("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP", "") not in _TRUE


def is_relative_to_files(env: Mapping[str, str]) -> bool:
    """True where contexts are seen from the folders of their files; see `beside_its_file`."""
    return env.get("BUILDX_BAKE_FILE_RELATIVE_PATHS", "") in _TRUE


def read_definition(
    names: Sequence[str],
    *,
    local: Folder,
    remote: Folder | None = None,
    env: Mapping[str, str],
    given: Mapping[str, str] | None = None,
    stdin: Callable[[], bytes] = lambda: b"",
) -> list[Body | Composed]:
    """The files of a definition: what the compose files say, then every other one, in order.

    Args:
        names: of files, see names_given; `-` is standard input. None for those that there are.
        local: the working folder.
        remote: the folder of a definition from elsewhere; names lie in it, those with `cwd://` in `local`.
        env: the environment.
        given: values by --var, for compose files.
        stdin: reads standard input.

    Raises:
        DefinitionError: a file cannot be read, or is none of the formats.
    """
    home = remote or local
    sources: list[Source] = []
    for name in names or names_there(home):
        if name == "-":
            sources.append(decoded("-", stdin()))
        elif name.startswith(_LOCAL):
            found = local.read(name.removeprefix(_LOCAL))
            sources.append(Source(name if remote else found.name, found.text))
        else:
            sources.append(home.read(name))
    known = environment(env if allows_lookup(env) else {}, local, given)
    parsed = [parse(source, known, home) for source in sources]
    composed = [source for source, body in zip(sources, parsed, strict=True) if body is None]
    bodies = [body for body in parsed if body is not None]
    return [*([read(composed, known, home)] if composed else []), *bodies]


def parse(source: Source, env: Mapping[str, str], folder: Folder) -> Body | None:
    """A bake file by its name's ending, else by what it can be read as; None for a compose file.

    Raises:
        DefinitionError: it can be read as nothing; of the formats, the likeliest says why.
    """
    from imagesmith.bake import hcl, hcljson

    name = source.name.lower()
    if name.endswith((".yaml", ".yml")):
        return None
    if name.endswith(".hcl"):
        return hcl.parse(source)
    if name.endswith(".json"):
        return hcljson.parse(source)
    if re.match(r"\s*\{", source.text):
        if _is_compose(source, env, folder):
            return None
        return hcljson.parse(source)
    if re.search(r"^services\s*:", source.text, re.MULTILINE) or _is_compose(source, env, folder):
        return None
    return hcl.parse(source)


def _is_compose(source: Source, env: Mapping[str, str], folder: Folder) -> bool:
    try:
        read([source], env, folder)
    except DefinitionError:
        return False
    return True


def beside_its_file(target: Target, folder: Folder) -> Target:
    """A target whose paths of contexts were written beside its own file, as seen from the working folder.

    Args:
        target: its span says which file.
        folder: the working folder.
    """
    name = target.span.source.name if target.span is not None else "-"
    place = posixpath.dirname(name)
    if name == "-" or name.startswith(_LOCAL) or not place:
        return target
    if place.startswith("/"):
        place = os.path.relpath(place, folder.path)
    attributes: dict[str, Setting] = dict(target.attributes)
    context, contexts = attributes.get("context", "."), attributes.get("contexts")
    attributes["context"] = rebased(str(context), place)
    if isinstance(contexts, Mapping):
        attributes["contexts"] = {key: rebased(value, place) for key, value in contexts.items()}
    return replace(target, attributes=attributes)
