"""Where a registry's content is read and written: its own endpoint, and mirrors that configuration names.

Spec: containers-certs.d(5) for certificates; registries.conf and hosts.toml are read by registriesconf.py and
hoststoml.py.
Trust: configuration is the machine's and the user's own.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path

from imagesmith.errors import Denied, UsageError
from imagesmith.registry.endpoint import Endpoint, default_endpoint
from imagesmith.registry.hoststoml import load as load_hosts
from imagesmith.registry.registriesconf import Location, Registry, match
from imagesmith.registry.registriesconf import load as load_conf
from imagesmith.settings import Access, home_folder
from imagesmith.values import replace

__all__ = ["Hosts", "hosts_of"]


class Hosts:
    """Finds the endpoints of registries; files are read when they are first needed, once for a registry."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        home: Path | None = None,
        *,
        insecure: bool | Collection[str] = False,
        cert_dir: str = "",
        registries_conf: str = "",
        hosts_dir: str = "",
    ) -> None:
        """Prepare; the process's environment and home count where none are given.

        Args:
            environ: the environment.
            home: the user's home.
            insecure: plain HTTP, or any certificate, for every registry, or for those that are named.
            cert_dir: a folder of certificates for every registry, beside those of the machine.
            registries_conf: this registries.conf, instead of the machine's.
            hosts_dir: a folder of containerd's kind, looked into before the machine's.
        """
        self._env = dict(os.environ if environ is None else environ)
        self._home = home_folder() or Path("/") if home is None else home
        self._insecure, self._cert_dir = insecure, cert_dir
        self._registries_conf = registries_conf
        self._hosts_dirs = [Path(hosts_dir)] if hosts_dir else []
        self._hosts_dirs += [Path("/etc/containerd/certs.d"), Path("/etc/docker/certs.d")]
        # They look in twenty places, and are asked twice for each repository.
        self._own, self._hosts_toml = cache(self._find_own), cache(self._find_hosts_toml)

    @cached_property
    def _tables(self) -> list[Registry]:
        return load_conf(self._env, self._home, self._registries_conf)

    def readers(self, registry: str, repository: str) -> Sequence[Endpoint]:
        """The endpoints to read a repository from, mirrors first and the registry's own last.

        Raises:
            Denied: configuration blocks the registry.
        """
        table = self._table(registry, repository)
        if table is not None:
            mirrors = [self._mirror(m, table, registry) for m in table.mirrors]
            return [*mirrors, self._primary(table, registry)]
        found = self._hosts_toml(registry)
        return [self._own(registry)] if found is None else found[0]

    def writer(self, registry: str, repository: str) -> Endpoint:
        """The endpoint to write a repository to.

        Raises:
            Denied: configuration blocks the registry.
        """
        table = self._table(registry, repository)
        if table is not None:
            return self._primary(table, registry)
        found = self._hosts_toml(registry)
        return self._own(registry) if found is None else found[1]

    def of_files(self, scheme: str, host: str) -> Endpoint:
        """The endpoint of a server of files: the authorities in `certs.d` are believed, too."""
        found = self._certified(Endpoint(host=host, schemes=(scheme,), prefix=""), host)
        return replace(found, schemes=(scheme,), client_cert=("", ""))

    def _find_own(self, registry: str) -> Endpoint:
        return self._certified(default_endpoint(registry, insecure=self._is_insecure(registry)), registry)

    def _is_insecure(self, host: str) -> bool:
        return self._insecure if isinstance(self._insecure, bool) else host in self._insecure

    # --- registries.conf -----------------------------------------------------------------------

    def _table(self, registry: str, repository: str) -> Registry | None:
        table = match(self._tables, f"{registry}/{repository}".rstrip("/"))
        if table is not None and table.blocked:
            raise Denied(f"registry {table.prefix} is blocked in {table.file}")
        return table

    def _primary(self, table: Registry, registry: str) -> Endpoint:
        if not table.location:
            return self._located(Location(registry, table.insecure), ("", ""), registry)
        return self._located(Location(table.location, table.insecure), _rewrite(table, registry), registry)

    def _mirror(self, mirror: Location, table: Registry, registry: str) -> Endpoint:
        old = _rewrite(table, registry)[0]
        endpoint = self._located(mirror, (old, mirror.location), registry)
        return replace(endpoint, mirror=True, use=mirror.use)

    def _located(self, place: Location, rewrite: tuple[str, str], registry: str) -> Endpoint:
        host = place.location.partition("/")[0]
        insecure = self._is_insecure(host) or place.insecure
        endpoint = self._certified(default_endpoint(host, insecure=insecure), host)
        return replace(endpoint, registry=registry, rewrite=rewrite)

    # --- hosts.toml and certificates -----------------------------------------------------------

    def _find_hosts_toml(self, registry: str) -> tuple[list[Endpoint], Endpoint] | None:
        return load_hosts(self._hosts_dirs, registry, self._own(registry))

    def _certified(self, endpoint: Endpoint, name: str) -> Endpoint:
        """The endpoint with what `certs.d` has for it; where that is something, HTTPS goes first."""
        ca: list[str] = list(endpoint.ca)
        pair = endpoint.client_cert
        folders = [Path(self._cert_dir)] if self._cert_dir else []
        for base in (
            self._home / ".config/containers/certs.d",
            Path("/etc/containers/certs.d"),
            self._home / ".config/docker/certs.d",
            Path("/etc/docker/certs.d"),
        ):
            folders += [base / n for n in dict.fromkeys((name, endpoint.host, f"{endpoint.host}:443"))]
        for folder in folders:
            found = _certificates(folder)
            ca += found[0]
            pair = pair if pair[0] else found[1]
        if not ca and not pair[0]:
            return endpoint
        schemes = (
            tuple(sorted(endpoint.schemes, reverse=True)) if "https" in endpoint.schemes else endpoint.schemes
        )
        return replace(endpoint, ca=tuple(ca), client_cert=pair, schemes=schemes)


def _certificates(folder: Path) -> tuple[list[str], tuple[str, str]]:
    """The authorities (`*.crt`) and the first pair (`NAME.cert`, `NAME.key`) of a folder."""
    try:
        names = sorted(p.name for p in folder.iterdir())
    except OSError:
        return [], ("", "")
    ca = [str(folder / n) for n in names if n.endswith(".crt")]
    pair = ("", "")
    for name in names:
        stem, _, kind = name.rpartition(".")
        other = {"cert": "key", "key": "cert"}.get(kind)
        if other is None:
            continue
        if f"{stem}.{other}" not in names:
            raise UsageError(
                f"{folder / name}: there is no {stem}.{other} beside it",
                hint="a certificate authority's file ends in .crt",
            )
        pair = pair if pair[0] else (str(folder / f"{stem}.cert"), str(folder / f"{stem}.key"))
    return ca, pair


def _rewrite(table: Registry, registry: str) -> tuple[str, str]:
    """What of `registry/repository` is replaced, and by what."""
    return (registry if table.prefix.startswith("*.") else table.prefix), table.location


def hosts_of(access: Access) -> Hosts:
    """The endpoints that `access` leads to, with the environment and home of this process."""
    return Hosts(
        insecure=access.insecure,
        cert_dir=access.cert_dir,
        registries_conf=access.registries_conf,
        hosts_dir=access.hosts_dir,
    )
