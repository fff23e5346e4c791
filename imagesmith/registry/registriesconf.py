"""containers' registries.conf: where registries are, which are blocked, and their mirrors.

Spec: containers-registries.conf(5), version 2. Short names are Docker's here: unqualified-search-registries,
aliases and short-name-mode are not read.
Trust: a file of the machine or its user; what is malformed is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from imagesmith.errors import UsageError, reason_of
from imagesmith.values import field, frozen

__all__ = ["Location", "Registry", "load", "match"]

Use = Literal["all", "digest-only", "tag-only"]
_USES: tuple[Use, ...] = ("all", "digest-only", "tag-only")
_V1 = ("search", "insecure", "block")


@frozen
class Location:
    """A host with a path, and how far it is trusted."""

    location: str
    insecure: bool = False
    use: Use = "all"


@frozen(kw_only=True)
class Registry:
    """A [[registry]] table; `location` is empty where names stay as they are."""

    prefix: str
    location: str
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[Location, ...] = field(default_factory=tuple)
    file: str = ""


def load(environ: Mapping[str, str], home: Path, file: str = "") -> list[Registry]:
    """The tables of the first file there is, and of the folder beside it; `file` stands for that file.

    Raises:
        UsageError: a file is malformed, or the one that was asked for is missing.
    """
    chosen = file or environ.get("CONTAINERS_REGISTRIES_CONF", "")
    candidates = (
        [Path(chosen)]
        if chosen
        else [home / ".config/containers/registries.conf", Path("/etc/containers/registries.conf")]
    )
    main = next((p for p in candidates if p.is_file()), None)
    if main is None:
        if chosen:
            raise UsageError(f"{chosen}: no such file")
        return []
    found: dict[str, Registry] = {}
    for path in (main, *sorted(main.with_name(main.name + ".d").glob("*.conf"))):
        for registry in _tables(path):
            found[registry.prefix] = registry
    return list(found.values())


def _tables(path: Path) -> Iterator[Registry]:
    try:
        text = path.read_text(encoding="utf-8")
        if _is_bare(text):
            return
        import tomllib

        document = tomllib.loads(text)
    except (OSError, ValueError) as e:
        raise UsageError(f"{path}: {reason_of(e)}") from e
    tables = document.get("registry", [])
    old = document.get("registries")
    if isinstance(old, dict) and any(k in old for k in _V1):
        if tables:
            raise UsageError(f"{path}: mixing sysregistry v1/v2 is not supported")
        raise UsageError(
            f"{path}: version 1 of the format is not supported", hint="write [[registry]] tables"
        )
    if not isinstance(tables, list):
        raise UsageError(f"{path}: [[registry]] must be a list of tables")
    for table in tables:
        yield _registry(table, path)


def _is_bare(text: str) -> bool:
    """True for a file as distributions put it there: remarks, what is not read here, and short names.

    The parser of TOML, which finds nothing in it, would be a fifteenth of what a build without work costs.
    """
    aliases = False
    for line in text.split("\n"):
        entry = line.strip(" \t")
        if not entry.isprintable() or "\\" in entry:
            return False
        if entry == "[aliases]" and not aliases:
            aliases = True
            continue
        key, _, value = entry.partition("=")
        name, more = key.rstrip(), [outside.strip() for outside in value.split('"')[::2]]
        quoted = aliases and name[:1] == name[-1:] == '"' and name.count('"') == 2
        text_only, listed = (
            more == ["", ""],
            more[:1] == ["["] and more[-1] == "]" and set(more[1:-1]) <= {","},
        )
        if not (
            entry[:1] in ("", "#")
            or (quoted and text_only)
            or (not aliases and name == "short-name-mode" and text_only)
            or (not aliases and name == "unqualified-search-registries" and listed)
        ):
            return False
    return True


def _registry(table: Any, path: Path) -> Registry:  # noqa: ANN401 - TOML may hold anything
    if not isinstance(table, dict):
        raise UsageError(f"{path}: [[registry]] must be a table")
    location, prefix = _place(table, "location", path), _text(table, "prefix", path)
    if not location and not prefix.startswith("*."):
        raise UsageError(
            f"{path}: invalid condition: location is unset and prefix is not in the format: *.example.com"
        )
    digests = _flag(table, "mirror-by-digest-only", path)
    mirrors = table.get("mirror", [])
    if not isinstance(mirrors, list) or not all(isinstance(m, dict) for m in mirrors):
        raise UsageError(f"{path}: [[registry.mirror]] must be tables")
    return Registry(
        prefix=(prefix or location).rstrip("/"),
        location=location,
        insecure=_flag(table, "insecure", path),
        blocked=_flag(table, "blocked", path),
        mirrors=tuple(_mirror(m, digests, path) for m in mirrors),
        file=str(path),
    )


def _mirror(table: dict[str, Any], digests: bool, path: Path) -> Location:
    use = _text(table, "pull-from-mirror", path) or "all"
    if use not in _USES:
        raise UsageError(f"{path}: pull-from-mirror is {use!r}, not one of {', '.join(_USES)}")
    if digests and use != "all":
        raise UsageError(f"{path}: pull-from-mirror and mirror-by-digest-only cannot both be set")
    location = _place(table, "location", path)
    if not location:
        raise UsageError(f"{path}: a mirror without location")
    kind: Use = "digest-only" if digests else next(u for u in _USES if u == use)
    return Location(location, _flag(table, "insecure", path), kind)


def _text(table: dict[str, Any], key: str, path: Path) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{path}: {key} must be a string")
    return value


def _place(table: dict[str, Any], key: str, path: Path) -> str:
    value = _text(table, key, path)
    if "://" in value:
        raise UsageError(f"{path}: invalid location {value!r}: URI schemes are not supported")
    return value.rstrip("/")


def _flag(table: dict[str, Any], key: str, path: Path) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise UsageError(f"{path}: {key} must be true or false")
    return value


def match(tables: list[Registry], name: str) -> Registry | None:
    """The table with the longest prefix of `registry/repository`."""
    fitting = [t for t in tables if _fits(t.prefix, name)]
    return max(fitting, key=lambda t: len(t.prefix), default=None)


def _fits(prefix: str, name: str) -> bool:
    if prefix.startswith("*."):
        host = name.partition("/")[0]
        return ":" not in host and host.endswith(prefix[1:])
    return name == prefix or name.startswith((f"{prefix}/", f"{prefix}:"))
