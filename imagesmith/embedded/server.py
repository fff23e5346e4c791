"""The listening side: a thread for each connection, a limit of them, and a stop that lets requests end.

Why: threads, because the work is reading, hashing and writing, all outside the interpreter's lock.
Trust: where there are as many connections as may be, the one that has waited longest without a request makes
room for a new one; where all are at work, the new one is answered 503. TLS handshakes have the stall time.
Threads: the accept thread, and one for each connection; `_lock` guards the table of connections only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable

from imagesmith.embedded.heads import Refusal
from imagesmith.embedded.wire import Connection, Gone, Request, Response
from imagesmith.errors import RegistryError

__all__ = ["Server"]

_LOG = logging.getLogger(__name__)
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
)


class Server:
    """Serves `answer` on an address until it is stopped.

    Args:
        answer: makes the response to a request; faults of its own are answered 500.
        refuse: makes the response to a request that is no proper HTTP.
        idle_s: how long a connection may wait for its next request.
        stall_s: how long a request may stand still.
    """

    def __init__(
        self,
        host: str,
        port: int,
        answer: Callable[[Request], Response],
        refuse: Callable[[int, str], Response],
        *,
        tls: ssl.SSLContext | None = None,
        idle_s: float = 120.0,
        stall_s: float = 60.0,
        connections: int = 512,
    ) -> None:
        self._answer, self._refuse, self._tls = answer, refuse, tls
        self._idle_s, self._stall_s, self._limit = idle_s, stall_s, connections
        # Whether a request is being answered; what waits for one stands in the order of its waiting.
        self._open: dict[socket.socket, bool] = {}
        self._lock = threading.Lock()
        self._stopping = False
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.create_server((host, port), family=family, backlog=256)
        except OSError as e:
            raise RegistryError(f"cannot listen on {host}:{port}: {os.strerror(e.errno or 0).lower()}") from e
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="registry", daemon=True)

    def start(self) -> None:
        """Accept connections from now on."""
        self._thread.start()

    def stop(self, grace_s: float = 10.0) -> None:
        """Accept no more, let running requests end for at most `grace_s`, close what is left."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._listener.close()
        if self._thread.ident:
            self._thread.join()
        deadline = time.monotonic() + grace_s
        while True:
            late = time.monotonic() >= deadline
            with self._lock:
                left = dict(self._open)
            for sock, busy in left.items():
                if late or not busy:
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)
            if not left or late:
                return
            time.sleep(0.01)

    def _accept(self) -> None:
        while not self._stopping:
            try:
                sock, _ = self._listener.accept()
            except OSError as e:
                if self._stopping:
                    return
                _LOG.warning("cannot accept a connection: %s", e)
                time.sleep(0.1)  # no file descriptors left: others must end first
                continue
            with self._lock:
                room = len(self._open) < self._limit or self._make_room()
                if room:
                    self._open[sock] = False
            if not room:
                with contextlib.suppress(OSError), sock:
                    sock.settimeout(1)
                    sock.sendall(_BUSY)
                continue
            threading.Thread(target=self._serve, args=(sock,), name="registry-client", daemon=True).start()

    def _make_room(self) -> bool:
        """End the connection that has waited longest for a request; False where none waits."""
        idle = next((sock for sock, busy in self._open.items() if not busy), None)
        if idle is None:
            return False
        del self._open[idle]
        with contextlib.suppress(OSError):
            idle.shutdown(socket.SHUT_RDWR)  # its thread sees the end
        return True

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(self._stall_s)
            talk = self._tls.wrap_socket(sock, server_side=True) if self._tls else sock
            if talk is not sock:
                with self._lock:
                    if self._open.pop(sock, None) is None:  # it had to make room meanwhile
                        return
                    self._open[talk] = False
                sock = talk
            with talk:
                self._talk(talk)
        except (OSError, Gone) as e:
            _LOG.debug("connection ended: %s", e)
        finally:
            with self._lock:
                self._open.pop(sock, None)
            sock.close()

    def _talk(self, sock: socket.socket) -> None:
        connection = Connection(sock, idle_s=self._idle_s, stall_s=self._stall_s)
        keep = True
        while keep and not self._stopping:
            request = None
            try:
                request = connection.read_request()
                if request is None:
                    return
                self._mark(sock, busy=True)
                response = self._answer(request)
            except Refusal as e:
                response = self._refuse(e.status, e.message)
                response.close = True
            except Gone:
                raise
            except Exception:  # a mistake of ours must not end the server: 500, and the log says where
                _LOG.exception("cannot answer a request")
                response = self._refuse(500, "internal error")
                response.close = True
            if self._stopping:
                response.close = True
            if request:
                _LOG.debug("%s %s: %d", request.method, request.target, response.status)
            keep = connection.send(request, response)
            self._mark(sock, busy=False)

    def _mark(self, sock: socket.socket, *, busy: bool) -> None:
        with self._lock:
            if self._open.pop(sock, None) is None:
                raise Gone("the connection had to make room for another")
            self._open[sock] = busy
