"""The registry behind a cache: reading requests with their challenge, token and redirects.

Why: a cache needs three kinds of GET; the client's code stays out of here, so that the two can test each
other, and http.client is enough.
Spec: OCI distribution-spec 1.1, pull; distribution's token authentication.
Trust: answers come from another machine: documents are capped, credentials go to its own host and to the
token server that it names, and never along a redirect to another host, whose own challenge is not answered.
Neither leads from TLS to none, nor into a private network where upstream is in none: what is there would be
served to whoever asks this cache.
Threads: all methods may be called from any; each request has a connection of its own.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urljoin, urlsplit

from imagesmith.errors import NetworkFault, UsageError, reason_of
from imagesmith.oci.addresses import same_trust

__all__ = ["Answer", "Upstream"]

_REDIRECTS = (301, 302, 303, 307, 308)
_HOPS = 5
_TOKEN_BYTES = 64 << 10
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^,\s]+))')
_TIMEOUT_S = 30.0
_DOCKER_HUB = "registry-1.docker.io"  # where docker.io's registry really is


@dataclass(slots=True)
class Answer:
    """An answer whose body is still to be read; `close` ends its connection."""

    response: http.client.HTTPResponse
    connection: http.client.HTTPConnection

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    def header(self, name: str) -> str:
        """A header, or empty."""
        return self.response.getheader(name) or ""

    @property
    def size(self) -> int | None:
        """The body's length in bytes, where it is known."""
        text = self.header("Content-Length")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    def read(self, limit: int) -> bytes:
        """All of a small body.

        Raises:
            NetworkFault: it broke, or is larger than `limit` bytes.
        """
        try:
            data = self.response.read(limit + 1)
        except (OSError, http.client.HTTPException) as e:
            raise NetworkFault(f"the upstream registry broke off: {reason_of(e)}") from e
        finally:
            self.close()
        if len(data) > limit:
            raise NetworkFault(f"the upstream registry answers with more than {limit} bytes")
        return data

    def readinto(self, view: memoryview) -> int:
        """A part of the body; 0 at its end."""
        try:
            return self.response.readinto(view)
        except (OSError, http.client.HTTPException) as e:
            raise NetworkFault(f"the upstream registry broke off: {reason_of(e)}") from e

    def close(self) -> None:
        """End the connection."""
        self.connection.close()


class Upstream:
    """A registry that is read from.

    Args:
        url: `https://host[:port]`, or `http://` where that is meant.
        user: with `password`, who to be there; empty: nobody.
        ca: a file of certificates to trust instead of the system's.

    Raises:
        UsageError: the address is none, or the certificates cannot be read.
    """

    def __init__(self, url: str, user: str = "", password: str = "", *, ca: str = "") -> None:
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # brackets that do not match, a port that is no number
            good = False
        if not good or parts.path.strip("/") or parts.query:
            raise UsageError(
                f"{url}: not the address of a registry", hint="it looks like https://HOST[:PORT]"
            )
        host = parts.netloc.rpartition("@")[2]
        self.host = _DOCKER_HUB if host in ("docker.io", "index.docker.io") else host
        self.url = f"{parts.scheme}://{self.host}"
        self._basic = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        try:
            self._tls = ssl.create_default_context(cafile=ca or None)
            self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT  # refuses company CAs, from Python 3.13 on
        except OSError as e:
            raise UsageError(f"cannot read the certificates {ca}: {e.strerror}") from e
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[str, float]] = {}

    def get(self, path: str, scope: str, *, method: str = "GET", accept: str = "*/*") -> Answer:
        """Ask for a path, with what its challenge wants.

        Raises:
            NetworkFault: no answer, or no way through its authentication.
        """
        headers = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": "imagesmith-registry"}
        known = self._known(scope)
        if known:
            headers["Authorization"] = known
        answer = self._follow(method, self.url + path, headers)
        if answer.status != 401:
            return answer
        challenge = answer.header("WWW-Authenticate")
        answer.close()
        headers["Authorization"] = self._authorize(challenge, scope)
        return self._follow(method, self.url + path, headers)

    def _known(self, scope: str) -> str:
        with self._lock:
            value, end = self._tokens.get(scope, ("", 0.0))
        return value if end > time.monotonic() else ""

    def _authorize(self, challenge: str, scope: str) -> str:
        """The Authorization header that a challenge asks for."""
        scheme, _, rest = challenge.strip().partition(" ")
        fields = {m[1].lower(): m[2] if m[2] is not None else m[3] for m in _PARAMETER.finditer(rest)}
        if scheme.lower() == "basic" and self._basic:
            return self._keep(scope, f"Basic {self._basic}", 3600.0)
        if scheme.lower() != "bearer" or "realm" not in fields:
            raise NetworkFault(f"{self.host} wants credentials that are not there")
        realm = self._absolute(self.url, fields["realm"])
        if not same_trust(self.url, realm):
            raise NetworkFault(f"{self.host} names the token server {realm[:100]!r}: refused")
        query = urlencode([("service", fields.get("service", "")), ("scope", fields.get("scope") or scope)])
        headers = {"Accept": "application/json"}
        if self._basic:
            headers["Authorization"] = f"Basic {self._basic}"
        answer = self._once("GET", f"{realm}{'&' if '?' in realm else '?'}{query}", headers)
        status, raw = answer.status, answer.read(_TOKEN_BYTES)
        try:
            document = json.loads(raw) if status == 200 else {}
            token = document.get("token") or document.get("access_token")
            seconds = max(60.0, float(document.get("expires_in") or 60))
        except (ValueError, AttributeError, TypeError, OverflowError, RecursionError) as e:
            raise NetworkFault(f"the token server of {self.host} answers nonsense") from e
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise NetworkFault(f"the token server of {self.host} gives no token (status {status})")
        return self._keep(scope, f"Bearer {token}", seconds * 0.9)

    def _keep(self, scope: str, value: str, seconds: float) -> str:
        with self._lock:
            if len(self._tokens) > 1000:
                self._tokens.clear()
            self._tokens[scope] = (value, time.monotonic() + seconds)
        return value

    def _follow(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        sent = dict(headers)
        for _ in range(_HOPS):
            answer = self._once(method, url, sent)
            if answer.status == 401 and urlsplit(url).netloc != self.host:
                answer.close()
                raise NetworkFault(f"{self.host} leads to a host that wants credentials of its own")
            if answer.status not in _REDIRECTS:
                return answer
            answer.close()
            target = self._absolute(url, answer.header("Location"))
            if not same_trust(url, target) or not same_trust(self.url, target):
                raise NetworkFault(f"{self.host} redirects to {target[:100]!r}: refused")
            if urlsplit(target).netloc != urlsplit(url).netloc:
                sent.pop("Authorization", None)
            url = target
        raise NetworkFault(f"{self.host} redirects more than {_HOPS} times")

    def _absolute(self, base: str, address: str) -> str:
        """An address that an answer names, made absolute."""
        try:
            url = urljoin(base, address)
            _ = urlsplit(url).port
        except ValueError as e:
            raise NetworkFault(f"{self.host} names {address[:100]!r}, which is no address") from e
        return url

    def _once(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(url)
        connection: http.client.HTTPConnection
        try:
            if parts.scheme == "https":
                connection = http.client.HTTPSConnection(parts.netloc, timeout=_TIMEOUT_S, context=self._tls)
            elif parts.scheme == "http":
                connection = http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)
            else:
                raise NetworkFault(f"{self.host} leads to an address of an unknown kind")
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, headers=dict(headers))
            return Answer(connection.getresponse(), connection)
        except (OSError, http.client.HTTPException, ValueError) as e:
            why = e.strerror.lower() if isinstance(e, OSError) and e.strerror else str(e)
            raise NetworkFault(f"cannot reach the upstream registry at {parts.netloc}: {why}") from e
