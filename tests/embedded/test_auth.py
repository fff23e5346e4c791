from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from imagesmith.embedded import passwords
from imagesmith.embedded.auth import Access
from imagesmith.embedded.passwords import Passwords
from imagesmith.embedded.registry import Registry
from imagesmith.embedded.tokens import Signer
from imagesmith.errors import UsageError
from imagesmith.oci.digest import Digest
from tests.embedded.conftest import Client, Reply

# made by `htpasswd -nbB -C 4`, `-nbm`, `-nbs`, `-nb2`, `-nb5`: the password is "päss: word"
ENTRIES = json.loads((Path(__file__).parent / "htpasswd.json").read_text())
PASSWORD = "päss: word"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.write_text(f"# users\n\nada:{ENTRIES['bcrypt']}\n")
    return path


@pytest.fixture
def guarded(tmp_path: Path, users: Path) -> Iterator[Client]:
    with Registry(tmp_path / "r", htpasswd=users) as registry:
        yield Client(registry.host)


@pytest.fixture
def bearer(tmp_path: Path, users: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "r", htpasswd=users, bearer=True, token_s=100) as registry:
        yield registry


def post(client: Client, **form: str) -> Reply:
    kind = "application/x-www-form-urlencoded"
    return client("POST", "/token", urlencode(form).encode(), Content_Type=kind)


def test_form_of_too_many_fields_is_refused(bearer: Registry) -> None:
    assert post(Client(bearer.host), **{f"f{n}": "" for n in range(200)}).status == 400


# passwords


@pytest.mark.parametrize("form", sorted(ENTRIES))
def test_every_form_of_entry_knows_its_password(tmp_path: Path, form: str) -> None:
    path = tmp_path / "htpasswd"
    path.write_text(f"ada:{ENTRIES[form]}\n")
    found = Passwords(path)
    assert [found.check("ada", PASSWORD) for _ in range(2)] == [True, True]
    assert not found.check("ada", "pass: word")
    assert not found.check("ada", "")
    assert not found.check("ada", PASSWORD + "\0more")
    assert not found.check("bob", PASSWORD)


@pytest.mark.parametrize(
    "line", ["ada:secret", "ada:rl1ZZyQHhzG6I", "ada", ":x", "ada:$2y$", "ada:{SHA}short"]
)
def test_other_forms_are_refused_with_their_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "htpasswd"
    path.write_text(f"# first\n{line}\n")
    with pytest.raises(UsageError, match=f"{path}:2: "):
        Passwords(path)


def test_missing_password_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none"):
        Passwords(tmp_path / "none")


def test_changed_file_counts_at_once_and_a_broken_one_not(users: Path) -> None:
    found = Passwords(users)
    users.write_text(f"bob:{ENTRIES['sha']}\n")
    assert (found.check("ada", PASSWORD), found.check("bob", PASSWORD)) == (False, True)
    users.write_text("nonsense\n")
    assert found.check("bob", PASSWORD)


# basic


def test_who_gives_no_password_is_asked(guarded: Client) -> None:
    for path in ("/v2/", "/v2/_catalog", "/v2/a/tags/list"):
        reply = guarded("GET", path)
        assert (reply.status, reply.code) == (401, "UNAUTHORIZED")
        assert reply.headers["www-authenticate"].startswith("Basic realm=")


def test_password_opens_and_a_wrong_one_does_not(guarded: Client) -> None:
    assert guarded("GET", "/v2/", Authorization=basic("ada", PASSWORD)).status == 200
    for wrong in (basic("ada", "x"), basic("eve", PASSWORD), "Basic !", "Bearer x", "Basic", ""):
        assert guarded("GET", "/v2/", Authorization=wrong).status == 401


def test_anonymous_may_read_and_not_write(tmp_path: Path, users: Path) -> None:
    with Registry(tmp_path / "r", htpasswd=users, anonymous=True) as registry:
        client = Client(registry.host)
        assert client("GET", "/v2/a/tags/list").status == 404
        assert client("GET", "/v2/").status == 401  # so that a client with credentials gives them
        assert client("POST", "/v2/a/blobs/uploads/").status == 401
        assert client("DELETE", "/v2/a/manifests/x").status == 401
        authorization = basic("ada", PASSWORD)
        assert client("POST", "/v2/a/blobs/uploads/", Authorization=authorization).status == 202


# bearer


def test_challenge_names_realm_service_and_scope(bearer: Registry) -> None:
    reply = Client(bearer.host)("POST", "/v2/a/b/blobs/uploads/")
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == (
        f'Bearer realm="http://{bearer.host}/token",service="imagesmith-registry",'
        'scope="repository:a/b:pull,push"'
    )


def test_token_by_get_opens_what_it_names(bearer: Registry) -> None:
    client = Client(bearer.host)
    path = "/token?service=imagesmith-registry&scope=repository:a:pull,push&scope=repository:b:pull"
    answer = client("GET", path, Authorization=basic("ada", PASSWORD)).json()
    assert answer["token"] == answer["access_token"]
    assert (answer["expires_in"], "refresh_token" in answer) == (100, False)
    token = f"Bearer {answer['token']}"
    assert client("POST", "/v2/a/blobs/uploads/", Authorization=token).status == 202
    assert client("GET", "/v2/b/tags/list", Authorization=token).status == 404
    refused = client("POST", "/v2/b/blobs/uploads/", Authorization=token)
    assert (refused.status, 'error="insufficient_scope"' in refused.headers["www-authenticate"]) == (
        401,
        True,
    )
    assert client("GET", "/v2/", Authorization=token).status == 200


def test_token_by_post_and_its_refresh(bearer: Registry) -> None:
    client = Client(bearer.host)
    scope = "repository:a:pull,push,delete registry:catalog:*"
    form = {"grant_type": "password", "username": "ada", "client_id": "t", "scope": scope}
    first = post(client, **form, password=PASSWORD, access_type="offline").json()
    again = post(client, grant_type="refresh_token", refresh_token=first["refresh_token"], scope=scope)
    for answer in (first, again.json()):
        token = f"Bearer {answer['access_token']}"
        assert client("GET", "/v2/_catalog", Authorization=token).status == 200
        assert client("DELETE", "/v2/a/manifests/x", Authorization=token).status == 404
    assert post(client, **form, password="wrong").status == 401
    assert post(client, grant_type="refresh_token", refresh_token=first["access_token"]).status == 401
    assert post(client, grant_type="else").status == 400


def test_refresh_token_ends_with_the_password_and_the_user(bearer: Registry, users: Path) -> None:
    client = Client(bearer.host)
    form = {"grant_type": "password", "username": "ada", "access_type": "offline", "password": PASSWORD}
    token = post(client, **form).json()["refresh_token"]
    assert post(client, grant_type="refresh_token", refresh_token=token).status == 200
    users.write_text(f"ada:{ENTRIES['apr1']}\n")  # the same password, given anew
    assert post(client, grant_type="refresh_token", refresh_token=token).status == 401
    users.write_text(f"bob:{ENTRIES['sha']}\n")
    assert post(client, grant_type="refresh_token", refresh_token=token).status == 401


def test_refresh_token_grows_old(bearer: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(bearer.host)
    form = {"grant_type": "password", "username": "ada", "access_type": "offline", "password": PASSWORD}
    token = post(client, **form).json()["refresh_token"]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31 * 24 * 3600)
    assert post(client, grant_type="refresh_token", refresh_token=token).status == 401


def test_unknown_user_takes_as_long_as_a_known_one(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries: list[str] = []
    monkeypatch.setattr(passwords, "_matches", lambda entry, _secret: entries.append(entry) or False)
    found = Passwords(users)
    assert not found.check("ada", "wrong")
    assert not found.check("eve", "wrong")
    assert entries[0][:4] == entries[1][:4]


def test_tokens_are_not_for_strangers(bearer: Registry) -> None:
    client = Client(bearer.host)
    assert client("GET", "/token?scope=repository:a:pull").status == 401
    assert client("GET", "/token", Authorization=basic("ada", "wrong")).status == 401


def test_anonymous_token_reads_only(tmp_path: Path, users: Path) -> None:
    with Registry(tmp_path / "r", htpasswd=users, bearer=True, anonymous=True) as registry:
        client = Client(registry.host)
        answer = client("GET", "/token?scope=repository:a:pull,push").json()
        assert answer["scope"] == "repository:a:pull"
        token = f"Bearer {answer['token']}"
        assert client("GET", "/v2/a/tags/list", Authorization=token).status == 404
        assert client("POST", "/v2/a/blobs/uploads/", Authorization=token).status == 401


def test_forgotten_tokens_are_invalid(bearer: Registry) -> None:
    client = Client(bearer.host)
    answer = client("GET", "/token?scope=repository:a:pull", Authorization=basic("ada", PASSWORD)).json()
    bearer.forget_tokens()
    reply = client("GET", "/v2/a/tags/list", Authorization=f"Bearer {answer['token']}")
    assert (reply.status, 'error="invalid_token"' in reply.headers["www-authenticate"]) == (401, True)


def test_mount_needs_to_read_the_source_too(bearer: Registry) -> None:
    client = Client(bearer.host)

    def token(scope: str) -> str:
        path = f"/token?scope={scope}"
        return "Bearer " + client("GET", path, Authorization=basic("ada", PASSWORD)).json()["token"]

    digest = "sha256:" + "ab" * 32
    bearer.storage.write(bearer.storage.content(Digest.parse(digest)), b"")
    bearer.storage.link_blob("src", Digest.parse(digest))
    path = f"/v2/dst/blobs/uploads/?mount={digest}&from=src"
    assert client("POST", path, Authorization=token("repository:dst:pull,push")).status == 202
    anywhere = f"/v2/dst/blobs/uploads/?mount={digest}"
    assert client("POST", anywhere, Authorization=token("repository:dst:pull,push")).status == 202
    both = token("repository:dst:pull,push%20repository:src:pull")
    assert client("POST", path, Authorization=both).status == 201


@pytest.mark.parametrize(
    ("scope", "name", "actions"),
    [
        ("repository:a/b:pull,push", "a/b", ("pull", "push")),
        ("repository:h:5000/a:pull", "h:5000/a", ("pull",)),
        ("repository(plugin):a:pull,fly", "a", ("pull",)),
        ("registry:catalog:*", "catalog", ("*",)),
    ],
)
def test_scope_is_cut_at_the_first_and_last_colon(scope: str, name: str, actions: tuple[str, ...]) -> None:
    access = Access.parse(scope)
    assert access
    assert (access.name, access.actions) == (name, actions)


@pytest.mark.parametrize("scope", ["", "x", "repository:a", ":a:pull", "repository::pull"])
def test_what_is_no_scope(scope: str) -> None:
    assert Access.parse(scope) is None


def test_signed_claims_come_back_and_changed_ones_do_not() -> None:
    signer = Signer()
    token = signer.sign({"typ": "access", "access": []}, 60)
    assert signer.read(token, "access")
    assert signer.read(token, "refresh") is None
    assert signer.read(signer.sign({"typ": "access"}, 0), "access") is None
    head, body, mac = token.split(".")
    for wrong in (
        f"{head}.{body[:-1]}A.{mac}",
        f"{head}.{body}.{mac[:-2]}",
        "",
        ".",
        "a.b.c",
        "é.è.ü",
    ):
        assert signer.read(wrong, "access") is None
    assert Signer().read(token, "access") is None
