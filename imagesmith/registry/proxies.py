"""Which proxy a URL goes through: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as Go reads them.

Why: the registry client decides for itself, since loopback never goes to a proxy and NO_PROXY knows networks.
"""

from __future__ import annotations

import ipaddress
import os
import urllib.parse
from collections.abc import Mapping

from imagesmith.errors import UsageError
from imagesmith.registry.endpoint import is_loopback

__all__ = ["Proxies", "checked_proxy"]

_SOCKS = ("socks5", "socks5h")
_HINT = "it looks like http://[USER:PASSWORD@]HOST:PORT; see HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"


def checked_proxy(text: str) -> str:
    """A proxy's address as a URL; one without a scheme is of HTTP.

    Raises:
        UsageError: it is none, or of a kind that is not supported; users and passwords are not repeated.
    """
    url = text if "://" in text else f"http://{text}"
    named = repr(url.rpartition("@")[2][:100])
    try:
        parts = urllib.parse.urlsplit(url)
        bare = parts.path in ("", "/") and not parts.query and url.isprintable() and " " not in url
        good = bare and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not match, a port that is no number
        raise UsageError(f"the proxy {named} is no usable address", hint=_HINT) from None
    scheme = parts.scheme.lower()
    if scheme in _SOCKS:
        import importlib.util

        from imagesmith.extras import how_to_get

        if importlib.util.find_spec("socksio") is None:
            raise UsageError(
                f"the proxy {named} speaks SOCKS, for which the package socksio is missing",
                hint=f"{how_to_get('socks')}, or use a proxy of HTTP",
            )
    elif scheme not in ("http", "https"):
        raise UsageError(
            f"the proxy {named}: {scheme} is not supported; http, https, socks5 and socks5h are", hint=_HINT
        )
    if not good:
        raise UsageError(f"the proxy {named} is no usable address", hint=_HINT)
    return url


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
        """The proxy's URL, or None to go directly.

        Raises:
            UsageError: the variable that counts holds no usable address.
        """
        u = urllib.parse.urlsplit(url)
        proxy = self._by_scheme.get(u.scheme, "")
        host = (u.hostname or "").lower()
        if not proxy or is_loopback(u.netloc.rpartition("@")[2]) or self._excepted(host, u.port):
            return None
        return checked_proxy(proxy)

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
