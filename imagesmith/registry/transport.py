"""HTTP to one endpoint: retries, redirects, tokens, caps; errors of the network become ours here.

Why: every rule about when to try again, whom to follow and what to send along is in one place. Redirects are
followed by hand, because a redirect to another host must lose the credentials and its 401 is not ours.
Spec: OCI distribution-spec 1.1; RFC 9110 for Retry-After and redirects.
Trust: the other side may answer anything. Bodies are read by bodies.py, and capped; no redirect leads from
https to http.
Threads: any.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from imagesmith import __version__
from imagesmith.credentials.model import Credential
from imagesmith.errors import NetworkFault
from imagesmith.registry.answers import Answer, Failure
from imagesmith.registry.auth import Authorizer
from imagesmith.registry.bodies import drain, whole
from imagesmith.registry.clients import Clients
from imagesmith.registry.endpoint import Endpoint
from imagesmith.registry.faults import (
    AGAIN,
    ATTEMPTS,
    CONNECT_ATTEMPTS,
    FEW_ATTEMPTS,
    Fault,
    Untrusted,
    absolute,
    network_fault,
    origin_of,
    proxy_refusal,
    retry_after_s,
    shown,
    traced,
)
from imagesmith.registry.reply import Reply

__all__ = ["Body", "Transport"]

_log = logging.getLogger(__name__)

#: Makes the body of a request, anew for each try.
Body = Callable[[], Iterable[bytes]]

_REDIRECTS, _MAX_REDIRECTS = (301, 302, 303, 307, 308), 10
_BASE_WAIT_S, _MOST_WAIT_S = 0.25, 6.0
#: What the pauses before tries make together, at most.
_STRETCH_S = 20.0
#: A registry that asks for a longer pause than this is not waited for.
_MOST_TOLD_S = 120.0
#: An endpoint that was not to be reached is waited for anew only after so long.
_WEARY_S = 60.0
#: Answers that are read whole are this long at most, unless the caller says more.
_CAP_BYTES = 1 << 20


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
        tell: Callable[[str], None] = lambda _text: None,
        files: bool = False,
        retries: int = -1,
        retry_delay_s: float = 0.0,
    ) -> None:
        """Prepare, without a request.

        Args:
            endpoint: where and how.
            find: looks up the credential, once.
            connections: how many may be open at the same time.
            timeout_s: how long (seconds) silence is borne.
            proxy: the proxy for a URL, if one is to be used.
            wait: sleeps between tries; True if nobody waits for the answer any more.
            warn: is told what the registry wants its users to read, each text once.
            tell: is told what is waited for, and how long.
            files: the endpoint is no registry: its challenges are not answered.
            retries: how often what passes is tried again; -1 for as often as is worth it.
            retry_delay_s: the pause (seconds) before each; 0 for one that grows.
        """
        self.endpoint, self._files = endpoint, files
        self.auth = Authorizer(endpoint.host, find, self._fetch_token)
        self._clients = Clients(endpoint, connections, endpoint.timeout_s or timeout_s, proxy)
        self._wait, self._warn, self._tell = wait, warn, tell
        self._retries, self._retry_delay_s = retries, retry_delay_s
        self._warned: set[str] = set()
        self._weary_until, self._weary_of = 0.0, ""
        self._told_until = [0.0, 0.0]  # of pauses of ours, and of those that are asked for
        self.most_put = 0  # the longest body that goes through, once one was refused
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
                self._pass_by()
                self._base = self._find_base()
            return self._base

    def _pass_by(self) -> None:
        """Fail where a mirror was not to be reached a moment ago: the next one is asked at once."""
        if self.endpoint.mirror and time.monotonic() < self._weary_until:
            raise Fault(self._weary_of, tries=1)

    def _find_base(self) -> str:
        home = self.endpoint
        roots = [f"{scheme}://{home.host}{home.prefix}" for scheme in home.schemes]
        attempt = 0
        while len(roots) > 1:
            attempt += 1
            failures: list[NetworkFault] = []
            for root in roots:
                try:
                    status = self._probe(f"{root}/")
                except NetworkFault as e:
                    failures.append(e)
                    continue
                if not (root.startswith("http:") and status == 400):  # Go's answer to HTTP on a port of HTTPS
                    return root
            if not failures:
                raise NetworkFault(f"{home.host}: answers neither HTTP nor HTTPS as a registry does")
            told = next((e for e in failures if e.hint), failures[0])
            hopeful = max(failures, key=_tries)  # HTTP may be reset while HTTPS cannot be
            if isinstance(told, Untrusted) or not self.again(attempt, hopeful):
                raise told
        return roots[0]

    def _probe(self, url: str) -> int:
        """The status of a bare GET, sent without any credential."""
        sent = self._exchange("GET", url, self._headers({}, None), None, foreign=False)
        with contextlib.closing(sent) as r:
            return int(r.status_code)

    def is_home(self, url: str) -> bool:
        """True if a URL is of the endpoint's own origin, so that credentials may go there."""
        return origin_of(url) == origin_of(self.base())

    def again(
        self, attempt: int, trouble: NetworkFault | int, headers: Mapping[str, str] | None = None
    ) -> bool:
        """Wait before another try and return True; False where there is to be none.

        Args:
            attempt: how often it was tried.
            trouble: what came of it, an error or a status.
            headers: those of the answer.
        """
        told = 0.0 if headers is None else retry_after_s(headers.get("retry-after", ""))
        pause = self._pause(attempt, trouble, told)
        return pause is not None and not self._rest(pause, trouble, told)

    def _pause(self, attempt: int, trouble: NetworkFault | int, told: float) -> float | None:
        """How long to wait before another try, `told` seconds at least; None where there is to be none."""
        weary = self.endpoint.mirror or time.monotonic() < self._weary_until
        most, tries = FEW_ATTEMPTS if told > _MOST_WAIT_S else ATTEMPTS, _tries(trouble)
        if self._retries >= 0 and tries > 1:
            tries = most = self._retries + 1
        if attempt >= min(tries, CONNECT_ATTEMPTS if weary else most) or told > _MOST_TOLD_S:
            if attempt >= CONNECT_ATTEMPTS and isinstance(trouble, NetworkFault):
                self._weary_until, self._weary_of = time.monotonic() + _WEARY_S, trouble.message
            return None
        least = min(_MOST_WAIT_S, _BASE_WAIT_S * 2.0 ** (attempt - 1)) * random.uniform(0.8, 1.0)
        return max(told, self._retry_delay_s or least)

    def _rest(self, pause: float, trouble: NetworkFault | int, told: float) -> bool:
        """Wait, and say so; True if that is of no use any more."""
        now, asked = time.monotonic(), told >= pause
        if pause >= 0.5 and now > self._told_until[asked]:  # once, where several wait for the same
            self._told_until[asked] = now + (pause if asked else _STRETCH_S)
            what = f"status {trouble}" if isinstance(trouble, int) else trouble.message
            who = "server" if self._files else "registry"
            how = f"{pause:.0f} s as the {who} asks" if asked else f"up to {_STRETCH_S:.0f} s"
            self._tell(f"{self.endpoint.host}: waiting {how} ({what})")
        return self._wait(pause) is True

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
        attempt = 0
        while True:
            attempt += 1
            with self.open(method, url, scopes=scopes, headers=headers, body=body, retry=retry) as r:
                try:
                    data = whole(r, cap if r.is_success else _CAP_BYTES, url)
                    return Reply(r.status_code, r.headers, data, r.url)
                except NetworkFault as e:
                    failure = e
            if not retry or not self.again(attempt, failure):
                raise failure

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
    ) -> Iterator[Answer]:
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
    ) -> Answer:
        self._pass_by()
        attempt = 0
        while True:
            attempt += 1
            try:
                response = self._follow(method, url, scopes, headers, body)
            except NetworkFault as e:
                if not retry or not self.again(attempt, e):
                    raise
                continue
            status, pause = response.status_code, None
            told = retry_after_s(response.headers.get("retry-after", ""))
            if status in AGAIN and retry:
                pause = self._pause(attempt, status, told)
            if pause is None:
                self._note(response)
                return response
            response.close()
            if self._rest(pause, status, told):
                raise Fault(f"{shown(url)}: status {status}; given up", tries=1)

    def _follow(
        self, method: str, url: str, scopes: tuple[str, ...], extra: Mapping[str, str], body: Body | None
    ) -> Answer:
        """Send, answer one challenge, and follow redirects."""
        answered = self._files
        for _ in range(_MAX_REDIRECTS + 2):
            home = self.is_home(url)
            sent = self.auth.header(scopes) if home else None
            response = self._exchange(method, url, self._headers(extra, sent, home), body, foreign=not home)
            with contextlib.ExitStack() as stack:
                stack.callback(response.close)  # an answer that leads nowhere, too, gives its connection back
                status = response.status_code
                if status == 401 and home and not answered:
                    answered = True
                    values = response.headers.get_list("www-authenticate")
                    if self.auth.challenged(values, response.url, scopes, sent):
                        drain(response)
                        continue
                may_follow = status >= 307 or method in ("GET", "HEAD")
                if status not in _REDIRECTS or "location" not in response.headers or not may_follow:
                    stack.pop_all()
                    return response
                target = absolute(response.url, response.headers["location"])
                drain(response)
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
    ) -> Answer:
        sender, proxy = self._clients.sender(url, foreign=foreign)
        began = time.monotonic()
        try:
            response = sender.send(method, url, headers, None if body is None else body())
        except Failure as e:
            fault = network_fault(e, url, proxy)
            _log.info("%s %s: %s", method, traced(url), fault.message)
            raise fault from e
        status, ms = response.status_code, 1000 * (time.monotonic() - began)
        _log.info("%s %s %d (%.0f ms)", method, traced(url), status, ms)
        if status == 407 and proxy:
            drain(response)
            raise proxy_refusal(shown(url), proxy)
        return response

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
        attempt = 0
        while True:
            attempt += 1
            try:
                with contextlib.closing(self._exchange(method, url, plain, body, foreign=foreign)) as r:
                    reply = Reply(r.status_code, r.headers, whole(r, 64 << 10, url), r.url)
            except NetworkFault as e:
                if not self.again(attempt, e):
                    raise
                continue
            if reply.status not in AGAIN or not self.again(attempt, reply.status, reply.headers):
                return reply

    def _note(self, response: Answer) -> None:
        """Pass on what the registry wants users to read (RFC 7234's `299 - "text"`)."""
        for value in response.headers.get_list("warning")[:8]:
            code, _, rest = value[:4096].partition(" ")
            text = rest.partition(" ")[2].strip().strip('"').replace('\\"', '"')
            if code == "299" and text and text not in self._warned:
                self._warned.add(text)
                self._warn(f"{self.endpoint.host}: {text}")


def _tries(trouble: NetworkFault | int) -> int:
    """How many tries in all are worth it."""
    if isinstance(trouble, Fault):
        return trouble.tries
    return FEW_ATTEMPTS if trouble == 500 else ATTEMPTS
