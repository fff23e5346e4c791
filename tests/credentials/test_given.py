"""Credentials that are given: by host, with no file beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.credentials.dockerconfig import Credentials, GivenCredentials, credentials_by
from imagesmith.settings import Access, Login


def test_only_what_was_given_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{broken")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", "{broken")
    logins = (("registry.example", Login("basic", "ada", "x")), ("quay.example", Login()))
    found = credentials_by(Access(logins=logins))
    assert isinstance(found, GivenCredentials)
    known = found.find("registry.example", "team/app")
    assert known is not None
    assert (known.username, known.secret, known.kind) == ("ada", "x", "basic")
    assert found.find("quay.example") is None
    assert found.find("other.example") is None
    assert found.scope("registry.example", "team/app") == ""
    assert "x" not in repr(Access(logins=logins)).replace("example", "")


def test_docker_hub_goes_by_any_of_its_names() -> None:
    found = GivenCredentials([("docker.io", Login("bearer", "", "t"))])
    assert all(found.find(name) for name in ("docker.io", "index.docker.io", "registry-1.docker.io"))
    assert type(credentials_by(Access())) is Credentials
