"""RUN --mount=type=ssh: a socket of ours, behind which the user's agent lists its keys and signs.

Why a socket of our own: it can have the mode and the owner that the mount asks for, and a step gets no more
of the agent than it needs. Whoever speaks to an agent directly can also empty it, lock it, or add keys to it.
Spec: draft-ietf-sshm-ssh-agent: a message is its length (4 bytes, big endian), a type and the rest. As in
BuildKit, only two requests go through; every other one, extensions too, is answered with a failure.
Trust: what a step sends is hostile. A message is read whole before it is judged, nothing longer than OpenSSH
itself would take, and so many connections wait at a time. The agent is the user's own; its answers are
bounded alike.
Threads: one that accepts, and one for each connection; all end with `close`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from imagesmith.errors import SandboxError

__all__ = ["AgentSocket"]

_FAILURE, _REQUEST_IDENTITIES, _SIGN_REQUEST = 5, 11, 13
_ALLOWED = frozenset((_REQUEST_IDENTITIES, _SIGN_REQUEST))
_REFUSED = struct.pack(">IB", 1, _FAILURE)
#: OpenSSH's own limit of a message, in bytes.
_MOST_BYTES = 256 << 10
#: So many connections are served at a time; further ones wait.
_CONNECTIONS = 32


class AgentSocket:
    """A Unix socket at `path` that lets the agent at another list its keys and sign."""

    def __init__(self, path: Path, agent: str, mode: int, uid: int, gid: int) -> None:
        """Listen.

        Raises:
            SandboxError: the agent's socket is not there.
        """
        self._agent = agent
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._slots = threading.BoundedSemaphore(_CONNECTIONS)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
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
            self._slots.acquire()
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                self._slots.release()
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        """Serve one connection until either side ends it."""
        try:
            with client, self._connect() as agent, self._listed(client, agent):
                while request := _message(client):
                    if request[4] in _ALLOWED:
                        agent.sendall(request)
                        answer = _message(agent)
                        if not answer:
                            return
                        client.sendall(answer)
                    else:
                        client.sendall(_REFUSED)
        except OSError:  # the agent is gone, perhaps for a moment: the next client may fare better
            pass
        finally:
            self._slots.release()

    @contextlib.contextmanager
    def _listed(self, *sockets: socket.socket) -> Iterator[None]:
        """Let `close` end these connections, too."""
        with self._lock:
            if self._closed:
                raise ConnectionAbortedError
            self._open.update(sockets)
        try:
            yield
        finally:
            with self._lock:
                self._open.difference_update(sockets)

    def close(self) -> None:
        """Stop listening, and end the connections that there are."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            self._closed = True
            for s in self._open:
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)


def _message(sock: socket.socket) -> bytes:
    """The next whole message, its length included; empty at the end, or where it is none that is taken."""
    data = b""
    wanted = 4
    while len(data) < wanted:
        more = sock.recv(min(wanted - len(data), 1 << 16))
        if not more:
            return b""
        data += more
        if wanted == 4 and len(data) == 4:
            size = int.from_bytes(data, "big")
            if not 0 < size <= _MOST_BYTES:
                return b""
            wanted += size
    return data
