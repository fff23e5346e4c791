"""Credentials as arguments: what registries see; no file is read or written, and nobody else sees them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagesmith
from imagesmith.embedded.registry import Registry
from imagesmith.errors import Denied, Unauthorized, UsageError
from tests.registry.conftest import PASSWORD, USER, make_htpasswd
from tests.registry.faultproxy import FaultProxy

SMITH = imagesmith.Credentials(USER, PASSWORD)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[str]:
    """A registry that wants a password."""
    with Registry(tmp_path / "closed", htpasswd=make_htpasswd(tmp_path / "htpasswd")) as registry:
        yield registry.host


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[str]:
    """A registry that is open."""
    with Registry(tmp_path / "open") as registry:
        yield registry.host


@pytest.fixture(autouse=True)
def broken_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of credentials that fails whoever reads it."""
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "config.json").write_text("{broken")
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("IMAGESMITH_ROOT", str(tmp_path / "store"))
    return folder


@pytest.fixture
def image(tmp_path: Path) -> str:
    """A name in the store."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    imagesmith.build(tmp_path, tags=["app:1"], isolation="none")
    return "app:1"


def test_calls_log_in_with_what_they_are_given(closed: str, image: str, broken_files: Path) -> None:
    before = {path: path.read_bytes() for path in broken_files.rglob("*")}
    imagesmith.push(image, f"{closed}/app:1", credentials=SMITH)
    assert imagesmith.tags(f"{closed}/app", credentials=SMITH) == ["1"]
    assert imagesmith.catalog(closed, credentials={closed: SMITH}) == ["app"]
    assert imagesmith.read(f"{closed}/app:1", "/Dockerfile", credentials=SMITH).startswith(b"FROM")
    assert {path: path.read_bytes() for path in broken_files.rglob("*")} == before
    with pytest.raises(UsageError, match=r"broken|config"):  # without them, it is what counts
        imagesmith.tags(f"{closed}/app")
    with pytest.raises((Unauthorized, Denied)):
        imagesmith.tags(f"{closed}/app", credentials=imagesmith.Credentials(USER, "another"))
    with pytest.raises((Unauthorized, Denied)):
        imagesmith.tags(f"{closed}/app", credentials={"registry.example": SMITH})
    with pytest.raises((Unauthorized, Denied)):
        imagesmith.tags(f"{closed}/app", credentials=imagesmith.Token("none of theirs"))


def test_build_pushes_with_them_also_from_its_child(closed: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    built = imagesmith.build(
        tmp_path, tags=[f"{closed}/built:1"], push=True, isolation="none", credentials=SMITH
    )
    assert imagesmith.digest(f"{closed}/built:1", credentials=SMITH) == built.digest


def test_one_side_s_password_is_not_shown_to_the_other(opened: str, closed: str, image: str) -> None:
    with FaultProxy(opened) as source:
        nobody: dict[str, imagesmith.Credentials] = {}
        imagesmith.push(image, f"{opened}/app:1", credentials=nobody)
        found = imagesmith.copy(
            f"{source.host}/app:1", f"{closed}/app:1", source_credentials={}, target_credentials=SMITH
        )
        assert found.digest == imagesmith.digest(f"{closed}/app:1", credentials=SMITH)
        assert source.seen()
        assert not any("authorization" in map(str.lower, e.headers) for e in source.seen())


def test_secrets_are_shown_nowhere(closed: str, image: str) -> None:
    told: list[object] = []
    with pytest.raises((Unauthorized, Denied)) as raised:
        imagesmith.push(
            image, f"{closed}/x:1", credentials=imagesmith.Credentials(USER, "sesame"), events=told.append
        )
    assert "sesame" not in f"{raised.value!r} {raised.value} {told!r}"
    assert "sesame" not in repr(imagesmith.Credentials("a", "sesame")) + repr(imagesmith.Token("sesame"))
    with pytest.raises(UsageError, match="colon"):
        imagesmith.tags(f"{closed}/app", credentials=imagesmith.Credentials("a:b", "c"))


def test_login_keeps_what_was_checked_and_logout_forgets_it(closed: str, tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    with pytest.raises(Unauthorized):
        imagesmith.login(closed, imagesmith.Credentials(USER, "another"), authfile=file)
    assert not os.path.exists(file)
    assert imagesmith.login(closed, SMITH, authfile=file) == str(file)
    assert closed in file.read_text()
    assert imagesmith.logout(closed, authfile=file)
    assert not imagesmith.logout(closed, authfile=file)
