"""Which proxy a URL goes through: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as Go reads them.

Why: the registry client decides for itself, since loopback never goes to a proxy and NO_PROXY knows networks.
"""

from __future__ import annotations

import ipaddress
import os
import urllib.parse
from collections.abc import Mapping

from imagesmith.registry.endpoint import is_loopback

__all__ = ["Proxies"]


class Proxies:
    """The proxies of an environment, read when it is made."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        env = os.environ if environ is None else environ

        def value(name: str) -> str:
            return env.get(name.lower()) or env.get(name.upper()) or ""

        everything = value("all_proxy")
        self._by_scheme = {
            "http": value("http_proxy") or everything,
            "https": value("https_proxy") or everything,
        }
        self._no = [n.strip().lower() for n in value("no_proxy").split(",") if n.strip()]

    def proxy_for(self, url: str) -> str | None:
        """The proxy's URL, or None to go directly."""
        u = urllib.parse.urlsplit(url)
        proxy = self._by_scheme.get(u.scheme, "")
        host = (u.hostname or "").lower()
        if not proxy or is_loopback(u.netloc.rpartition("@")[2]) or self._excepted(host, u.port):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    def _excepted(self, host: str, port: int | None) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            address = None
        for rule in self._no:
            if rule == "*":
                return True
            name, _, wanted = rule.rpartition(":") if rule.count(":") == 1 else (rule, "", "")
            if wanted and wanted != str(port):
                continue
            if address is not None:
                try:
                    if address in ipaddress.ip_network(name, strict=False):
                        return True
                except ValueError:
                    continue
            elif _within(host, name):
                return True
        return False


def _within(host: str, name: str) -> bool:
    """True if a host is a name of NO_PROXY or below it; `.name` and `*.name` mean below only."""
    bare = name.removeprefix("*").lstrip(".")
    return host.endswith(f".{bare}") or (host == bare and not name.startswith((".", "*.")))
