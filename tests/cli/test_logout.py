"""logout: the credentials for one registry are forgotten, those for others stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagesmith.credentials.login import account_of
from imagesmith.errors import UsageError
from tests.cli.conftest import Run


def test_only_this_registrys_credentials_go(run: Run, tmp_path: Path) -> None:
    auths = {"a.example": {"auth": "bWU6eA=="}, "b.example": {"auth": "bWU6eA=="}}
    (tmp_path / "auth.json").write_text(json.dumps({"auths": auths}))
    words = ("logout", "--authfile", "auth.json", "a.example")
    assert run(*words) == "removed the credentials for a.example\n"
    assert list(json.loads((tmp_path / "auth.json").read_text())["auths"]) == ["b.example"]
    assert run(*words) == "not logged in to a.example\n"


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("docker.io", ("docker.io", "")),
        ("https://index.docker.io/v1/", ("docker.io", "")),
        ("registry.example:5000", ("registry.example:5000", "")),
        ("http://registry.example/team/app/", ("registry.example", "team/app")),
    ],
)
def test_registry_is_named_as_docker_names_it(text: str, account: tuple[str, str]) -> None:
    assert account_of(text) == account


def test_text_without_a_host_names_no_registry() -> None:
    with pytest.raises(UsageError, match="names no registry"):
        account_of("https:///v2")
