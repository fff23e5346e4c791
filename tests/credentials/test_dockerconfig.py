from __future__ import annotations

import base64
import contextlib
import json
import os
import re
from pathlib import Path

import pytest

from imagesmith.credentials.dockerconfig import Credentials, keys_of
from imagesmith.credentials.login import forget, keep
from imagesmith.credentials.model import Credential
from imagesmith.errors import UsageError


def entry(user: str, password: str = "p") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def docker(home: Path, document: object) -> Credentials:
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker/config.json").write_text(document if isinstance(document, str) else json.dumps(document))
    return Credentials({"XDG_RUNTIME_DIR": str(home / "run")}, home)


def user(found: Credential | None) -> str:
    return "" if found is None else found.username


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("reg.example", "reg.example"),
        ("reg.example:5000", "reg.example:5000"),
        ("https://reg.example", "reg.example"),
        ("http://reg.example/v1/", "reg.example"),
        ("https://reg.example/v2/", "reg.example"),
        ("https://reg.example/some/old/path", "reg.example"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("reg.example/", "reg.example"),
        ("reg.example:5000/v1/", "reg.example:5000"),
        ("reg.example/v2/", "reg.example"),
        ("reg.example/v2", "reg.example"),
        ("index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
    ],
)
def test_every_spelling_of_a_key_is_found(tmp_path: Path, key: str, registry: str) -> None:
    assert user(docker(tmp_path, {"auths": {key: entry("u")}}).find(registry, "a/b")) == "u"


@pytest.mark.parametrize(
    "key", ["reg.example:5000", "other.example", "https://index.docker.io/v1/access-token"]
)
def test_key_of_another_place_is_not_taken(tmp_path: Path, key: str) -> None:
    c = docker(tmp_path, {"auths": {key: entry("u")}})
    assert c.find("reg.example") is None
    assert c.find("index.docker.io") is None


def test_longest_path_wins(tmp_path: Path) -> None:
    auths = {"r.io/ns": entry("ns"), "r.io": entry("host"), "r.io/ns/repo": entry("repo")}
    c = docker(tmp_path, {"auths": auths})
    assert [user(c.find("r.io", p)) for p in ("ns/repo", "ns/other", "x")] == ["repo", "ns", "host"]
    assert [c.scope("r.io", p) for p in ("ns/repo", "ns/other", "x")] == ["r.io/ns/repo", "r.io/ns", ""]


def test_password_may_hold_colons(tmp_path: Path) -> None:
    found = docker(tmp_path, {"auths": {"r.io": entry("u", "a:b:c")}}).find("r.io")
    assert found is not None
    assert found.secret == "a:b:c"


@pytest.mark.parametrize(
    ("fields", "kind", "secret"),
    [
        ({**entry("u"), "identitytoken": "id"}, "identity", "id"),
        ({"registrytoken": "rt"}, "bearer", "rt"),
        ({"username": "u", "password": "plain"}, "basic", "plain"),
    ],
)
def test_kinds_of_credentials(tmp_path: Path, fields: dict[str, str], kind: str, secret: str) -> None:
    found = docker(tmp_path, {"auths": {"r.io": fields}}).find("r.io")
    assert found is not None
    assert (found.kind, found.secret) == (kind, secret)


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": []}', '{"auths": {"r.io": {"auth": "bm9jb2xvbg=="}}}',
                                  '{"auths": {"r.io": {"auth": 5}}}', '{"credsStore": 1}'])  # fmt: skip
def test_broken_file_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="config\\.json"):
        docker(tmp_path, text).find("r.io")


@pytest.mark.parametrize("text", ["", "{}", '{"auths": {"r.io": {}}}', '{"auths": null}'])
def test_file_that_says_nothing_means_none(tmp_path: Path, text: str) -> None:
    assert docker(tmp_path, text).find("r.io") is None


def test_variables_choose_the_file(tmp_path: Path) -> None:
    docker(tmp_path, {"auths": {"r.io": entry("home")}})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"auths": {"r.io": entry(name)}}))
    env = {"DOCKER_CONFIG": str(tmp_path / "one")}
    assert user(Credentials(env, tmp_path).find("r.io")) == "one"
    env["REGISTRY_AUTH_FILE"] = str(tmp_path / "two/config.json")
    assert user(Credentials(env, tmp_path).find("r.io")) == "two"
    env["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {"r.io": entry("text")}})
    assert user(Credentials(env, tmp_path).find("r.io")) == "text"
    assert Credentials(env, tmp_path).find("other.io") is None


def test_podmans_files_are_read_after_dockers(tmp_path: Path) -> None:
    folder = tmp_path / "run/containers"
    folder.mkdir(parents=True)
    (folder / "auth.json").write_text(
        json.dumps({"auths": {"r.io": entry("podman"), "p.io": entry("podman")}})
    )
    c = docker(tmp_path, {"auths": {"r.io": entry("docker")}})
    assert [user(c.find("r.io")), user(c.find("p.io"))] == ["docker", "podman"]


# --- helpers -------------------------------------------------------------------------------------

HELPER = """#!/bin/sh
cd "$(dirname "$0")" && echo "$1" >> calls
key=$(cat)
case "$1" in
get) if [ -f secret ]; then cat secret; else echo "credentials not found in native keychain"; exit 1; fi ;;
store) printf %s "$key" > secret ;;
erase) rm -f secret ;;
*) echo "no idea"; exit 1 ;;
esac
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker-credential-test").write_text(HELPER)
    (folder / "docker-credential-test").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_helper_is_asked_and_none_means_none(tmp_path: Path, helper: Path) -> None:
    c = docker(tmp_path, {"credHelpers": {"r.io": "test"}, "auths": {"r.io": entry("file")}})
    assert c.find("r.io") is None
    (helper / "secret").write_text('{"ServerURL":"r.io","Username":"u","Secret":"s"}')
    assert user(c.find("r.io")) == "u"
    (helper / "secret").write_text('{"ServerURL":"r.io","Username":"<token>","Secret":"s"}')
    found = c.find("r.io")
    assert found is not None
    assert found.kind == "identity"


def warned(c: Credentials, registry: str = "r.io") -> str:
    """What is told where a helper is passed by, once however often it is asked."""
    told: list[str] = []
    c.warn = told.append
    for _ in range(2):
        assert c.find(registry) is None
    assert len(told) == 1
    return told[0]


@pytest.mark.parametrize("where", ["credsStore", "credHelpers"])
@pytest.mark.parametrize(("name", "message"), [("missing", "not installed"), ("../x", "no name")])
def test_helper_that_cannot_be_run_is_passed_by(tmp_path: Path, where: str, name: str, message: str) -> None:
    assert message in warned(docker(tmp_path, {where: name if where == "credsStore" else {"r.io": name}}))


def test_entry_of_the_file_is_there_beside_a_missing_helper(tmp_path: Path) -> None:
    c = docker(tmp_path, {"credsStore": "missing", "auths": {"r.io": entry("file"), "s.io": {}}})
    assert user(c.find("r.io")) == "file"
    assert c.find("s.io") is None


def test_helper_that_answers_nonsense_is_passed_by(tmp_path: Path, helper: Path) -> None:
    (helper / "secret").write_text("not json")
    assert "nonsense" in warned(docker(tmp_path, {"credsStore": "test"}))


def test_helper_that_fails_is_passed_by_with_its_words(tmp_path: Path, helper: Path) -> None:
    (helper / "docker-credential-test").write_text("#!/bin/sh\necho pass store is not initialised\nexit 1\n")
    said = warned(docker(tmp_path, {"credHelpers": {"r.io": "test"}}))
    assert "docker-credential-test get r.io: pass store is not initialised" in said


def test_helper_that_never_ends_its_answer_is_stopped(tmp_path: Path, helper: Path) -> None:
    (helper / "docker-credential-test").write_text("#!/bin/sh\necho $$ > pid\nexec yes\n")
    with contextlib.chdir(tmp_path):
        assert "more than 1048576 bytes" in warned(docker(tmp_path, {"credsStore": "test"}))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_helper_that_is_silent_is_not_waited_for_without_end(
    tmp_path: Path, helper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagesmith.credentials.helpers._TIMEOUT_S", 0.05)
    (helper / "docker-credential-test").write_text("#!/bin/sh\nexec sleep 33\n")
    said = warned(docker(tmp_path, {"credsStore": "test"}))
    assert re.search(r"docker-credential-test get: .* timed out after 0\.05 seconds", said)


def test_helper_of_a_path_is_for_that_path(tmp_path: Path, helper: Path) -> None:
    (helper / "secret").write_text('{"ServerURL":"r.io/team","Username":"team","Secret":"s"}')
    c = docker(tmp_path, {"credHelpers": {"r.io/team": "test"}, "auths": {"r.io": entry("host")}})
    assert user(c.find("r.io", "team/app")) == "team"
    assert user(c.find("r.io", "other/app")) == "host"
    assert (c.scope("r.io", "team/app"), c.scope("r.io", "other/app")) == ("r.io/team", "")


def test_login_and_logout_go_through_the_helper(tmp_path: Path, helper: Path) -> None:
    c = docker(tmp_path, {"credsStore": "test"})
    assert keep("docker.io", Credential("u", "s"), c) == "docker-credential-test"
    stored = json.loads((helper / "secret").read_text())
    assert stored == {"ServerURL": "https://index.docker.io/v1/", "Username": "u", "Secret": "s"}
    assert "auths" not in json.loads((tmp_path / ".docker/config.json").read_text())
    assert forget("docker.io", c)
    assert not forget("docker.io", c)


# --- paths ---------------------------------------------------------------------------------------


def test_login_for_a_path_goes_before_helper_and_host(tmp_path: Path, helper: Path) -> None:
    (helper / "secret").write_text('{"ServerURL":"r.io","Username":"helper","Secret":"s"}')
    c = docker(tmp_path, {"credsStore": "test", "auths": {"r.io/team/app": entry("app")}})
    assert user(c.find("r.io", "team/app")) == "app"
    assert user(c.find("r.io", "team/apple")) == "helper"


@pytest.mark.parametrize("from_env", [False, True])
def test_paths_have_connections_of_their_own(tmp_path: Path, from_env: bool) -> None:
    auths = {
        "auths": {
            "r.io/a": entry("a"),
            "r.io/b/c": entry("c"),
            "docker.io/me": entry("me"),
            "r.io": entry("r"),
        }
    }
    c = (
        Credentials({"DOCKER_AUTH_CONFIG": json.dumps(auths)}, tmp_path)
        if from_env
        else docker(tmp_path, auths)
    )
    assert [c.scope("r.io", path) for path in ("a/x", "b/c", "b/d", "")] == ["r.io/a", "r.io/b/c", "", ""]
    assert c.scope("registry-1.docker.io", "me/app") == "docker.io/me"
    assert [user(c.find("r.io", path)) for path in ("a/x", "b/c", "b/d", "")] == ["a", "c", "r", "r"]


def test_logins_for_paths_stay_apart(tmp_path: Path) -> None:
    c = docker(tmp_path, {"auths": {"r.io": entry("host")}})
    keep("r.io", Credential("one", "p"), c, "team/one")
    keep("r.io", Credential("two", "p"), c, "team/two")
    found = [user(c.find("r.io", path)) for path in ("team/one", "team/one/x", "team/two", "team/three")]
    assert found == ["one", "one", "two", "host"]
    assert forget("r.io", c, "team/one")
    assert not forget("r.io", c, "team/one")
    assert [user(c.find("r.io", path)) for path in ("team/one", "team/two")] == ["host", "two"]
    assert forget("r.io", c)
    assert user(c.find("r.io", "team/two")) == "two"


# --- keeping -------------------------------------------------------------------------------------


def test_login_keeps_all_else_of_the_file(tmp_path: Path) -> None:
    c = docker(tmp_path, {"auths": {"other.io": entry("o")}, "HttpHeaders": {"X": "y"}, "proxies": {}})
    assert keep("r.io", Credential("u", "p:w"), c) == str(tmp_path / ".docker/config.json")
    document = json.loads((tmp_path / ".docker/config.json").read_text())
    assert document["HttpHeaders"] == {"X": "y"}
    assert set(document["auths"]) == {"other.io", "r.io"}
    assert user(c.find("r.io")) == "u"


def test_login_makes_a_file_that_others_cannot_read(tmp_path: Path) -> None:
    c = Credentials({"REGISTRY_AUTH_FILE": str(tmp_path / "new/auth.json")}, tmp_path)
    keep("r.io", Credential("u", "p"), c)
    assert (tmp_path / "new/auth.json").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in (tmp_path / "new").iterdir() if p.suffix == ".json"] == ["auth.json"]


def test_login_writes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "auth.json").symlink_to("real.json")
    c = Credentials({"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}, tmp_path)
    keep("r.io", Credential("u", "p"), c)
    assert (tmp_path / "auth.json").is_symlink()
    assert "r.io" in json.loads((tmp_path / "real.json").read_text())["auths"]


def test_logout_takes_every_spelling(tmp_path: Path) -> None:
    auths = {"r.io": entry("a"), "https://r.io/v1/": entry("b"), "s.io": entry("c")}
    c = docker(tmp_path, {"auths": auths})
    assert forget("r.io", c)
    assert list(json.loads((tmp_path / ".docker/config.json").read_text())["auths"]) == ["s.io"]
    assert not forget("r.io", c)


def test_most_exact_keys_come_first() -> None:
    assert keys_of("r.io", "a/b")[:3] == ["r.io/a/b", "r.io/a", "r.io"]
