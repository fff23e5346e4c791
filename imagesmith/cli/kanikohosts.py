"""kaniko's mirrors, maps and certificates of registries as a folder of hosts.toml files for `--hosts-dir`.

Why files: the registry client reads hosts.toml already, with mirrors in order and certificates; a second way
to say all that would drift from it.
Spec: kaniko's README (--registry-mirror, --registry-map, --registry-certificate, --registry-client-cert);
containerd's docs/hosts.md.
Trust: words of a command line and of the environment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from imagesmith.errors import UsageError
from imagesmith.values import frozen

__all__ = ["HostWords", "write_hosts"]

_HUB, _HUB_HOST = "docker.io", "registry-1.docker.io"
_HUB_NAMES = (_HUB, "index.docker.io", _HUB_HOST)


@frozen(kw_only=True)
class HostWords:
    """The flags' values.

    mirrors      of --registry-mirror; maps of --registry-map
    certificates of --registry-certificate; clients of --registry-client-cert
    plain        registries of plain HTTP; unverified of any certificate
    fallback     ask the registry itself where no mirror has an image
    """

    mirrors: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    plain: Collection[str] = ()
    unverified: Collection[str] = ()
    fallback: bool = True


def write_hosts(words: HostWords, folder: Path) -> bool:
    """Write a hosts.toml for each registry that is spoken of; False where there is none.

    Raises:
        UsageError: a value is malformed, or a certificate is not there.
    """
    mirrors = _mirrors(words)
    files = _files(words.certificates, "--registry-certificate", 1)
    clients = _files(words.clients, "--registry-client-cert", 2)
    for registry in sorted({*mirrors, *files, *clients}):
        (folder / registry).mkdir(parents=True, exist_ok=True)
        text = _document(registry, mirrors.get(registry, []), files, clients, words)
        (folder / registry / "hosts.toml").write_text(text, encoding="utf-8")
    return bool(mirrors or files or clients)


def _mirrors(words: HostWords) -> dict[str, list[str]]:
    """Mirrors by registries, in order."""
    found: dict[str, list[str]] = {}
    for mirror in _split(words.mirrors, ","):
        found.setdefault(_HUB, []).append(mirror)
    for text in _split(words.maps, ";"):
        registry, equals, mirror = text.partition("=")
        if not (registry and equals and mirror) or "/" in registry:
            raise UsageError(f"--registry-map {text}: expected REGISTRY=HOST[/PATH]")
        found.setdefault(_known(registry), []).append(mirror)
    return found


def _split(texts: Iterable[str], separator: str) -> list[str]:
    return [part.strip() for text in texts for part in text.split(separator) if part.strip()]


def _known(registry: str) -> str:
    return _HUB if registry in _HUB_NAMES else registry


def _files(texts: Iterable[str], flag: str, count: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        registry, equals, value = text.partition("=")
        names = value.split(",")
        if not (registry and equals) or "/" in registry or len(names) != count:
            raise UsageError(f"{flag} {text}: expected HOST={','.join(['FILE', 'KEY'][:count])}")
        for name in names:
            if not os.path.isfile(name):
                raise UsageError(f"{flag} {text}: {name}: no such file")
        found[_known(registry)] = [os.path.abspath(name) for name in names]
    return found


def _document(
    registry: str, mirrors: list[str], files: Mapping[str, list[str]], clients: Mapping[str, list[str]],
    words: HostWords,
) -> str:  # fmt: skip
    """A hosts.toml: the registry's own server first, then who is asked before it."""
    own = _HUB_HOST if registry == _HUB else registry
    server = f"{'http' if registry in words.plain else 'https'}://{own}"
    held = [] if not mirrors or words.fallback else [mirrors[-1]]
    if held:  # it stands where the registry itself would be asked last
        lines = [f"server = {json.dumps(_url(held[0], words))}", "override_path = true"]
        lines += _trust(_host(held[0]), files, clients, words)
        mirrors = mirrors[:-1]
    else:
        lines = [f"server = {json.dumps(server)}", *_trust(registry, files, clients, words)]
    for mirror in mirrors:
        lines += [
            f"[host.{json.dumps(_url(mirror, words))}]", 'capabilities = ["pull", "resolve"]',
            "override_path = true", *_trust(_host(mirror), files, clients, words),
        ]  # fmt: skip
    if held:
        lines += [f"[host.{json.dumps(server)}]", 'capabilities = ["push"]']
        lines += _trust(registry, files, clients, words)
    return "\n".join(lines) + "\n"


def _trust(
    host: str, files: Mapping[str, list[str]], clients: Mapping[str, list[str]], words: HostWords
) -> list[str]:
    lines = [f"ca = {json.dumps(files[host])}"] if host in files else []
    lines += [f"client = [{json.dumps(clients[host])}]"] if host in clients else []
    return lines + (["skip_verify = true"] if host in words.unverified else [])


def _host(mirror: str) -> str:
    return mirror.partition("://")[2].partition("/")[0] if "://" in mirror else mirror.partition("/")[0]


def _url(mirror: str, words: HostWords) -> str:
    """The address of a mirror's API; a path of it stands before the repositories' names."""
    scheme, _, rest = mirror.rpartition("://")
    host, _, path = rest.partition("/")
    scheme = scheme or ("http" if host in words.plain else "https")
    if scheme not in ("http", "https") or not host:
        raise UsageError(f"--registry-mirror {mirror}: expected HOST[/PATH]")
    return f"{scheme}://{host}/v2/{path}".rstrip("/")
