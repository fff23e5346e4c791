"""Keys of ssh in files, and the agent that has them, before OpenSSH's own programs."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.credentials.sshagent import KeyAgent
from imagesmith.credentials.sshkeys import read_key
from imagesmith.errors import UsageError
from tests.support import need_program
from tests.worker.test_agent import ask, message, ssh_add

KINDS = {
    "ed25519": ("-t", "ed25519"), "rsa": ("-t", "rsa", "-b", "2048"),
    "ecdsa256": ("-t", "ecdsa", "-b", "256"),
    "ecdsa384": ("-t", "ecdsa", "-b", "384"), "ecdsa521": ("-t", "ecdsa", "-b", "521"),
    "pem": ("-t", "rsa", "-b", "2048", "-m", "PEM"), "pkcs8": ("-t", "ecdsa", "-b", "256", "-m", "PKCS8"),
}  # fmt: skip


def new_key(path: Path, *words: str, password: str = "") -> Path:
    """A key of OpenSSH's making."""
    keygen = need_program("ssh-keygen")
    subprocess.run([keygen, "-q", *words, "-N", password, "-f", path], check=True)
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each kind."""
    folder = tmp_path_factory.mktemp("keys")
    for name, words in KINDS.items():
        new_key(folder / name, *words)
    return folder


@pytest.fixture
def agent(keys: Path, tmp_path: Path) -> Iterator[Path]:
    """An agent that has them all."""
    server = KeyAgent(tmp_path / "a", [read_key(str(keys / name)) for name in KINDS])
    yield tmp_path / "a"
    server.close()


def test_all_are_listed(agent: Path, keys: Path) -> None:
    listed = ssh_add(agent, "-L").stdout.splitlines()
    assert [line.split()[2] for line in listed] == [*KINDS]
    for name, line in zip(KINDS, listed, strict=True):
        assert line.split()[:2] == (keys / f"{name}.pub").read_text().split()[:2]


@pytest.mark.parametrize("name", KINDS)
def test_what_it_signs_openssh_verifies(name: str, agent: Path, keys: Path, tmp_path: Path) -> None:
    keygen, public = need_program("ssh-keygen"), keys / f"{name}.pub"
    (tmp_path / "text").write_text("said\n")
    env = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
    sign = [keygen, "-q", "-Y", "sign", "-U", "-n", "test", "-f", public, tmp_path / "text"]
    subprocess.run(sign, env=env, check=True, capture_output=True)
    (tmp_path / "allowed").write_text(f"me {public.read_text()}")
    verify = [keygen, "-q", "-Y", "verify", "-f", tmp_path / "allowed", "-I", "me", "-n", "test"]
    subprocess.run([*verify, "-s", tmp_path / "text.sig"], input=b"said\n", check=True, capture_output=True)


def test_nothing_else_is_answered(agent: Path, keys: Path) -> None:
    refused = struct.pack(">IB", 1, 5)
    assert ssh_add(agent, "-D").returncode != 0
    assert ssh_add(agent, str(keys / "ed25519")).returncode != 0
    assert ask(agent, message(19)) == refused
    assert ask(agent, message(13, struct.pack(">I", 9) + b"x")) == refused
    assert ask(agent, message(13, struct.pack(">I1sI1sI", 1, b"x", 1, b"x", 0))) == refused
    rsa = read_key(str(keys / "rsa"))
    assert rsa.sign(b"x", 0) == b""  # with SHA-1
    assert len(ssh_add(agent, "-L").stdout.splitlines()) == len(KINDS)
    assert "PRIVATE" not in repr(rsa)


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"ssh-ed25519 AAAA x", 0o600, "a public key, where a private one is needed"),
        (b"ssh-ed25519 AAAA x", 0o644, "a public key, where a private one is needed"),
        (b"nonsense", 0o600, "it is no private key"), (b"", 0o600, "it is no private key"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n", 0o600,
         "that can be read"),
        (b"-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n", 0o600, "that can be read"),
        (b"x", 0o644, "others can read this key, its mode is 0644"),
        (bytes(200_000), 0o600, "too many for a key"),
    ],
)  # fmt: skip
def test_what_is_no_key(content: bytes, mode: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(UsageError, match=said):
        read_key(str(path))


def test_keys_that_are_not_taken(tmp_path: Path) -> None:
    locked = new_key(tmp_path / "locked", "-t", "ed25519", "-a", "1", password="secret")
    pem = new_key(tmp_path / "pem", "-t", "rsa", "-b", "2048", "-m", "PEM", password="secret")
    for path in (locked, pem):
        with pytest.raises(UsageError, match="under a password") as caught:
            read_key(str(path))
        assert "ssh-add" in caught.value.hint
    with pytest.raises(UsageError, match="is a directory"):
        read_key(str(tmp_path))
    with pytest.raises(UsageError, match="no such file"):
        read_key(str(tmp_path / "none"))
