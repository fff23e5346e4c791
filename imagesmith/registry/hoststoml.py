"""containerd's hosts.toml: the hosts that serve a registry, in order, each with its trust.

Spec: containerd's docs/hosts.md.
Trust: a file of the machine; what is malformed is named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from imagesmith.errors import UsageError, reason_of
from imagesmith.registry.endpoint import Endpoint
from imagesmith.values import replace

__all__ = ["load"]

_CAPABILITIES = ("pull", "resolve", "push")
_DURATION = r"(\d+(?:\.\d+)?)(ms|s|m)"


def load(
    folders: Sequence[Path], registry: str, upstream: Endpoint
) -> tuple[list[Endpoint], Endpoint] | None:
    """The endpoints to read a registry from and the one to write to; None where no file speaks of it.

    Args:
        folders: where the folders of hosts are, the first that has one decides.
        registry: host[:port] as in references.
        upstream: the registry's own endpoint.

    Raises:
        UsageError: the file is malformed.
    """
    names = [registry, "_default"]
    host, colon, port = registry.rpartition(":")
    if colon and port.isdigit():
        names.insert(0, f"{host}_{port}_")
    for folder in folders:
        for name in names:
            path = folder / name / "hosts.toml"
            if path.is_file():
                return _read(path, registry, upstream)
    return None


def _read(path: Path, registry: str, upstream: Endpoint) -> tuple[list[Endpoint], Endpoint]:
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise UsageError(f"{path}: {reason_of(e)}") from e
    own = upstream
    if document.get("server"):
        own, _ = _host(_text(document, "server", path), document, path, registry, upstream)
        own = replace(own, mirror=False)  # there is none behind it
    readers: list[Endpoint] = []
    writer: Endpoint | None = None
    hosts = document.get("host", {})
    if not isinstance(hosts, dict):
        raise UsageError(f"{path}: [host] must hold tables")
    for url, table in hosts.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: [host.{url!r}] must be a table")
        endpoint, can = _host(url, table, path, registry, upstream)
        if "pull" in can:
            readers.append(replace(endpoint, use="all" if "resolve" in can else "digest-only"))
        if "push" in can and writer is None:
            writer = replace(endpoint, mirror=False)
    return [*readers, own], writer or own


def _host(
    url: str, table: dict[str, Any], path: Path, registry: str, upstream: Endpoint
) -> tuple[Endpoint, frozenset[str]]:
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not match, a port that is no number
        good = False
    if not good:
        raise UsageError(f"{path}: {url!r} is no address of a host")
    can = table.get("capabilities", list(_CAPABILITIES))
    if not isinstance(can, list) or not all(c in _CAPABILITIES for c in can):
        raise UsageError(f"{path}: {url}: capabilities are of {', '.join(_CAPABILITIES)}")
    base = parts.path.rstrip("/")
    prefix = base if table.get("override_path") is True or base.endswith("/v2") else f"{base}/v2"
    foreign = parts.netloc not in (registry, upstream.host)
    return (
        Endpoint(
            host=parts.netloc,
            registry=registry,
            schemes=(parts.scheme,),
            prefix=prefix,
            verify=upstream.verify and table.get("skip_verify") is not True,
            ca=tuple(_paths(table.get("ca"), path)),
            client_cert=_pair(table.get("client"), path),
            headers=_headers(table.get("header"), path),
            mirror=foreign,
            namespace=registry if foreign else "",
            timeout_s=_seconds(table.get("dial_timeout"), path),
            proxy=table["proxy"] if isinstance(table.get("proxy"), str) else None,
        ),
        frozenset(can),
    )


def _text(table: dict[str, Any], key: str, path: Path) -> str:
    if not isinstance(table[key], str):
        raise UsageError(f"{path}: {key} must be a string")
    return str(table[key])


def _paths(value: Any, path: Path) -> list[str]:  # noqa: ANN401 - TOML may hold anything
    """Files, relative to the file that names them."""
    items = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(i, str) for i in items):
        raise UsageError(f"{path}: ca and client name files")
    return [str(path.parent / i) for i in items]


def _pair(value: Any, path: Path) -> tuple[str, str]:  # noqa: ANN401
    """The first client certificate with its key; one file may hold both."""
    if value is None:
        return "", ""
    first = value[0] if isinstance(value, list) and value else value
    files = _paths(first, path)
    if not files:
        return "", ""
    return files[0], files[-1] if isinstance(first, list) else files[0]


def _headers(value: Any, path: Path) -> dict[str, str]:  # noqa: ANN401
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{path}: header must be a table")
    return {k: ", ".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in value.items()}


def _seconds(value: Any, path: Path) -> float:  # noqa: ANN401
    if value is None:
        return 0.0
    match = re.fullmatch(_DURATION, str(value))
    if match is None:
        raise UsageError(f"{path}: dial_timeout {value!r} is no duration, such as 10s")
    return float(match[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[match[2]]
