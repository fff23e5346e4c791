"""Per-side flags: who one is to each registry, whom one trusts, and how often is tried."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from imagesmith.settings import Access, Login
from tests.cli.conftest import Run
from tests.registry.conftest import PASSWORD, USER, make_certificate, make_htpasswd
from tests.registry.faultproxy import Answer, FaultProxy

CREDS = f"{USER}:{PASSWORD}"


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[str]:
    """A registry that wants a password."""
    with Registry(tmp_path / "closed", htpasswd=make_htpasswd(tmp_path / "htpasswd")) as registry:
        yield registry.host


def test_each_side_has_its_own_credentials(run: Run, image: str, closed: str, tmp_path: Path) -> None:
    del image
    with Registry(tmp_path / "open") as other:
        name, copy = f"{closed}/t/app:1", f"{other.host}/t/app:1"
        assert "401" in run("copy", "store:app:1", name, status=7)
        assert "401" in run("copy", "--src-creds", CREDS, "store:app:1", name, status=7)
        made = run("copy", "--dest-creds", CREDS, "store:app:1", name)
        assert "401" in run("copy", "--dest-creds", CREDS, name, copy, status=7)
        user = ("--src-username", USER, "--src-password", PASSWORD)
        assert run("copy", *user, name, copy) == made
        assert run("copy", "--src-creds", USER, name, copy, stdin=f"{PASSWORD}\n".encode()) == made
        said = run("copy", "--src-creds", "smith:another secret", name, copy, status=7)
        assert "another secret" not in said


def test_one_side_has_credentials_in_verbs_of_one_registry(run: Run, image: str, closed: str) -> None:
    name = f"{closed}/t/app:1"
    run("push", "--creds", CREDS, "app:1", name)
    assert run("digest", "--creds", CREDS, name) == f"{image}\n"
    assert run("inspect", "--username", USER, "--password", PASSWORD, "--raw", f"docker://{name}")
    assert run("tags", "--creds", CREDS, f"{closed}/t/app") == "1\n"
    assert "401" in run("tags", "--registry-token", "nonsense", f"{closed}/t/app", status=7)
    run("pull", "--creds", CREDS, name)
    run("delete", "--creds", CREDS, name)
    assert "401" in run("tags", f"{closed}/t/app", status=7)


def test_files_of_a_side_and_a_side_without_any(run: Run, image: str, closed: str, tmp_path: Path) -> None:
    del image
    name, logins = f"{closed}/t/app:1", tmp_path / "auth.json"
    run("login", "--authfile", str(logins), "-u", USER, "--password-stdin", closed, stdin=PASSWORD.encode())
    made = run("copy", "--dest-authfile", str(logins), "store:app:1", name)
    assert run("copy", "--src-authfile", str(logins), name, "oci:one") == made
    assert "401" in run("copy", "--authfile", str(logins), "--src-no-creds", name, "oci:two", status=7)
    assert run("copy", "--authfile", str(logins), "--dest-no-creds", name, "oci:two") == made


def test_each_side_has_its_own_trust(run: Run, image: str, tmp_path: Path) -> None:
    del image
    folder = make_certificate(tmp_path / "tls")
    with Registry(tmp_path / "secure", tls=(folder / "cert.pem", folder / "key.pem")) as registry:
        name = f"{registry.host}/t/app:1"
        assert "certificate" in run("copy", "store:app:1", name, status=7)
        assert "certificate" in run("copy", "--src-tls-verify=false", "store:app:1", name, status=7)
        made = run("copy", "--dest-tls-verify=false", "store:app:1", name)
        trust = tmp_path / "trust"
        trust.mkdir()
        (trust / "ca.crt").write_bytes((folder / "cert.pem").read_bytes())
        assert run("copy", "--src-cert-dir", str(trust), name, "oci:one") == made
        assert "certificate" in run("copy", "--dest-cert-dir", str(trust), name, "oci:two", status=7)
        refused = ("--insecure-registry", registry.host, "--tls-verify")
        assert "certificate" in run("digest", *refused, name, status=7)
        assert run("digest", "--tls-verify=false", name) == made


@pytest.mark.parametrize(("retry", "status", "asked"), [("0", 7, 1), ("1", 7, 2), ("2", 0, 3)])
def test_requests_are_tried_again_as_often_as_is_asked(
    run: Run, image: str, tmp_path: Path, retry: str, status: int, asked: int
) -> None:
    with Registry(tmp_path / "registry") as registry, FaultProxy(registry.host) as proxy:
        name = f"{proxy.host}/t/app:1"
        run("push", "app:1", f"{registry.host}/t/app:1")
        proxy.on("GET|HEAD", "/t/app/manifests/1$", Answer(503), times=2)
        flags = ("--src-no-creds", "--retry-times", retry, "--retry-delay", "1ms")
        said = run("copy", *flags, name, "oci:there", status=status)
        assert said == f"{image}\n" if status == 0 else "503" in said
        assert len(proxy.seen("GET|HEAD", "/manifests/1$")) == asked


def test_no_credential_is_in_a_log(
    run: Run, image: str, closed: str, caplog: pytest.LogCaptureFixture
) -> None:
    del image
    caplog.set_level(0)
    run("copy", "--dest-creds", CREDS, "store:app:1", f"{closed}/t/app:1")
    assert "/v2/" in caplog.text
    assert PASSWORD not in caplog.text
    assert base64.b64encode(CREDS.encode()).decode() not in caplog.text


def test_a_login_is_shown_without_its_secret() -> None:
    assert "hidden" not in repr(Access(login=Login("basic", "me", "hidden")))


def test_tokens_are_sent_as_they_are(run: Run, image: str, tmp_path: Path) -> None:
    del image
    with Registry(tmp_path / "bearer", htpasswd=make_htpasswd(tmp_path / "users"), bearer=True) as registry:
        name = f"{registry.host}/t/app:1"
        made = run("copy", "--dest-creds", CREDS, "store:app:1", name)
        scope = "scope=repository:t/app:pull&service=imagesmith"
        asked = urllib.request.Request(f"http://{registry.host}/token?{scope}")
        asked.add_header("Authorization", f"Basic {base64.b64encode(CREDS.encode()).decode()}")
        with urllib.request.urlopen(asked) as answer:
            token = json.load(answer)["token"]
        assert run("copy", "--src-registry-token", token, name, "oci:there") == made
        assert run("digest", "--registry-token", token, name) == made
        said = run("copy", "--dest-registry-token", token, "oci:there", f"{registry.host}/t/app:2", status=7)
        assert token not in said
