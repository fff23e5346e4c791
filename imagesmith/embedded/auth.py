"""Who may do what: everybody everything, users by Basic, or bearer tokens that this server issues.

Spec: distribution's token authentication (docs/spec/auth: token, oauth, scope); RFC 7617; RFC 6750.
Trust: headers, forms and tokens are strangers'. Tokens are signed with a key of this process.
Threads: all methods may be called from any.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Iterable

from imagesmith.embedded.answers import Failure, json_answer
from imagesmith.embedded.heads import parse_fields
from imagesmith.embedded.passwords import Passwords
from imagesmith.embedded.tokens import Signer
from imagesmith.embedded.wire import Request, Response
from imagesmith.values import frozen

__all__ = ["Access", "BasicGuard", "BearerGuard", "Grant", "Guard"]

_FORM_BYTES = 64 << 10
#: How long a refresh token is good for, in seconds; a new one comes with every use.
_REFRESH_S = 30 * 24 * 3600
_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")
_ACTIONS = ("pull", "push", "delete", "*")


@frozen
class Access:
    """What a request needs: actions on a repository, or on the catalogue."""

    kind: str
    name: str
    actions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{','.join(self.actions)}"

    @classmethod
    def parse(cls, scope: str) -> Access | None:
        """A scope; a name may have a colon of its own. None where it is no scope."""
        kind, _, rest = scope.partition(":")
        name, colon, actions = rest.rpartition(":")
        if not kind or not colon or not name:
            return None
        return cls(kind.partition("(")[0], name, tuple(a for a in actions.split(",") if a in _ACTIONS))


@frozen
class Grant:
    """What whoever asks may do; None stands for everything."""

    access: frozenset[tuple[str, str, str]] | None = None

    def allows(self, wanted: Access) -> bool:
        """Whether all of it may be done."""
        if self.access is None:
            return True
        return all(
            (wanted.kind, wanted.name, action) in self.access
            or (wanted.kind, wanted.name, "*") in self.access
            for action in wanted.actions
        )

    def may_pull(self, name: str | None) -> bool:
        """Whether a repository may be read; None stands for every one that there is."""
        return self.access is None or (
            name is not None and self.allows(Access("repository", name, ("pull",)))
        )


class Guard:
    """Lets everybody do everything."""

    def token(self, _request: Request) -> Response | None:
        """The answer to a request to the guard's own path; None where it has none such."""
        return None

    def check(self, _request: Request, _wanted: tuple[Access, ...]) -> Grant:
        """What the sender of a request may do.

        Raises:
            Failure: 401, less than what is wanted.
        """
        return Grant()


class BasicGuard(Guard):
    """Asks for a user of a htpasswd file on every request; users may do everything.

    Args:
        anonymous: reading needs no user.
    """

    def __init__(self, passwords: Passwords, *, anonymous: bool = False) -> None:
        self._passwords, self._anonymous = passwords, anonymous

    def check(self, request: Request, wanted: tuple[Access, ...]) -> Grant:
        """Everything for a user; for others a 401."""
        header = request.headers.get("authorization")
        if header is not None:
            if _user(self._passwords, header):
                return Grant()
        elif self._anonymous and wanted and _only_reads(wanted):
            return Grant()
        challenge = ("WWW-Authenticate", 'Basic realm="imagesmith registry", charset="UTF-8"')
        raise Failure(401, "UNAUTHORIZED", "authentication required", headers=[challenge])


class BearerGuard(Guard):
    """Asks for a token and issues them at `/token` to the users of a htpasswd file.

    Args:
        passwords: the users; None lets everybody have every token.
        anonymous: who gives no user is given tokens for reading.
        token_s: how long a token is good for, in seconds.
    """

    PATH = "/token"

    def __init__(
        self,
        passwords: Passwords | None,
        *,
        anonymous: bool = False,
        token_s: int = 300,
        scheme: str = "http",
        service: str = "imagesmith-registry",
    ) -> None:
        self._passwords, self._anonymous = passwords, anonymous
        self._token_s, self._scheme, self._service = token_s, scheme, service
        self.signer = Signer()

    def check(self, request: Request, wanted: tuple[Access, ...]) -> Grant:
        """What the request's token says."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        fault = ""
        if scheme.lower() == "bearer":
            claims = self.signer.read(token.strip(), "access")
            if claims is None:
                fault = "invalid_token"
            else:
                grant = Grant(frozenset((kind, name, action) for kind, name, action in claims["access"]))
                if all(grant.allows(access) for access in wanted):
                    return grant
                fault = "insufficient_scope"
        raise Failure(
            401,
            "UNAUTHORIZED",
            "authentication required",
            detail=[{"Type": a.kind, "Name": a.name, "Action": ",".join(a.actions)} for a in wanted] or None,
            headers=[("WWW-Authenticate", self._challenge(request, wanted, fault))],
        )

    def _challenge(self, request: Request, wanted: tuple[Access, ...], fault: str) -> str:
        host = request.headers.get("host", "")
        realm = f"{self._scheme}://{host if _HOST.fullmatch(host) else 'localhost'}{self.PATH}"
        text = f'Bearer realm="{realm}",service="{self._service}"'
        if wanted:
            text += f',scope="{" ".join(map(str, wanted))}"'
        return text + (f',error="{fault}"' if fault else "")

    def token(self, request: Request) -> Response | None:
        """Issue a token, by GET with Basic or by OAuth2's POST."""
        if request.path != self.PATH:
            return None
        if request.method == "POST":
            return self._post(request)
        if request.method not in ("GET", "HEAD"):
            raise Failure(405, "UNSUPPORTED", "tokens are asked for with GET or POST")
        header = request.headers.get("authorization")
        user = _user(self._passwords, header) if header is not None and self._passwords else ""
        if user is None:
            raise Failure(401, "UNAUTHORIZED", "the user name or the password is wrong")
        scopes = [one for key, value in request.query if key == "scope" for one in value.split(" ")]
        return self._issue(user, scopes, refresh=request.param("offline_token") == "true")

    def _post(self, request: Request) -> Response:
        text = request.body.read(_FORM_BYTES).decode("utf-8", "replace")
        form = dict(parse_fields(text))
        kind, user = form.get("grant_type", ""), ""
        if kind == "refresh_token":
            claims = self.signer.read(form.get("refresh_token", ""), "refresh")
            user = claims["sub"] if claims else ""
            if claims is None or claims["mark"] != self._mark(user):
                raise Failure(401, "UNAUTHORIZED", "the refresh token is not valid")
        elif kind == "password":
            user = form.get("username", "")
            if self._passwords and not self._passwords.check(user, form.get("password", "")):
                raise Failure(401, "UNAUTHORIZED", "the user name or the password is wrong")
        else:
            raise Failure(400, "UNSUPPORTED", "grant_type must be password or refresh_token")
        refresh = kind == "refresh_token" or form.get("access_type") == "offline"
        return self._issue(user, form.get("scope", "").split(" "), refresh=refresh)

    def _issue(self, user: str, scopes: Iterable[str], *, refresh: bool) -> Response:
        """A token for what is asked and allowed; less than what was asked is no error."""
        everything = bool(user) or self._passwords is None
        if not everything and not self._anonymous:
            raise Failure(401, "UNAUTHORIZED", "a user name and a password are needed")
        granted: list[tuple[str, str, str]] = []
        for scope in scopes:
            access = Access.parse(scope)
            if access:
                allowed = [a for a in access.actions if everything or a == "pull"]
                granted += [(access.kind, access.name, action) for action in allowed]
        now = time.time()
        token = self.signer.sign({"typ": "access", "sub": user, "access": granted}, self._token_s)
        answer: dict[str, object] = {
            "token": token,
            "access_token": token,
            "expires_in": self._token_s,
            "issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
            "scope": " ".join(f"{kind}:{name}:{action}" for kind, name, action in granted),
        }
        if refresh and everything:
            claims: dict[str, object] = {"typ": "refresh", "sub": user, "mark": self._mark(user)}
            answer["refresh_token"] = self.signer.sign(claims, _REFRESH_S)
        response = json_answer(answer)
        response.headers.append(("Cache-Control", "no-store"))
        return response

    def _mark(self, user: str) -> str | None:
        """What a user's refresh token holds on to: it ends with the user, and with the password."""
        return self._passwords.mark(user) if self._passwords else ""


def _only_reads(wanted: tuple[Access, ...]) -> bool:
    return all(access.actions == ("pull",) for access in wanted)


def _user(passwords: Passwords, header: str) -> str | None:
    """The user of a Basic header whose password is right; else None."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user if colon and passwords.check(user, password) else None
