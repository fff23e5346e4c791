"""--ssh with files of keys: an agent for as long as a build lasts."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from imagesmith.context.sshkeys import check_agents, with_agents
from imagesmith.errors import UsageError
from imagesmith.request import BuildRequest
from tests.credentials.test_sshkeys import new_key
from tests.worker.test_agent import ssh_add


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return new_key(tmp_path / "key", "-t", "ed25519")


def test_keys_get_an_agent_that_ends_with_the_build(key: Path, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other", "-t", "ecdsa")
    request = BuildRequest(ssh={"default": f"{key},{other}", "two": str(other)})
    with with_agents(request) as found:
        sockets = [Path(found.ssh[name]) for name in ("default", "two")]
        assert [len(ssh_add(s, "-L").stdout.splitlines()) for s in sockets] == [2, 1]
        assert {s.parent.stat().st_mode & 0o777 for s in sockets} == {0o700}
        assert "key" in ssh_add(sockets[0], "-l").stdout
    assert not sockets[0].parent.exists()
    assert request.ssh["two"] == str(other)


def test_a_socket_stays_as_it_is(tmp_path: Path) -> None:
    path = os.path.relpath(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(path)
    request = BuildRequest(ssh={"default": path})
    check_agents("default", path)
    with with_agents(request) as found:
        assert found is request


def test_what_cannot_be(key: Path, tmp_path: Path) -> None:
    path = os.path.relpath(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(path)
    for places, said in (
        (f"{key},{path}", "--ssh x: either the socket of one agent, or files of keys"),
        (f"{key},{key}.not", "--ssh x: failed to stat"),
        (f"{key}.pub", "--ssh x: .*: others can read this key|--ssh x: .*: it is a public key"),
    ):
        with pytest.raises(UsageError, match=said):
            check_agents("x", places)
    check_agents("x", str(key))
