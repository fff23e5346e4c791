"""The HTTP clients of an endpoint: one for itself, one for hosts that it redirects to, each with its trust.

Why: a client certificate is for the endpoint alone; its authorities count for where it redirects to as well.
Threads: any; httpx's clients are shared.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from imagesmith.registry.endpoint import Endpoint
from imagesmith.registry.patience import patient
from imagesmith.registry.proxies import checked_proxy

if TYPE_CHECKING:
    import ssl

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

    def proxy_of(self, url: str, *, foreign: bool) -> str | None:
        """The proxy that requests for a URL go through."""
        own = self.endpoint.proxy
        return self._proxy(url) if own is None or foreign else checked_proxy(own) if own else None

    def client(self, url: str, *, foreign: bool) -> tuple[httpx.Client, str | None]:
        """The client for a URL, and its proxy; `foreign` is one of another host than the endpoint's."""
        import httpx

        proxy = self.proxy_of(url, foreign=foreign)
        https = url.startswith("https:")
        with self._lock:
            found = self._clients.get((foreign, https, proxy))
            if found is None:
                made = httpx.Client(
                    verify=self._trust(foreign) if https else False,  # plain HTTP waits for no certificates
                    trust_env=False,
                    proxy=proxy,
                    timeout=httpx.Timeout(self._timeout_s, connect=min(20.0, self._timeout_s), pool=None),
                    limits=httpx.Limits(
                        max_connections=self._connections, max_keepalive_connections=self._connections
                    ),
                )
                found = self._clients[foreign, https, proxy] = patient(made)
            return found, proxy

    def _trust(self, foreign: bool) -> ssl.SSLContext:
        from imagesmith.registry.tls import context_for

        return context_for(self.endpoint, foreign=foreign)
