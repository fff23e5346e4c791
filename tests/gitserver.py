"""A git server over HTTP on loopback: git's http-backend, which may ask for a login and tells what it saw."""

from __future__ import annotations

import contextlib
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.support import need_program


class GitServer:
    """Serves the repositories below `root`, as `NAME/.git` or `NAME.git`; `address` ends in a slash.

    header  the Authorization header that is asked for, or empty
    moved   where a path is to be found instead
    asked   path and Authorization header of every request
    old     speak the first protocol only, in which a commit that no ref names cannot be asked for
    """

    def __init__(self, root: Path, address: str) -> None:
        self.root, self.address = root, address
        self.header = ""
        self.moved: dict[str, str] = {}
        self.old = False
        self.asked: list[tuple[str, str]] = []

    def url(self, name: str) -> str:
        """The address of the repository in the folder `name`."""
        return f"{self.address}{name}/.git"


@contextlib.contextmanager
def git_server(root: Path) -> Iterator[GitServer]:
    """A running server."""
    need_program("git")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            where, _, query = self.path.partition("?")
            here.asked.append((where, self.headers.get("Authorization", "")))
            for path, target in here.moved.items():
                if where.startswith(path):
                    new = f"{target}{where.removeprefix(path)}?{query}"
                    self._reply(301, {"Location": new}, b"")
                    return
            if here.header and self.headers.get("Authorization") != here.header:
                self._reply(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"")
                return
            env = {
                **os.environ,
                "GIT_PROJECT_ROOT": str(here.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_GLOBAL": "/dev/null",
                "GIT_CONFIG_NOSYSTEM": "1",
                "PATH_INFO": where,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(data)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": "" if here.old else self.headers.get("Git-Protocol", ""),
            }
            done = subprocess.run(
                ["git", "http-backend"], input=data, capture_output=True, env=env, check=False
            )
            head, _, body = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
            self._reply(int(headers.pop("Status", "200").split()[0]), headers, body)

        do_POST = do_GET

        def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here = GitServer(root, f"http://127.0.0.1:{server.server_address[1]}/")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
