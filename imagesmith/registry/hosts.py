"""Where a registry's content is read and written: its own endpoint, and mirrors that configuration names.

Spec: containers-certs.d(5) for certificates; registries.conf and hosts.toml are read by registriesconf.py and
hoststoml.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from imagesmith.errors import UsageError
from imagesmith.registry.endpoint import Endpoint, default_endpoint

__all__ = ["Hosts"]


class Hosts:
    """Finds the endpoints of registries; files are read when they are first needed."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        home: Path | None = None,
        *,
        insecure: bool = False,
        cert_dir: str = "",
    ) -> None:
        """`cert_dir` is a folder of certificates for every registry, beside those of the machine."""
        self._env = dict(os.environ if environ is None else environ)
        self._home = Path.home() if home is None else home
        self._insecure, self._cert_dir = insecure, cert_dir

    def readers(self, registry: str, repository: str) -> Sequence[Endpoint]:
        """The endpoints to read a repository from, the registry's own last."""
        return [self.writer(registry, repository)]

    def writer(self, registry: str, repository: str) -> Endpoint:
        """The endpoint to write a repository to."""
        del repository
        return self._certified(default_endpoint(registry, insecure=self._insecure), registry)

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
