"""login: checked first, then kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.registry.conftest import PASSWORD, USER, make_htpasswd, serve_embedded


def test_login_is_checked_and_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    file = make_htpasswd(tmp_path / "htpasswd")
    with serve_embedded(tmp_path / "closed", "--htpasswd", str(file)) as served:
        assert "unauthorized" in run("catalog", served.host, status=7)
        wrong = run("login", "-u", USER, "--password-stdin", served.host, stdin=b"wrong\n", status=7)
        assert "incorrect user name or password" in wrong
        assert not (tmp_path / "auth.json").exists()
        said = run("login", "-u", USER, "--password-stdin", served.host, stdin=PASSWORD.encode() + b"\n")
        assert said == f"logged in to {served.host}; kept in {tmp_path / 'auth.json'}\n"
        assert list(json.loads((tmp_path / "auth.json").read_text())["auths"]) == [served.host]
        assert run("catalog", served.host) == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-u", "me", "-p", "x", "--password-stdin"], "mutually exclusive"),
        (["--password-stdin"], "must provide --username"),
        (["-u", "me", "--password-stdin"], "no password on standard input"),
        (["-u", "me"], "cannot ask for a password without a terminal"),
        (["-u", "a:b", "-p", "x"], "cannot hold a colon"),
        (["-u", "me", "-p", "x", "--authfile", "none/file"], "--authfile "),
    ],
)
def test_words_that_name_no_account_are_told(run: Run, words: list[str], said: str) -> None:
    assert said in run("login", *words, "127.0.0.1:1", status=2)
