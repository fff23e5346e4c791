"""RUN --mount=type=ssh: a socket of ours, behind which the user's agent answers.

Why a socket of our own: it can have the mode and the owner that the mount asks for.
Threads: one that accepts, and two for each connection; all end with `close`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path

from imagesmith.errors import SandboxError

__all__ = ["AgentSocket"]


class AgentSocket:
    """A Unix socket at `path` that hands everything on to the agent's socket."""

    def __init__(self, path: Path, agent: str, mode: int, uid: int, gid: int) -> None:
        """Listen.

        Raises:
            SandboxError: the agent's socket is not there.
        """
        self._agent = agent
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connect().close()
            folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._listener.bind(f"/proc/self/fd/{folder}/{path.name}")  # an address holds 107 bytes only
            finally:
                os.close(folder)
            path.chmod(mode)
            if (uid, gid) != (0, 0):
                with contextlib.suppress(OSError):  # an id that this process does not have
                    os.chown(path, uid, gid)
            self._listener.listen()
        except OSError as e:
            self._listener.close()
            raise SandboxError(f"cannot reach the ssh agent at {agent}: {e.strerror}") from e
        threading.Thread(target=self._serve, daemon=True).start()

    def _connect(self) -> socket.socket:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            s.connect(self._agent)
        except OSError:
            s.close()
            raise
        return s

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                agent = self._connect()
            except OSError:  # gone, perhaps for a moment: the next client may fare better
                client.close()
                continue
            for a, b in ((client, agent), (agent, client)):
                threading.Thread(target=_pump, args=(a, b), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
