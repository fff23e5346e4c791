"""RUN --mount=type=ssh: a socket of ours, behind which the user's agent lists its keys and signs.

Why a socket of our own: it can have the mode and the owner that the mount asks for, and a step gets no more
of the agent than it needs. Whoever speaks to an agent directly can also empty it, lock it, or add keys to it.
Spec: draft-ietf-sshm-ssh-agent. As in BuildKit, only two requests go through; every other one, extensions
too, is answered with a failure.
Trust: what a step sends is hostile, see credentials/sshagent.py. The agent is the user's own; its answers are
bounded alike.
Threads: see there.
"""

from __future__ import annotations

import socket
from pathlib import Path

from imagesmith.credentials.sshagent import (
    FAILED,
    REQUEST_IDENTITIES,
    SIGN_REQUEST,
    AgentServer,
    read_message,
)
from imagesmith.errors import SandboxError

__all__ = ["AgentSocket"]

_ALLOWED = frozenset((REQUEST_IDENTITIES, SIGN_REQUEST))


class AgentSocket(AgentServer):
    """A Unix socket at `path` that lets the agent at another list its keys and sign."""

    def __init__(self, path: Path, agent: str, mode: int, uid: int, gid: int) -> None:
        """Listen.

        Raises:
            SandboxError: the agent's socket is not there.
        """
        self._agent = agent
        try:
            self._connect().close()
            super().__init__(path, mode, uid, gid)
        except OSError as e:
            raise SandboxError(f"cannot reach the ssh agent at {agent}: {e.strerror}") from e

    def _connect(self) -> socket.socket:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            s.connect(self._agent)
        except OSError:
            s.close()
            raise
        return s

    def serve(self, client: socket.socket) -> None:
        """See AgentServer."""
        with self._connect() as agent, self.listed(agent):
            while request := read_message(client):
                if request[4] in _ALLOWED:
                    agent.sendall(request)
                    answer = read_message(agent)
                    if not answer:
                        return
                    client.sendall(answer)
                else:
                    client.sendall(FAILED)
