"""HTTP to one endpoint: retries, redirects, tokens, caps; errors of the network become ours here.

Why: every rule about when to try again, whom to follow and what to send along is in one place. Redirects are
followed by hand, because a redirect to another host must lose the credentials and its 401 is not ours.
Spec: OCI distribution-spec 1.1; RFC 9110 for Retry-After and redirects.
Trust: the other side may answer anything. Bodies are read as raw bytes (no decompression) and capped;
no redirect leads from https to http.
Threads: any; httpx's client is shared.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from imagesmith import __version__
from imagesmith.credentials.model import Credential
from imagesmith.errors import LimitExceeded, NetworkFault, RegistryError
from imagesmith.registry.auth import Authorizer
from imagesmith.registry.clients import Clients
from imagesmith.registry.endpoint import Endpoint
from imagesmith.registry.faults import (
    ATTEMPTS,
    CONNECT_ATTEMPTS,
    Fault,
    absolute,
    network_fault,
    origin_of,
    retry_after_s,
    shown,
)
from imagesmith.registry.reply import Reply

if TYPE_CHECKING:
    import httpx

__all__ = ["Body", "Transport", "pieces"]

_log = logging.getLogger(__name__)

#: Makes the body of a request, anew for each try.
Body = Callable[[], Iterable[bytes]]

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 10
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_BASE_WAIT_S, _MOST_WAIT_S = 0.25, 10.0
#: A registry that asks for a longer pause than this is not waited for.
_MOST_RETRY_AFTER_S = 120.0
#: Answers that are read whole are this long at most, unless the caller says more, and take so long at most.
_CAP_BYTES = 1 << 20
_WHOLE_S = 300.0
#: A body that is waited for as long as this brings so much meanwhile, or is given up: a drip has no end.
_SPAN_S, _LEAST_BYTES = 60.0, 60 << 10


class Transport:
    """The connection to an endpoint, made when it is first used; close it at the end."""

    def __init__(
        self,
        endpoint: Endpoint,
        find: Callable[[], Credential | None] = lambda: None,
        *,
        connections: int = 16,
        timeout_s: float = 60.0,
        proxy: Callable[[str], str | None] = lambda _url: None,
        wait: Callable[[float], object] = time.sleep,
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Prepare, without a request.

        Args:
            endpoint: where and how.
            find: looks up the credential, once.
            connections: how many may be open at the same time.
            timeout_s: how long (seconds) silence is borne.
            proxy: the proxy for a URL, if one is to be used.
            wait: sleeps between tries.
            warn: is told what the registry wants its users to read, each text once.
        """
        self.endpoint = endpoint
        self.auth = Authorizer(endpoint.host, find, self._fetch_token)
        self._clients = Clients(endpoint, connections, endpoint.timeout_s or timeout_s, proxy)
        self._wait, self._warn = wait, warn
        self._warned: set[str] = set()
        self._lock = threading.RLock()
        self._base = ""

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()

    # --- where ---------------------------------------------------------------------------------

    def base(self) -> str:
        """The API's root, e.g. `https://host/v2`; finds out the scheme where more than one may be right.

        Raises:
            NetworkFault: nothing answers.
        """
        with self._lock:
            if not self._base:
                self._base = self._find_base()
            return self._base

    def _find_base(self) -> str:
        home = self.endpoint
        roots = [f"{scheme}://{home.host}{home.prefix}" for scheme in home.schemes]
        if len(roots) == 1:
            return roots[0]
        failure: RegistryError | None = None
        for root in roots:
            try:
                status = self._probe(f"{root}/")
            except NetworkFault as e:
                failure = e if failure is None or e.hint else failure
                continue
            if not (root.startswith("http:") and status == 400):  # Go's answer to HTTP on a port of HTTPS
                return root
        raise failure or NetworkFault(f"{home.host}: answers neither HTTP nor HTTPS as a registry does")

    def _probe(self, url: str) -> int:
        """The status of a bare GET, sent without any credential."""
        with contextlib.closing(
            self._exchange("GET", url, self._headers({}, None), None, foreign=False)
        ) as r:
            return int(r.status_code)

    def is_home(self, url: str) -> bool:
        """True if a URL is of the endpoint's own origin, so that credentials may go there."""
        return origin_of(url) == origin_of(self.base())

    def pause(self, attempt: int) -> None:
        """Wait before another try, longer each time."""
        self._wait(_pause(attempt))

    # --- requests ------------------------------------------------------------------------------

    def send(
        self,
        method: str,
        url: str,
        *,
        scopes: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        cap: int = _CAP_BYTES,
        retry: bool = True,
    ) -> Reply:
        """Send a request and read the answer whole, whatever its status.

        Args:
            method: GET, HEAD, PUT, …
            url: absolute, as `base()` or a Location gave it.
            scopes: what a token must allow for it.
            headers: beside those of every request; Content-Length where there is a body.
            body: makes the body.
            cap: the longest answer (bytes) that is read.
            retry: try again after 408, 429, 5xx and broken connections.

        Raises:
            NetworkFault: no answer, also after the retries.
            LimitExceeded: the answer is longer than `cap`.
        """
        for attempt in range(ATTEMPTS if retry else 1):
            last = attempt == (ATTEMPTS if retry else 1) - 1
            with self.open(method, url, scopes=scopes, headers=headers, body=body, retry=retry) as r:
                try:
                    data = b"".join(_capped(r, cap if r.is_success else _CAP_BYTES, url))
                except NetworkFault:
                    if last:
                        raise
                    self._wait(_pause(attempt))
                    continue
                return Reply(r.status_code, r.headers, data, str(r.url))
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        url: str,
        *,
        scopes: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        retry: bool = True,
    ) -> Iterator[httpx.Response]:
        """Send a request; the answer's body is read by the caller, with `pieces`, inside the `with`."""
        response = self._persist(method, url, scopes, headers or {}, body, retry)
        try:
            yield response
        finally:
            response.close()

    def _persist(
        self,
        method: str,
        url: str,
        scopes: tuple[str, ...],
        headers: Mapping[str, str],
        body: Body | None,
        retry: bool,
    ) -> httpx.Response:
        attempt = 0
        while True:
            attempt += 1
            try:
                response = self._follow(method, url, scopes, headers, body)
            except NetworkFault as e:
                if not retry or attempt >= (e.tries if isinstance(e, Fault) else ATTEMPTS):
                    raise
                pause = _pause(attempt - 1)
                _log.debug("%s %s: %s; again in %.1f s", method, shown(url), e, pause)
            else:
                status = response.status_code
                told = retry_after_s(response.headers.get("retry-after", ""))
                if status not in _AGAIN or not retry or attempt >= ATTEMPTS or told > _MOST_RETRY_AFTER_S:
                    self._note(response)
                    return response
                response.close()
                pause = max(told, _pause(attempt - 1))
                _log.debug("%s %s: status %d; again in %.1f s", method, shown(url), status, pause)
            self._wait(pause)

    def _follow(
        self, method: str, url: str, scopes: tuple[str, ...], extra: Mapping[str, str], body: Body | None
    ) -> httpx.Response:
        """Send, answer one challenge, and follow redirects."""
        answered = False
        for _ in range(_MAX_REDIRECTS + 2):
            home = self.is_home(url)
            sent = self.auth.header(scopes) if home else None
            response = self._exchange(method, url, self._headers(extra, sent, home), body, foreign=not home)
            status = response.status_code
            if status == 401 and home and not answered:
                answered = True
                values = response.headers.get_list("www-authenticate")
                if self.auth.challenged(values, str(response.url), scopes, sent):
                    _drain(response)
                    continue
            if status not in _REDIRECTS or "location" not in response.headers:
                return response
            if status < 307 and method not in ("GET", "HEAD"):
                return response
            target = absolute(str(response.url), response.headers["location"])
            _drain(response)
            if url.startswith("https:") and not target.startswith("https:"):
                raise Fault(f"{shown(url)}: redirected from https to {shown(target)}; refused", tries=1)
            url = target
        raise Fault(f"{shown(url)}: more than {_MAX_REDIRECTS} redirects", tries=1)

    def _headers(
        self, extra: Mapping[str, str], authorization: str | None, home: bool = True
    ) -> dict[str, str]:
        """The headers of a request; those of the configuration go to the endpoint alone."""
        headers = {
            "User-Agent": f"imagesmith/{__version__}",
            "Accept-Encoding": "identity",  # digests are of the bytes as they are stored
            "Accept": "*/*",
            **(self.endpoint.headers if home else {}),
            **extra,
        }
        if authorization:
            headers["Authorization"] = authorization
        return headers

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, *, foreign: bool
    ) -> httpx.Response:
        import httpx

        client = self._clients.client(url, foreign=foreign)
        try:
            request = client.build_request(
                method, url, headers=headers, content=None if body is None else body()
            )
            return client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise network_fault(e, url) from e

    # --- tokens, notes -------------------------------------------------------------------------

    def _fetch_token(self, method: str, url: str, headers: Mapping[str, str], form: bytes | None) -> Reply:
        """Ask a token server. It gets no header but these, and its redirects are not followed."""
        content: dict[str, str] = {} if form is None else {"Content-Length": str(len(form))}
        plain = {
            "User-Agent": f"imagesmith/{__version__}",
            "Accept-Encoding": "identity",
            **headers,
            **content,
        }
        foreign = origin_of(url) != origin_of(self._base or url)
        body: Body | None = None if form is None else (lambda: [form])
        for attempt in range(CONNECT_ATTEMPTS):
            try:
                with contextlib.closing(self._exchange(method, url, plain, body, foreign=foreign)) as r:
                    if r.status_code not in _AGAIN or attempt == CONNECT_ATTEMPTS - 1:
                        return Reply(
                            r.status_code, r.headers, b"".join(_capped(r, 64 << 10, url)), str(r.url)
                        )
            except NetworkFault as e:
                if attempt >= min(CONNECT_ATTEMPTS, e.tries if isinstance(e, Fault) else 1) - 1:
                    raise
            self._wait(_pause(attempt))
        raise AssertionError("unreachable")

    def _note(self, response: httpx.Response) -> None:
        """Pass on what the registry wants users to read (RFC 7234's `299 - "text"`)."""
        for value in response.headers.get_list("warning")[:8]:
            code, _, rest = value[:4096].partition(" ")
            text = rest.partition(" ")[2].strip().strip('"').replace('\\"', '"')
            if code == "299" and text and text not in self._warned:
                self._warned.add(text)
                self._warn(f"{self.endpoint.host}: {text}")


def pieces(response: httpx.Response) -> Iterator[bytes]:
    """The raw bytes of a body as they arrive.

    Raises:
        NetworkFault: the connection broke, stalled, drips, or ended before its length.
    """
    import httpx

    data, waited_s, got = response.iter_raw(), 0.0, 0
    try:
        while True:
            began = time.monotonic()
            piece = next(data, b"")
            waited_s += time.monotonic() - began  # the reader's own time does not count
            if not piece:
                return
            got += len(piece)
            if waited_s > _SPAN_S:
                if got < _LEAST_BYTES:
                    raise Fault(f"{shown(str(response.url))}: fewer than {_LEAST_BYTES} bytes a minute come")
                waited_s, got = 0.0, 0
            yield piece
    except (httpx.HTTPError, httpx.StreamError) as e:
        raise network_fault(e, str(response.url)) from e


def _capped(response: httpx.Response, cap: int, url: str) -> Iterator[bytes]:
    seen, deadline = 0, time.monotonic() + _WHOLE_S
    for data in pieces(response):
        seen += len(data)
        if time.monotonic() > deadline:
            raise Fault(f"{shown(url)}: the answer does not end within {_WHOLE_S:.0f} s", tries=1)
        if seen > cap:
            raise LimitExceeded(f"{shown(url)}: the answer is longer than {cap} bytes")
        yield data


def _drain(response: httpx.Response) -> None:
    """Read the rest of a small answer, so that its connection can be used again."""
    with contextlib.suppress(NetworkFault, LimitExceeded):
        for _ in _capped(response, 64 << 10, str(response.url)):
            pass
    response.close()


def _pause(attempt: int) -> float:
    return random.uniform(0.5, 1.0) * min(_MOST_WAIT_S, _BASE_WAIT_S * float(4**attempt))
