"""A server that answers as a test says, and remembers what it was asked: for what no real registry does."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

__all__ = ["Answers", "Asked", "Scripted"]


@dataclass(frozen=True)
class Asked:
    """A request: its target with the query, its headers in lower case, its body."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


#: Status, headers and body of an answer.
Answers = Callable[[Asked], tuple[int, Mapping[str, str], bytes]]


@dataclass
class Scripted:
    """Serves while it is a `with`."""

    answers: Answers
    root: Answers = lambda _: (200, {}, b"{}")  # what /v2/ answers
    asked: list[Asked] = field(default_factory=list)
    tls: ssl.SSLContext | None = None

    def __enter__(self) -> Self:
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self._body()
                asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                if asked.target != "/v2/":  # the client's look at the scheme
                    script.asked.append(asked)
                status, headers, data = (script.root if asked.target == "/v2/" else script.answers)(asked)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if self.tls:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def targets(self, method: str = "") -> list[str]:
        """The targets of the requests, of one method if it is given."""
        return [a.target for a in self.asked if method in ("", a.method)]
