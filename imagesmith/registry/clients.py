"""What sends an endpoint's requests: one for itself, one for hosts that it redirects to, each with its trust.

Why: a client certificate is for the endpoint alone; its authorities count for where it redirects to as well.
Threads: any.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from imagesmith.registry.answers import Sender
from imagesmith.registry.endpoint import Endpoint
from imagesmith.registry.proxies import checked_proxy
from imagesmith.registry.wire import Wire

if TYPE_CHECKING:
    import ssl

__all__ = ["Clients"]


class Clients:
    """Makes senders when they are first needed, and closes them."""

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
        self._senders: dict[tuple[bool, bool, str | None], Sender] = {}

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for sender in self._senders.values():
                sender.close()
            self._senders.clear()

    def proxy_of(self, url: str, *, foreign: bool) -> str | None:
        """The proxy that requests for a URL go through."""
        own = self.endpoint.proxy
        return self._proxy(url) if own is None or foreign else checked_proxy(own) if own else None

    def sender(self, url: str, *, foreign: bool) -> tuple[Sender, str | None]:
        """What sends requests for a URL, and its proxy; `foreign` is one of another host."""
        proxy = self.proxy_of(url, foreign=foreign)
        https = url[:6].lower() == "https:"
        with self._lock:
            found = self._senders.get((foreign, https, proxy))
            if found is None:
                trust = self._trust(foreign) if https else None  # plain HTTP waits for no certificates
                found = self._senders[foreign, https, proxy] = self._made(proxy, trust)
            return found, proxy

    def _made(self, proxy: str | None, trust: ssl.SSLContext | None) -> Sender:
        if proxy is None:
            return Wire(self._connections, self._timeout_s, trust)
        from imagesmith.registry.proxied import Proxied

        return Proxied(proxy, self._connections, self._timeout_s, trust)

    def _trust(self, foreign: bool) -> ssl.SSLContext:
        from imagesmith.registry.tls import context_for

        return context_for(self.endpoint, foreign=foreign)
