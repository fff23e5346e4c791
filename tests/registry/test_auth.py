from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Mapping

import httpx
import pytest

from imagesmith.credentials.model import Credential
from imagesmith.errors import Denied, RegistryError, Unauthorized
from imagesmith.registry import auth
from imagesmith.registry.auth import Authorizer, check_realm, merge_scopes
from imagesmith.registry.reply import Reply

URL = "https://reg.example/v2/a/manifests/1"
PULL, PUSH = ("repository:a:pull",), ("repository:a:pull,push",)
BEARER = 'Bearer realm="https://auth.example/token?x=1",service="svc",scope="repository:a:pull"'


class TokenServer:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Mapping[str, str], dict[str, list[str]]]] = []
        self.answers: list[tuple[int, object]] = []
        self.made = 0

    def __call__(self, method: str, url: str, headers: Mapping[str, str], form: bytes | None) -> Reply:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query if form is None else form.decode())
        self.asked.append((method, url, headers, query))
        self.made += 1
        status, body = self.answers.pop(0) if self.answers else (200, {"token": f"t{self.made}"})
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Reply(status, httpx.Headers({"content-type": "application/json"}), raw, url)


def authorizer(server: TokenServer, credential: Credential | None = None) -> Authorizer:
    return Authorizer("reg.example", lambda: credential, server)


@pytest.fixture
def server() -> TokenServer:
    return TokenServer()


def test_nothing_is_sent_before_a_challenge(server: TokenServer) -> None:
    assert authorizer(server, Credential("u", "p")).header(PULL) is None
    assert server.asked == []


def test_anonymous_token_is_asked_for_with_the_scope_and_the_realms_own_query(server: TokenServer) -> None:
    a = authorizer(server)
    assert a.challenged([BEARER], URL, PULL, None)
    assert a.header(PULL) == "Bearer t1"
    method, _, headers, query = server.asked[0]
    assert (method, headers) == ("GET", {})
    assert (query["x"], query["service"], query["scope"]) == (["1"], ["svc"], ["repository:a:pull"])


def test_token_is_used_again_until_it_ages(server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(auth.time, "monotonic", lambda: now[0])
    a = authorizer(server)
    server.answers = [(200, {"token": "a", "expires_in": 300}), (200, {"access_token": "b"})]
    a.challenged([BEARER], URL, PULL, None)
    assert [a.header(PULL), a.header(PULL)] == ["Bearer a", "Bearer a"]
    now[0] += 271  # nine tenths of its life
    assert a.header(PULL) == "Bearer b"


def test_each_scope_has_its_token(server: TokenServer) -> None:
    a = authorizer(server)
    a.challenged([BEARER], URL, PULL, None)
    assert a.header(PULL) != a.header(PUSH)
    assert server.asked[1][3]["scope"] == ["repository:a:pull,push"]


def test_password_is_sent_to_the_token_server_only(server: TokenServer) -> None:
    a = authorizer(server, Credential("u", "p:w"))
    a.challenged([BEARER], URL, PULL, None)
    assert a.header(PULL) == "Bearer t1"
    assert server.asked[0][2]["Authorization"] == "Basic " + base64.b64encode(b"u:p:w").decode()
    assert server.asked[0][3]["account"] == ["u"]


@pytest.mark.parametrize("status", [401, 404, 405])
def test_post_is_tried_where_get_is_not_known(server: TokenServer, status: int) -> None:
    a = authorizer(server, Credential("u", "p"))
    server.answers = [(status, {}), (200, {"access_token": "posted"})]
    a.challenged([BEARER], URL, PULL, None)
    assert a.header(PULL) == "Bearer posted"
    assert server.asked[1][0] == "POST"
    assert server.asked[1][3]["grant_type"] == ["password"]


def test_identity_token_is_exchanged_by_post(server: TokenServer) -> None:
    a = authorizer(server, Credential("", "refresh", "identity"))
    a.challenged([BEARER], URL, PULL, None)
    assert a.header(PULL) == "Bearer t1"
    assert server.asked[0][0] == "POST"
    assert server.asked[0][3]["refresh_token"] == ["refresh"]


def test_registry_token_is_sent_as_it_is(server: TokenServer) -> None:
    a = authorizer(server, Credential("", "ready", "bearer"))
    assert a.challenged([BEARER], URL, PULL, None)
    assert a.header(PULL) == "Bearer ready"
    assert server.asked == []
    assert not a.challenged([BEARER], URL, PULL, "Bearer ready")


def test_basic_is_sent_once_and_not_again(server: TokenServer) -> None:
    a = authorizer(server, Credential("u", "p"))
    assert a.challenged(['Basic realm="x"'], URL, PULL, None)
    sent = a.header(PULL)
    assert sent == "Basic dTpw"
    assert not a.challenged(['Basic realm="x"'], URL, PULL, sent)


def test_bearer_goes_before_basic(server: TokenServer) -> None:
    a = authorizer(server, Credential("u", "p"))
    assert a.challenged(['Basic realm="x", ' + BEARER], URL, PULL, None)
    assert a.header(PULL) == "Bearer t1"


def test_token_that_is_not_enough_though_it_has_all_scopes_is_final(server: TokenServer) -> None:
    a = authorizer(server)
    a.challenged([BEARER], URL, PULL, None)
    sent = a.header(PULL)
    assert not a.challenged([BEARER + ',error="insufficient_scope"'], URL, PULL, sent)


def test_token_that_the_registry_no_longer_takes_is_renewed(server: TokenServer) -> None:
    a = authorizer(server)
    a.challenged([BEARER], URL, PULL, None)
    sent = a.header(PULL)
    assert a.challenged([BEARER + ',error="invalid_token"'], URL, PULL, sent)
    assert a.header(PULL) == "Bearer t2"


def test_scope_that_the_registry_asks_for_goes_first(server: TokenServer) -> None:
    a = authorizer(server)
    a.challenged([BEARER.replace("repository:a:pull", "repository:other:pull")], URL, PUSH, None)
    a.header(PUSH)
    assert server.asked[0][3]["scope"] == ["repository:other:pull", "repository:a:pull,push"]


def test_dummy_scope_is_left_out(server: TokenServer) -> None:
    a = authorizer(server)
    a.challenged([BEARER.replace("repository:a:pull", "repository:user/image:pull")], URL, PULL, None)
    a.header(PULL)
    assert server.asked[0][3]["scope"] == ["repository:a:pull"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        {},
        {"token": ""},
        {"token": 5},
        {"token": "a\nb"},
        {"token": "ä"},
        b'{"token": "x"',
    ],
)
def test_answer_without_a_token_is_an_error(server: TokenServer, body: object) -> None:
    a = authorizer(server)
    server.answers = [(200, body)]
    a.challenged([BEARER], URL, PULL, None)
    with pytest.raises(RegistryError):
        a.header(PULL)


@pytest.mark.parametrize("life", [0, -1, 1e300, 10**400, "60", True, None])
def test_life_of_a_token_is_bounded_whatever_is_said(server: TokenServer, life: object) -> None:
    a = authorizer(server)
    server.answers = [(200, {"token": "x", "expires_in": life})]
    a.challenged([BEARER], URL, PULL, None)
    assert a.header(PULL) == a.header(PULL) == "Bearer x"
    assert len(server.asked) == 1


@pytest.mark.parametrize(("status", "error"), [(401, Unauthorized), (403, Denied), (500, RegistryError)])
def test_refusal_names_the_user_but_not_the_password(
    server: TokenServer, status: int, error: type[RegistryError]
) -> None:
    a = authorizer(server, Credential("smith", "hunter2"))
    server.answers = [(status, {"details": "no such user"})] * 2
    a.challenged([BEARER], URL, PULL, None)
    with pytest.raises(error) as caught:
        a.header(PULL)
    assert "hunter2" not in caught.value.message
    assert "no such user" in caught.value.message


@pytest.mark.parametrize(
    ("realm", "home", "good"),
    [
        ("https://auth.example/t", "https://reg.example/v2/", True),
        ("/token", "https://reg.example/v2/", True),
        ("http://auth.example/t", "https://reg.example/v2/", False),
        ("http://auth.example/t", "http://reg.example/v2/", True),
        ("https://127.0.0.1/t", "https://reg.example/v2/", False),
        ("https://10.0.0.1/t", "https://reg.example/v2/", False),
        ("https://[::1]/t", "https://reg.example/v2/", False),
        ("https://169.254.169.254/t", "https://reg.example/v2/", False),
        ("https://localhost/t", "https://reg.example/v2/", False),
        ("https://2130706433/t", "https://reg.example/v2/", False),
        ("http://127.0.0.1:5001/t", "http://127.0.0.1:5000/v2/", True),
        ("http://localhost:5001/t", "http://127.0.0.1:5000/v2/", True),
        ("file:///etc/passwd", "https://reg.example/v2/", False),
        ("https://[x/t", "https://reg.example/v2/", False),
        ("https://auth.example:port/t", "https://reg.example/v2/", False),
    ],
)
def test_realm_must_be_as_safe_as_the_registry(realm: str, home: str, good: bool) -> None:
    if good:
        assert check_realm(realm, home).startswith("http")
    else:
        with pytest.raises(RegistryError):
            check_realm(realm, home)


def test_scopes_merge_by_name_in_order() -> None:
    merged = merge_scopes(["repository:b:push", "repository:a:pull", "repository:b:pull,delete"])
    assert merged == ("repository:b:pull,push,delete", "repository:a:pull")


def test_credential_never_shows_its_secret() -> None:
    assert "hunter2" not in repr(Credential("u", "hunter2"))
