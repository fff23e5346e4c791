"""Trying a credential on a registry, before it is kept.

Spec: OCI distribution-spec 1.1, end-1: GET /v2/ is 200 for a user that the registry knows.
"""

from __future__ import annotations

import contextlib

from imagesmith.credentials.model import Credential
from imagesmith.errors import RegistryError, Unauthorized
from imagesmith.registry.hosts import Hosts
from imagesmith.registry.proxies import Proxies
from imagesmith.registry.reply import error_of
from imagesmith.registry.transport import Transport

__all__ = ["check"]


def check(registry: str, credential: Credential, hosts: Hosts) -> None:
    """Sign in with a credential.

    Raises:
        Unauthorized: the registry does not accept it.
        RegistryError: it is no registry, or it failed.
    """
    transport = Transport(hosts.writer(registry, ""), lambda: credential, proxy=Proxies().proxy_for)
    with contextlib.closing(transport):
        try:
            reply = transport.send("GET", f"{transport.base()}/")
        except Unauthorized as e:
            raise Unauthorized(e.message, status=e.status) from e  # without the hint to log in
    if reply.status in (401, 403):
        raise Unauthorized(f"{registry}: incorrect user name or password{reply.said()}", status=reply.status)
    if reply.status == 404:
        raise RegistryError(f"{registry}: there is no registry (no /v2/)", status=404)
    # Quay sends `true` as if it were a page; portals send pages.
    if not reply.ok or (reply.is_page() and reply.body.lstrip()[:1] == b"<"):
        raise error_of(reply, registry, registry)
