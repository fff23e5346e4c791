"""The registry: a folder, an address and who may use it; as a context manager or as a process.

with Registry(folder) as registry:
    push(f"{registry.host}/app")
"""

from __future__ import annotations

import signal
import ssl
import sys
import threading
from pathlib import Path
from typing import Self

from imagesmith.embedded.api import Api
from imagesmith.embedded.auth import BasicGuard, BearerGuard, Guard
from imagesmith.embedded.passwords import Passwords
from imagesmith.embedded.server import Server
from imagesmith.embedded.storage import Storage
from imagesmith.embedded.uploads import Uploads
from imagesmith.embedded.upstream import Upstream
from imagesmith.errors import UsageError

__all__ = ["Registry", "serve"]


class Registry:
    """A registry that serves a folder from `start` to `stop`.

    Args:
        root: the folder; it is made where it is missing.
        host: the address to listen on.
        port: 0 takes a free one.
        tls: the files of a certificate and its key; without them it is plain HTTP.
        htpasswd: the file of the users who may come in; without it everybody may.
        bearer: ask for tokens, which are issued at `/token`, in place of Basic.
        anonymous: reading needs no user.
        token_s: how long a token is good for, in seconds.
        upstream: serve as a cache of this registry.

    Raises:
        RegistryError: the address cannot be listened on.
        StoreError: the folder cannot be used, or another process serves it.
        UsageError: the certificate or its key cannot be read.
    """

    def __init__(
        self,
        root: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: tuple[Path, Path] | None = None,
        htpasswd: Path | None = None,
        bearer: bool = False,
        anonymous: bool = False,
        token_s: int = 300,
        upstream: Upstream | None = None,
        idle_s: float = 120.0,
        stall_s: float = 60.0,
    ) -> None:
        context = _tls(*tls) if tls else None
        passwords = Passwords(htpasswd) if htpasswd else None
        scheme = "https" if tls else "http"
        guard = Guard()
        if bearer:
            guard = BearerGuard(passwords, anonymous=anonymous, token_s=token_s, scheme=scheme)
        elif passwords:
            guard = BasicGuard(passwords, anonymous=anonymous)
        self._guard = guard
        self.storage = Storage(root)
        self.uploads = Uploads(self.storage)
        api = Api(self.storage, self.uploads, guard, upstream)
        try:
            self._server = Server(
                host, port, api.answer, api.refuse, tls=context, idle_s=idle_s, stall_s=stall_s
            )
        except BaseException:
            self.storage.close()
            raise
        name = f"[{host}]" if ":" in host else host
        self.host = f"{name}:{self._server.port}"
        self.url = f"{scheme}://{self.host}"

    def start(self) -> None:
        """Serve from now on."""
        self._server.start()

    def stop(self, grace_s: float = 10.0) -> None:
        """Serve no more; running requests may end for `grace_s` seconds."""
        self._server.stop(grace_s)
        self.uploads.close()
        self.storage.close()

    def forget_tokens(self) -> None:
        """Make every token that was issued invalid, as if its time were over."""
        if isinstance(self._guard, BearerGuard):
            self._guard.signer.forget()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(grace_s=1.0)


def serve(registry: Registry) -> int:
    """Serve until SIGTERM or SIGINT; the address goes to standard output once it answers."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    registry.start()
    sys.stdout.write(f"listening on {registry.url}\n")
    sys.stdout.flush()
    stop.wait()
    registry.stop()
    return 0


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as e:  # ssl.SSLError is one
        raise UsageError(f"cannot use the certificate {certificate} with the key {key}: {e.strerror}") from e
    return context
