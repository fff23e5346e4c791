"""The socket that stands before the user's ssh agent, in front of a real ssh-agent."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.worker.agent import AgentSocket
from tests.support import need_program

_FAILURE, _IDENTITIES, _SIGN = 5, 11, 13


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """An ssh-agent with one key."""
    program, path = need_program("ssh-agent"), tmp_path / "agent"
    subprocess.run(
        [need_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True
    )
    process = subprocess.Popen([program, "-D", "-a", str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it says its address when it listens
    ssh_add(path, str(tmp_path / "key"))
    yield path
    process.terminate()
    process.wait()


@pytest.fixture
def ours(agent: Path, tmp_path: Path) -> Iterator[Path]:
    """Our socket before the agent."""
    path = tmp_path / ("long" * 30) / "s"
    path.parent.mkdir()
    here = AgentSocket(path, str(agent), 0o600, 0, 0)
    (tmp_path / "s").symlink_to(path)
    yield tmp_path / "s"
    here.close()


def new_key(path: Path) -> None:
    """Make a key without a password."""
    words = ["-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run([need_program("ssh-keygen"), *words], check=True)


def ssh_add(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Speak to an agent as people do."""
    env = {**os.environ, "SSH_AUTH_SOCK": str(path)}
    return subprocess.run(
        [need_program("ssh-add"), *words], env=env, capture_output=True, text=True, input="pass\n"
    )


def ask(path: Path, data: bytes) -> bytes:
    """What is answered to some bytes, until the connection ends."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(str(path))
        answer = b""
        with contextlib.suppress(ConnectionError):  # it was ended before all of it was read
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while more := s.recv(1 << 16):
                answer += more
        return answer


def message(kind: int, rest: bytes = b"") -> bytes:
    """A message of the protocol."""
    return struct.pack(">IB", 1 + len(rest), kind) + rest


def test_keys_are_listed_and_used(ours: Path, tmp_path: Path) -> None:
    assert "ED25519" in ssh_add(ours, "-l").stdout
    (tmp_path / "text").write_text("text")
    signed = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", tmp_path / "key.pub", tmp_path / "text"],
        env={**os.environ, "SSH_AUTH_SOCK": str(ours)}, capture_output=True, text=True,
    )  # fmt: skip
    assert signed.returncode == 0, signed.stderr


@pytest.mark.parametrize("words", ["-D", "-x", "-X", "-d key.pub", "-e lib.so", "other"])
def test_nothing_else_reaches_the_agent(words: str, ours: Path, agent: Path, tmp_path: Path) -> None:
    new_key(tmp_path / "other")
    before = ssh_add(agent, "-L").stdout
    refused = subprocess.run(
        ["ssh-add", *words.split()], cwd=tmp_path, input="pass\npass\n", capture_output=True, text=True,
        env={**os.environ, "SSH_AUTH_SOCK": str(ours), "SSH_ASKPASS_REQUIRE": "never"},
        start_new_session=True,
    )  # fmt: skip
    assert refused.returncode != 0
    assert ssh_add(agent, "-L").stdout == before != ""


def test_every_kind_of_message_but_two_is_refused(ours: Path, agent: Path) -> None:
    before = ssh_add(agent, "-L").stdout
    for kind in set(range(256)) - {_IDENTITIES, _SIGN}:
        assert ask(ours, message(kind, b"session-bind@openssh.com")) == message(_FAILURE)
    assert ssh_add(agent, "-L").stdout == before != ""


def test_what_is_no_message_ends_its_connection_only(ours: Path) -> None:
    rng = random.Random(1)
    for data in (
        b"",
        b"\0",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff\x0b",
        struct.pack(">I", (256 << 10) + 1) + b"\x0b",
    ):
        assert ask(ours, data) == b""
    for _ in range(50):
        ask(ours, rng.randbytes(rng.randrange(1, 300)))
    assert "ED25519" in ssh_add(ours, "-l").stdout


def test_connections_that_say_nothing_end_with_the_step(agent: Path, tmp_path: Path) -> None:
    here = AgentSocket(tmp_path / "s", str(agent), 0o600, 0, 0)
    idle = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for s in idle:
        s.connect(str(tmp_path / "s"))
        s.settimeout(20)
        s.sendall(message(_FAILURE))
        assert s.recv(100) == message(_FAILURE)
    here.close()
    for s in idle:
        assert s.recv(100) == b""
        s.close()
    with socket.socket(socket.AF_UNIX) as s, pytest.raises(ConnectionRefusedError):
        s.connect(str(tmp_path / "s"))


def test_an_agent_that_was_away_is_asked_again(ours: Path, agent: Path, tmp_path: Path) -> None:
    agent.rename(tmp_path / "away")
    assert ask(ours, message(_IDENTITIES)) == b""
    (tmp_path / "away").rename(agent)
    assert "ED25519" in ssh_add(ours, "-l").stdout
