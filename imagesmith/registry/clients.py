"""The HTTP clients of an endpoint: one for itself, one for hosts that it redirects to, each with its trust.

Why: a client certificate is for the endpoint alone; its authorities count for where it redirects to as well.
Threads: any; httpx's clients are shared.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from imagesmith.errors import RegistryError
from imagesmith.registry.endpoint import Endpoint
from imagesmith.registry.patience import patient

if TYPE_CHECKING:
    import httpx

__all__ = ["Clients"]


class Clients:
    """Makes clients when they are first needed, and closes them."""

    def __init__(
        self, endpoint: Endpoint, connections: int, timeout_s: float, proxy: Callable[[str], str | None]
    ) -> None:
        self.endpoint, self._connections, self._timeout_s, self._proxy = (
            endpoint,
            connections,
            timeout_s,
            proxy,
        )
        self._lock = threading.Lock()
        self._clients: dict[tuple[bool, bool, str | None], httpx.Client] = {}

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def client(self, url: str, *, foreign: bool) -> httpx.Client:
        """The client for a URL; `foreign` is one of another host than the endpoint's."""
        import httpx

        proxy = self.endpoint.proxy if self.endpoint.proxy is not None and not foreign else self._proxy(url)
        https = url.startswith("https:")
        with self._lock:
            found = self._clients.get((foreign, https, proxy))
            if found is None:
                made = httpx.Client(
                    verify=self._tls(foreign)
                    if https
                    else False,  # plain HTTP must not wait for certificates
                    trust_env=False,
                    proxy=proxy,
                    timeout=httpx.Timeout(self._timeout_s, connect=min(20.0, self._timeout_s), pool=None),
                    limits=httpx.Limits(
                        max_connections=self._connections, max_keepalive_connections=self._connections
                    ),
                )
                found = self._clients[foreign, https, proxy] = patient(made)
            return found

    def _tls(self, foreign: bool) -> ssl.SSLContext:
        """Trust for the endpoint, or for another host that it redirects to: no client certificate there."""
        import httpx

        paths = ssl.get_default_verify_paths()
        context = ssl.create_default_context() if paths.cafile or paths.capath else httpx.create_ssl_context()
        if not self.endpoint.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for file in self.endpoint.ca:
            try:
                context.load_verify_locations(cafile=file)
            except (OSError, ssl.SSLError) as e:
                raise RegistryError(f"{file}: cannot be used as a certificate authority: {e}") from e
        certificate, key = self.endpoint.client_cert
        if certificate and not foreign:
            try:
                context.load_cert_chain(certificate, key)
            except (OSError, ssl.SSLError) as e:
                raise RegistryError(f"{certificate}, {key}: not a pair of certificate and key: {e}") from e
        return context
