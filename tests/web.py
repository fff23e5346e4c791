"""Files and git repositories over HTTP on loopback."""

from __future__ import annotations

import contextlib
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

_BY = {
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com", "GIT_AUTHOR_DATE": "1000000000 +0000",
    "GIT_COMMITTER_DATE": "1000000000 +0000", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip


class Web:
    """A server of bytes by path; `asked` is what was asked for, in order."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.moved: dict[str, str] = {}
        self.asked: list[str] = []

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"{self.address}/{path}"


@contextlib.contextmanager
def web() -> Iterator[Web]:
    """A running server."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].lstrip("/")
            here.asked.append(path)
            headers = here.headers.get(path, {})
            if path in here.moved:
                self._reply(302, {"Location": here.moved[path]}, b"")
            elif path not in here.files:
                self._reply(404, {}, b"no")
            elif headers.get("ETag") and headers["ETag"] == self.headers.get("If-None-Match"):
                self._reply(304, headers, b"")
            else:
                self._reply(200, headers, here.files[path])

        def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here = Web(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()


def git(folder: Path, *words: str, stdin: bytes = b"") -> str:
    """Run git in a folder, as an author whose commits have always the same ids."""
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        input=stdin,
        check=True,
        capture_output=True,
        env={**os.environ, **_BY},
    )
    return done.stdout.decode().strip()


def repository(folder: Path, files: dict[str, str]) -> str:
    """A repository of one commit on `main`, tagged `v1`; returns the commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "tag", "v1")
    return git(folder, "rev-parse", "HEAD")


def publish(here: Web, folder: Path, name: str) -> str:
    """Serve a repository as plain files, and return its address."""
    git(folder, "update-server-info")
    for path in (folder / ".git").rglob("*"):
        if path.is_file():
            here.files[f"{name}.git/{path.relative_to(folder / '.git')}"] = path.read_bytes()
    return here.url(f"{name}.git")
