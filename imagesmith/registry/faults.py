"""What goes wrong on the way to a registry, as errors of ours; and reading the addresses and times it sends.

Trust: texts of the network end up in messages; addresses are shown without their queries (signatures).
"""

from __future__ import annotations

import time
import urllib.parse

from imagesmith.errors import NetworkFault
from imagesmith.registry.quirks import same_scheme

__all__ = [
    "ATTEMPTS",
    "CONNECT_ATTEMPTS",
    "Fault",
    "absolute",
    "network_fault",
    "onward",
    "origin_of",
    "retry_after_s",
    "shown",
]

#: How often a request is tried in all, and how often where nothing listens.
ATTEMPTS, CONNECT_ATTEMPTS = 5, 3


class Fault(NetworkFault):
    """A NetworkFault that knows how many tries in all are worth it."""

    def __init__(self, message: str, *, tries: int = ATTEMPTS, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.tries = tries


def network_fault(e: Exception, url: str) -> Fault:
    """The error for one of httpx's; `tries` says how often it is worth trying."""
    import httpx

    where, text = shown(url), str(e) or type(e).__name__
    if isinstance(e, httpx.ConnectError):
        if "CERTIFICATE_VERIFY_FAILED" in text:
            host = urllib.parse.urlsplit(url).netloc
            hint = f"put its CA into /etc/containers/certs.d/{host}/ca.crt, or give --insecure"
            return Fault(f"{where}: its certificate cannot be verified: {text}", hint=hint, tries=1)
        return Fault(f"{where}: cannot connect: {text}", tries=1 if "SSL" in text else CONNECT_ATTEMPTS)
    if isinstance(e, httpx.TimeoutException):
        return Fault(f"{where}: no answer in time ({type(e).__name__})")
    if isinstance(e, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return Fault(f"{where}: not a usable address: {text}", tries=1)
    return Fault(f"{where}: the connection broke: {text}")


def shown(url: str) -> str:
    """A URL without its query (which may hold signatures), for messages."""
    return url.partition("?")[0][:300]


def absolute(base: str, address: str) -> str:
    """An address that an answer from `base` names, made absolute.

    Raises:
        Fault: it is no address.
    """
    try:
        url = urllib.parse.urljoin(base, address)
        _ = urllib.parse.urlsplit(url).port
    except ValueError as e:
        raise Fault(f"{shown(base)}: names {address[:100]!r}, which is no usable address", tries=1) from e
    return url


def onward(base: str, reply_url: str, address: str) -> str:
    """Where an answer of an API at `base` sends its reader on (Location, Link), as an absolute URL.

    Raises:
        Fault: it leads from https to http.
    """
    url = same_scheme(absolute(reply_url, address), base)
    if base.startswith("https:") and not url.startswith("https:"):
        raise Fault(f"{shown(reply_url)}: goes on at {shown(url)}, which is not https; refused", tries=1)
    return url


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL, the default port made explicit."""
    u = urllib.parse.urlsplit(url)
    try:
        port = u.port
    except ValueError:
        port = -1
    return u.scheme, u.hostname or "", port or {"https": 443, "http": 80}.get(u.scheme, 0)


def retry_after_s(text: str) -> float:
    """Seconds that a Retry-After header asks for; 0 where it says nothing usable."""
    import email.utils

    if text.isdigit() and len(text) < 9:
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text)
        return max(0.0, float(when.timestamp()) - time.time())
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0
