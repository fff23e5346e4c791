"""Who we are to one registry: challenges answered with Basic or with bearer tokens, kept until they age.

Why: a token names what it allows, so each request says its scopes and gets a token that has them all. A
token is renewed before the end of its life, so that a long upload never ends with a 401.
Spec: the distribution project's token (GET) and oauth2 (POST) specifications.
Trust: a challenge decides where a password is sent: the realm must be https where the registry is, and no
private address that is not the registry's own host. Answers are capped.
Threads: any; one token is fetched once.
"""

from __future__ import annotations

import base64
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from imagesmith.credentials.model import Credential
from imagesmith.errors import Denied, InvalidDocument, RegistryError, Unauthorized
from imagesmith.oci.codec import Object, parse_object
from imagesmith.registry import quirks
from imagesmith.registry.faults import absolute, shown
from imagesmith.values import frozen

if TYPE_CHECKING:
    from imagesmith.registry.challenge import Challenge
    from imagesmith.registry.reply import Reply

__all__ = ["Authorizer", "Fetch", "check_realm", "merge_scopes"]


#: A token of no said life lives this long (seconds), and no token shorter.
_LEAST_LIFE_S = 60.0
_MOST_LIFE_S = 24 * 3600.0
_CLIENT_ID = "imagesmith"

#: Sends a request to a token server: method, URL, headers, form body or None.
Fetch = Callable[[str, str, Mapping[str, str], bytes | None], "Reply"]


@frozen
class _Token:
    text: str
    until: float  # time.monotonic() at which it is to be renewed


def merge_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """One scope a name with all its actions, in the order in which the names first came."""
    from imagesmith.registry.challenge import split_scope

    merged: dict[tuple[str, str], set[str]] = {}
    for scope in scopes:
        kind, name, actions = split_scope(scope)
        merged.setdefault((kind, name), set()).update(actions)
    order = ("pull", "push")
    return tuple(
        f"{kind}:{name}:{','.join(sorted(a, key=lambda x: (order.index(x) if x in order else 2, x)))}"
        for (kind, name), a in merged.items()
    )


def check_realm(realm: str, registry_url: str) -> str:
    """The realm as an absolute URL, if a secret may go there.

    Raises:
        RegistryError: it is less safe than the registry, or a private address that is not the registry.
    """
    from imagesmith.oci.addresses import same_trust

    home = urllib.parse.urlsplit(registry_url)
    url = absolute(registry_url, realm)
    there = urllib.parse.urlsplit(url)
    if there.scheme not in ("https", "http") or (home.scheme == "https" and there.scheme != "https"):
        raise RegistryError(
            f"{home.netloc}: asks for a token from {shown(url)[:200]!r}, which is not https; refused"
        )
    if not same_trust(registry_url, url):
        raise RegistryError(
            f"{home.netloc}: asks for a token from the private address {there.hostname}; refused"
        )
    return url


class Authorizer:
    """The Authorization headers of requests to one registry."""

    def __init__(self, host: str, find: Callable[[], Credential | None], fetch: Fetch) -> None:
        """`host` is for messages; `find` looks the credential up when it is first needed."""
        self._host, self._find, self._fetch = host, find, fetch
        self._lock = threading.RLock()
        self._looked = False
        self._credential: Credential | None = None
        self._scheme = ""  # not known yet; then basic, bearer or none
        self._realm = self._service = ""
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._extra: dict[tuple[str, ...], tuple[str, ...]] = {}

    def credential(self) -> Credential | None:
        """The credential that was found, if any."""
        with self._lock:
            if not self._looked:
                self._credential, self._looked = self._find(), True
            return self._credential

    def header(self, scopes: tuple[str, ...]) -> str | None:
        """The header's value for a request that needs these scopes; None to send none."""
        with self._lock:
            if self._scheme == "basic":
                credential = self.credential()
                return None if credential is None else _basic(credential)
            if self._scheme == "bearer":
                credential = self.credential()
                if credential is not None and credential.kind == "bearer":
                    return f"Bearer {credential.secret}"
                return f"Bearer {self._token(self._wanted(scopes))}"
            return None

    def _wanted(self, scopes: tuple[str, ...]) -> tuple[str, ...]:
        return merge_scopes((*self._extra.get(scopes, ()), *scopes))

    def challenged(self, values: Iterable[str], url: str, scopes: tuple[str, ...], sent: str | None) -> bool:
        """Learn from a 401; True if the request is worth another try.

        Args:
            values: the WWW-Authenticate headers.
            url: where the answer came from.
            scopes: what the request said it needs.
            sent: the Authorization header that was not enough.

        Raises:
            RegistryError: the challenge names a token server that no secret may be sent to.
        """
        from imagesmith.registry.challenge import parse_challenges

        challenges = parse_challenges(values)
        with self._lock:
            if sent is not None and self._scheme and sent != self._kept(scopes):
                return True  # another thread has got a newer token meanwhile
            bearer = next((c for c in challenges if c.scheme == "bearer" and c.params.get("realm")), None)
            if bearer is not None:
                return self._learn_bearer(bearer, url, scopes, sent)
            if any(c.scheme == "basic" for c in challenges):
                self._scheme = "basic"
                credential = self.credential()
                return credential is not None and credential.kind != "bearer" and sent != _basic(credential)
            return False

    def _kept(self, scopes: tuple[str, ...]) -> str | None:
        """The header that would be sent without asking anybody."""
        credential = self.credential()
        if credential is not None and (self._scheme == "basic" or credential.kind == "bearer"):
            return f"Bearer {credential.secret}" if credential.kind == "bearer" else _basic(credential)
        token = self._tokens.get(self._wanted(scopes))
        return None if token is None else f"Bearer {token.text}"

    def _learn_bearer(self, c: Challenge, url: str, scopes: tuple[str, ...], sent: str | None) -> bool:
        self._realm, self._service = check_realm(c.params["realm"], url), c.params.get("service", "")
        self._scheme = "bearer"
        asked = tuple(s for s in c.params.get("scope", "").split() if not quirks.is_dummy_scope(s))
        before = self._wanted(scopes)
        if asked and scopes:
            self._extra[scopes] = merge_scopes((*asked, *self._extra.get(scopes, ())))
        credential = self.credential()
        if credential is not None and credential.kind == "bearer":
            return sent != f"Bearer {credential.secret}"
        after = self._wanted(scopes)
        if sent is not None and sent.startswith("Bearer ") and after == before:
            if c.params.get("error") == "insufficient_scope":
                return False  # the token had been asked for with all of it: the user may not
            self._tokens.pop(after, None)
        return True

    # --- tokens --------------------------------------------------------------------------------

    def _token(self, scopes: tuple[str, ...]) -> str:
        token = self._tokens.get(scopes)
        if token is None or time.monotonic() >= token.until:
            token = self._tokens[scopes] = self._new_token(scopes)
        return token.text

    def _new_token(self, scopes: tuple[str, ...]) -> _Token:
        credential = self.credential()
        refresh = credential.secret if credential is not None and credential.kind == "identity" else ""
        began = time.monotonic()
        reply = self._post(scopes, refresh) if refresh else self._get(scopes, credential)
        if reply.status in (401, 404, 405) and credential is not None:
            # Some token servers know one of the two forms only, and say so in one of these ways.
            other = self._get(scopes, credential) if refresh else self._post(scopes, "")
            if other.status == 200:
                reply = other
        if reply.status != 200:
            raise self._refused(reply, credential)
        return _read_token(reply.body, self._realm, began)

    def _get(self, scopes: tuple[str, ...], credential: Credential | None) -> Reply:
        query: list[tuple[str, str]] = []
        if self._service:
            query.append(("service", self._service))
        query += [("scope", s) for s in scopes]
        query.append(("client_id", _CLIENT_ID))
        headers: dict[str, str] = {}
        if credential is not None and credential.kind == "basic":
            query.append(("account", credential.username))
            headers["Authorization"] = _basic(credential)
        join = "&" if urllib.parse.urlsplit(self._realm).query else "?"
        return self._fetch(
            "GET", self._realm + join + urllib.parse.urlencode(query, safe=":/,"), headers, None
        )

    def _post(self, scopes: tuple[str, ...], refresh_token: str) -> Reply:
        credential = self.credential()
        form = {"client_id": _CLIENT_ID, "service": self._service, "scope": " ".join(scopes)}
        if refresh_token:
            form |= {"grant_type": "refresh_token", "refresh_token": refresh_token}
        elif credential is not None:
            form |= {"grant_type": "password", "username": credential.username, "password": credential.secret}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._fetch("POST", self._realm, headers, urllib.parse.urlencode(form).encode())

    def _refused(self, reply: Reply, credential: Credential | None) -> RegistryError:
        said = reply.said()
        if reply.status in (400, 401, 403):
            if credential is None:
                return Unauthorized(
                    f"{self._host}: no credentials, and the registry gives no token without{said}",
                    status=reply.status,
                    hint=f"imagesmith login {self._host}",
                )
            kind = Unauthorized if reply.status != 403 else Denied
            who = credential.username or "the token"
            return kind(
                f"{self._host}: the token server refused the credentials of {who}{said}",
                status=reply.status,
                hint=f"imagesmith login {self._host}",
            )
        return RegistryError(
            f"{self._host}: the token server answered {reply.status}{said}", status=reply.status
        )


def _basic(credential: Credential) -> str:
    user = credential.username
    return "Basic " + base64.b64encode(f"{user}:{credential.secret}".encode()).decode()


def _read_token(raw: bytes, realm: str, began: float) -> _Token:
    """The token of an answer, to be renewed when nine tenths of its life are over."""
    try:
        o = parse_object(raw, "token")
        text = o.text("token") or o.text("access_token")
    except InvalidDocument as e:
        raise RegistryError(f"the token server at {shown(realm)} answered nonsense: {e}") from e
    if not text:
        raise RegistryError(f"the token server at {shown(realm)} answered without a token")
    if not text.isascii() or any(c.isspace() or not c.isprintable() for c in text):
        raise RegistryError(f"the token server at {shown(realm)} answered with a malformed token")
    return _Token(text, began + 0.9 * _life_s(o))


def _life_s(o: Object) -> float:
    value = o.data.get("expires_in")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return _LEAST_LIFE_S
    return float(max(_LEAST_LIFE_S, min(value, _MOST_LIFE_S)))
