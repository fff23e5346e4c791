"""Agents of ssh at sockets of ours: how they listen, and one that has keys of files.

Spec: draft-ietf-sshm-ssh-agent: a message is its length (4 bytes, big endian), a type and the rest. The agent
with keys lists them and signs; whatever else is asked fails.
Trust: who connects is hostile, a step. A message is read whole before it is judged, nothing longer than
OpenSSH itself would take, and so many connections are served at a time.
Threads: one that accepts, and one for each connection; all end with `close`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from imagesmith.credentials.sshkeys import SshKey, packed

__all__ = ["FAILED", "REQUEST_IDENTITIES", "SIGN_REQUEST", "AgentServer", "KeyAgent", "read_message"]

REQUEST_IDENTITIES, SIGN_REQUEST = 11, 13
_FAILURE, _IDENTITIES, _SIGNED = 5, 12, 14
#: The whole message that says no.
FAILED = struct.pack(">IB", 1, _FAILURE)
#: OpenSSH's own limit of a message, in bytes.
_MOST_BYTES = 256 << 10
#: So many connections are served at a time; further ones wait.
_CONNECTIONS = 32


class AgentServer:
    """A Unix socket at which each connection is served by `serve`."""

    def __init__(self, path: Path, mode: int, uid: int, gid: int) -> None:
        """Listen.

        Raises:
            OSError: it cannot be.
        """
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._slots = threading.BoundedSemaphore(_CONNECTIONS)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        try:
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
        except OSError:
            self._listener.close()
            raise
        threading.Thread(target=self._accept, daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        """Answer one connection until either side ends it.

        Raises:
            OSError: it is gone.
        """
        raise NotImplementedError

    def _accept(self) -> None:
        while True:
            self._slots.acquire()
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                self._slots.release()
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, self.listed(client):
                self.serve(client)
        except OSError:  # the agent is gone, perhaps for a moment: the next client may fare better
            pass
        finally:
            self._slots.release()

    @contextlib.contextmanager
    def listed(self, *sockets: socket.socket) -> Iterator[None]:
        """Let `close` end these connections, too.

        Raises:
            ConnectionAbortedError: it has been closed.
        """
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


class KeyAgent(AgentServer):
    """An agent with some keys, for this user alone."""

    def __init__(self, path: Path, keys: Sequence[SshKey]) -> None:
        """Listen at a path; see AgentServer."""
        self._keys = {key.public: key for key in keys}
        super().__init__(path, 0o600, 0, 0)

    def serve(self, client: socket.socket) -> None:
        """See AgentServer."""
        while request := read_message(client):
            client.sendall(self._answer(request[4], request[5:]))

    def _answer(self, kind: int, rest: bytes) -> bytes:
        if kind == REQUEST_IDENTITIES:
            listed = b"".join(packed(k.public) + packed(k.name.encode()) for k in self._keys.values())
            return packed(struct.pack(">BI", _IDENTITIES, len(self._keys)) + listed)
        if kind == SIGN_REQUEST:
            with contextlib.suppress(ValueError):
                public, rest = _unpacked(rest)
                data, rest = _unpacked(rest)
                flags = int.from_bytes(rest[:4], "big")
                signature = self._keys[public].sign(data, flags) if public in self._keys else b""
                if signature:
                    return packed(bytes([_SIGNED]) + packed(signature))
        return FAILED


def _unpacked(data: bytes) -> tuple[bytes, bytes]:
    """A string at the beginning, and what comes behind it.

    Raises:
        ValueError: it is longer than what is there.
    """
    size = int.from_bytes(data[:4], "big")
    if len(data) < 4 + size:
        raise ValueError
    return data[4 : 4 + size], data[4 + size :]


def read_message(sock: socket.socket) -> bytes:
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
