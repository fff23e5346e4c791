"""key: pairs are made under a password, never over others, and their public half is shown."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.trust.keys import KINDS, PublicKey, open_private
from tests.cli.conftest import Run
from tests.support import PROJECT, need_program

VECTORS = PROJECT / "fixtures" / "trust"


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_is_made_and_opens_with_its_password(run: Run, tmp_path: Path, kind: str) -> None:
    (tmp_path / "pw").write_text("secret word\n")
    said = run("key", "generate", "--type", kind, "signer", "--password-file", "pw")
    assert said == f"signer.key: the private key, {kind}\nsigner.pub: the public key, for others\n"
    assert stat.S_IMODE((tmp_path / "signer.key").stat().st_mode) == 0o600
    key = open_private((tmp_path / "signer.key").read_bytes(), "k", lambda: b"secret word")
    pub = (tmp_path / "signer.pub").read_bytes()
    assert PublicKey.parse(pub, "p").der == key.public.der
    assert run("key", "show", "signer.pub") == pub.decode()
    assert run("key", "show", "--password-file", "-", "signer.key", stdin=b"secret word") == pub.decode()
    shown = json.loads(run("key", "show", "--json", "signer.pub"))
    assert (shown["kind"], shown["hint"], shown["pem"]) == (kind, key.public.hint, pub.decode())


def test_a_plain_key_is_what_openssl_reads(run: Run, tmp_path: Path) -> None:
    run("key", "generate", "--plain", "--output-key-prefix", "plain")
    words = [need_program("openssl"), "pkey", "-in", "plain.key", "-pubout"]
    made = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True).stdout
    assert made == (tmp_path / "plain.pub").read_bytes()
    assert run("key", "show", "plain.key").encode() == made


def test_a_key_that_is_there_is_not_replaced(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    (tmp_path / "cosign.pub").write_text("another's")
    assert "cosign.pub is there already" in run("key", "generate", status=2)
    assert not (tmp_path / "cosign.key").exists()
    (tmp_path / "cosign.pub").unlink()
    (tmp_path / "cosign.key").symlink_to("nowhere")
    assert "cosign.key is there already" in run("key", "generate", status=2)
    assert not (tmp_path / "nowhere").exists()
    run("key", "generate", "--force")
    assert not (tmp_path / "cosign.key").is_symlink()
    first = (tmp_path / "cosign.pub").read_bytes()
    run("key", "generate", "--force")
    assert (tmp_path / "cosign.pub").read_bytes() != first


@pytest.mark.parametrize("way", ["--password-file=pw", "IMAGESMITH_KEY_PASSWORD", "COSIGN_PASSWORD"])
def test_a_password_comes_from_a_file_or_a_variable(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    (tmp_path / "pw").write_text("pw\n")
    key = str(VECTORS / "cosign.key")
    if way.startswith("--"):
        shown = run("key", "show", key, way)
    else:
        monkeypatch.setenv("COSIGN_PASSWORD", "wrong")
        monkeypatch.setenv(way, "pw")
        shown = run("key", "show", key)
    assert shown == (VECTORS / "cosign.pub").read_text()


def test_a_key_may_be_in_a_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIGN_PRIVATE_KEY", (VECTORS / "cosign.key").read_text())
    monkeypatch.setenv("COSIGN_PASSWORD", "pw")
    assert run("key", "show", "env://COSIGN_PRIVATE_KEY") == (VECTORS / "cosign.pub").read_text()
    assert "there is no variable NONE" in run("key", "show", "env://NONE", status=2)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["show", "awskms://alias/k"], 2, "keys of awskms are not known"),
        (["show", "none.pub"], 2, "cannot read none.pub: No such file"),
        (["show", "text"], 6, "text: not a public key that can be read"),
        (["show", str(VECTORS / "cosign.key")], 2, "there is no terminal to ask for the password"),
        (["show", str(VECTORS / "cosign.key"), "--password-file", "text"], 2, "the password does not open"),
        (["generate", "nowhere/k", "--plain"], 2, "cannot write nowhere/k.key"),
        (["generate", "--type", "dsa"], 2, "invalid choice: 'dsa'"),
        (["generate", "a", "--output-key-prefix", "b"], 2, "the prefix is given twice"),
        (["generate", "--plain", "--password-file", "text"], 2, "exclude each other"),
    ],
)
def test_what_cannot_be_done_is_told(
    run: Run, tmp_path: Path, words: list[str], status: int, says: str
) -> None:
    (tmp_path / "text").write_text("hello")
    assert says in run("key", *words, status=status)


def test_a_password_is_asked_for_twice_and_not_shown(tmp_path: Path) -> None:
    import pty

    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.environ["PYTHONPATH"] = str(PROJECT)
        os.execv(sys.executable, [sys.executable, "-m", "imagesmith", "key", "generate"])
    seen = b""
    for prompt in (b"Password for the new key: ", b"Again: "):
        while not seen.endswith(prompt):
            seen += os.read(fd, 100)
        os.write(fd, b"secret\n")
    while b"cosign.pub" not in seen:
        seen += os.read(fd, 100)
    assert os.waitpid(pid, 0)[1] == 0
    assert b"secret" not in seen
    open_private((tmp_path / "cosign.key").read_bytes(), "k", lambda: b"secret")
