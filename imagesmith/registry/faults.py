"""What goes wrong on the way to a registry, as errors of ours; and reading the addresses and times it sends.

Trust: texts of the network end up in messages; addresses are shown without their queries (signatures) and
without the users and passwords in them.
"""

from __future__ import annotations

import socket
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from imagesmith.errors import ImagesmithError, NetworkFault, RegistryError
from imagesmith.registry.answers import ConnectError, ConnectTimeout, Failure, InvalidURL, ProxyError, Timeout
from imagesmith.registry.quirks import same_scheme

if TYPE_CHECKING:
    import ssl

__all__ = [
    "AGAIN",
    "ATTEMPTS",
    "CONNECT_ATTEMPTS",
    "FEW_ATTEMPTS",
    "Fault",
    "Untrusted",
    "absolute",
    "all_told",
    "network_fault",
    "onward",
    "origin_of",
    "proxy_refusal",
    "retry_after_s",
    "shown",
    "traced",
]

#: How often a request is tried in all. With the pauses between that is a quarter of a minute, in which a
#: registry restarts; what hardly passes (a status of 500, an answer that does not come) is tried less often.
ATTEMPTS, FEW_ATTEMPTS = 8, 5
#: How often where waiting will not help: no such name, or others are there to be asked.
CONNECT_ATTEMPTS = 3
#: What passes: too early, too many; nginx's 499; 52x of Cloudflare, whose registry is away; 529 of a load.
AGAIN = frozenset({408, 425, 429, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})


class Fault(NetworkFault):
    """A NetworkFault that knows how many tries in all are worth it."""

    def __init__(self, message: str, *, tries: int = ATTEMPTS, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.tries = tries


class Untrusted(Fault):
    """It speaks TLS, with a certificate that is not believed."""


def network_fault(e: Failure, url: str, proxy: str | None = None) -> Fault:
    """The error for a request that failed; `tries` says how often it is worth trying.

    Args:
        e: the error.
        url: what was asked for.
        proxy: the address of the proxy that it went through.
    """
    where = shown(url)
    if isinstance(e, ProxyError):
        return _proxy_fault(str(e), where, proxy or "")
    if isinstance(e, ConnectError):
        return _connect_fault(e, where, proxy)
    if isinstance(e, ConnectTimeout) and proxy:
        text = f"{where}: the proxy {shown(proxy)} does not answer"
        return Fault(text, hint=_PROXY_HINT, tries=FEW_ATTEMPTS)
    if isinstance(e, Timeout):
        return Fault(f"{where}: no answer in time ({type(e).__name__})", tries=FEW_ATTEMPTS)
    if isinstance(e, InvalidURL):
        return Fault(f"{where}: not a usable address: {e}", tries=1)
    return Fault(f"{where}: the connection broke: {_reason(e)}")


_PROXY_HINT = "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY name the proxy; NO_PROXY the hosts that need none"


def _connect_fault(e: Exception, where: str, proxy: str | None) -> Fault:
    import ssl

    host = where.partition("://")[2].partition("/")[0]
    for cause in _causes(e):
        if isinstance(cause, ssl.SSLCertVerificationError):
            from imagesmith.registry.tls import certificate_fault

            text, hint = certificate_fault(cause, host)
            return Untrusted(f"{where}: its certificate cannot be verified: {text}", hint=hint, tries=1)
        if isinstance(cause, ssl.SSLError):
            return _tls_fault(cause, where, host)
    tries = CONNECT_ATTEMPTS if _is_unknown(e) else ATTEMPTS
    if proxy:
        text = f"{where}: cannot connect to the proxy {shown(proxy)}: {_reason(e)}"
        return Fault(text, hint=_PROXY_HINT, tries=min(tries, FEW_ATTEMPTS))
    return Fault(f"{where}: cannot connect: {_reason(e)}", tries=tries)


def _tls_fault(e: ssl.SSLError, where: str, host: str) -> Fault:
    """A handshake that failed; what answers in another language will go on doing so."""
    import ssl

    reason = e.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"):
        hint = f"if it speaks plain HTTP: --insecure, or --insecure-registry {host}"
        return Fault(f"{where}: does not speak TLS", hint=hint, tries=1)
    if isinstance(e, ssl.SSLEOFError | ssl.SSLZeroReturnError) or "EOF" in reason:
        hint = f"if it speaks plain HTTP: --insecure, or --insecure-registry {host}"
        return Fault(f"{where}: cannot connect: the other side hung up in the TLS handshake", hint=hint)
    return Fault(f"{where}: no TLS with it: {reason.lower().replace('_', ' ') or 'it failed'}", tries=1)


def _proxy_fault(text: str, where: str, proxy: str) -> Fault:
    """A proxy that would not let through: the error has its status line as text."""
    status = int(text[:3]) if text[:3].isdigit() else 0
    if status == 407:
        return proxy_refusal(where, proxy)
    tries = FEW_ATTEMPTS if status in AGAIN or not status else 1
    why = f"status {text}" if status else text
    return Fault(f"{where}: the proxy {shown(proxy)} does not let through: {why[:200]}", tries=tries)


def proxy_refusal(where: str, proxy: str) -> Fault:
    """The error for a proxy's 407."""
    return Fault(
        f"{where}: the proxy {shown(proxy)} wants a user and password, or refuses those it got (status 407)",
        hint="write them into the proxy's address: http://USER:PASSWORD@HOST:PORT",
        tries=1,
    )


def _causes(e: BaseException) -> Iterator[BaseException]:
    """An error and what it came from."""
    at: BaseException | None = e
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__


def _is_unknown(e: Exception) -> bool:
    """True if there is no such name, which waiting does not mend."""
    return any(isinstance(c, socket.gaierror) and c.errno != socket.EAI_AGAIN for c in _causes(e))


def _reason(e: Exception) -> str:
    """Why, in the machine's words, without its numbers."""
    import ssl

    for cause in _causes(e):
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return cause.reason.lower().replace("_", " ")
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror[:1].lower() + cause.strerror[1:]
    return str(e) or type(e).__name__


def shown(url: str) -> str:
    """A URL for messages: without its query (which may hold signatures), users and passwords."""
    scheme, mark, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"[:300]


#: What of a query tells what was asked for; the rest may be signatures and states of sessions.
_TRACED = frozenset(
    ("artifactType", "digest", "digest-algorithm", "from", "last", "mount", "n", "ns", "scope", "service")
)


def traced(url: str) -> str:
    """A URL for the trace of `-v`: with what of its query is no secret."""
    query = url.partition("?")[2]
    parts = [p if p.partition("=")[0] in _TRACED else "…" for p in query.split("&")] if query else []
    kept = "&".join(dict.fromkeys(parts))
    return shown(url) + (f"?{kept}" if kept else "")


def all_told(failures: Sequence[ImagesmithError]) -> ImagesmithError:
    """The error where several endpoints failed: the last one's, with what the others said before it."""
    *others, last = failures
    before = "; ".join(dict.fromkeys(e.message for e in others if e.message != last.message))
    if not before:
        return last
    message = f"{last.message} (before that: {before})"
    if isinstance(last, RegistryError):
        kind = NetworkFault if isinstance(last, Fault) else type(last)
        return kind(message, status=last.status, hint=last.hint)
    return type(last)(message, hint=last.hint)


def absolute(base: str, address: str) -> str:
    """An address that an answer from `base` names, made absolute, without its fragment.

    Raises:
        Fault: it is no address.
    """
    try:
        url = urllib.parse.urljoin(base, address).partition("#")[0]
        _ = urllib.parse.urlsplit(url).port
    except ValueError as e:
        raise Fault(
            f"{shown(base)}: names {shown(address)[:100]!r}, which is no usable address", tries=1
        ) from e
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
    if text.isascii() and text.isdigit() and len(text) < 9:
        return float(text)
    if not text:  # as a rule: reading dates costs an import
        return 0.0
    import email.utils

    try:
        when = email.utils.parsedate_to_datetime(text)
        return max(0.0, float(when.timestamp()) - time.time())
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0
