"""A Docker daemon's API, as much as it takes to give it an image: is it there, and POST /images/load.

Why: an image that was built here goes into the daemon as a stream, without a file on the disk and without
Docker's own command. The daemon is found as that command finds it: a context that is named, else DOCKER_HOST,
else DOCKER_CONTEXT, else the context of config.json, else the usual socket.
Spec: Docker Engine API 1.41, /_ping and /images/load; docker/cli, cli/context/store (contexts/meta/SHA256 of
the name/meta.json, certificates in contexts/tls) and DOCKER_TLS_VERIFY, DOCKER_CERT_PATH.
Trust: the daemon is one that the user chose, and may do anything with the image; what it answers is bounded.
Threads: a connection belongs to one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.errors import InvalidDocument, NetworkFault, RegistryError, UsageError, reason_of
from imagesmith.oci.codec import Object, parse_object
from imagesmith.settings import home_folder
from imagesmith.values import frozen

if TYPE_CHECKING:
    import http.client

__all__ = ["Daemon", "LoadStream", "daemon_of"]

_USUAL = "unix:///var/run/docker.sock"
_MOST_META_BYTES, _MOST_ANSWER_BYTES = 1 << 20, 4 << 20
#: How long (seconds) it may take to answer at all; loading takes as long as it takes.
_PATIENCE_S = 10.0
#: What sending fails with when the other side has closed; what it said before that tells more, and is read.
_HUNG_UP = (BrokenPipeError, ConnectionResetError)


@frozen
class Daemon:
    """Where a daemon listens, as a URL, and the folder of the certificates for it."""

    host: str
    certificates: str = ""
    verified: bool = True

    def check(self) -> None:
        """Ask it whether it is there.

        Raises:
            NetworkFault: nobody answers.
            UsageError: its address, or a certificate, cannot be used.
        """
        with self._connected() as connection:
            with contextlib.suppress(*_HUNG_UP):
                connection.request("GET", "/_ping", headers={"Host": "docker"})
            answer = connection.getresponse()
            answer.read(100)
            if answer.status != 200:
                raise NetworkFault(f"the Docker daemon at {self.host} answers with status {answer.status}")

    @contextlib.contextmanager
    def loading(self) -> Iterator[LoadStream]:
        """A stream that takes an archive; the daemon has the image at the end of the `with`.

        Raises:
            NetworkFault: nobody answers, or the connection broke.
            RegistryError: the daemon refused it.
        """
        with self._connected() as connection:
            stream = LoadStream(connection, self.host)
            connection.timeout = None
            connection.putrequest("POST", "/images/load?quiet=1", skip_host=True)
            headers = {"Host": "docker", "Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"}
            for key, value in headers.items():
                connection.putheader(key, value)
            with contextlib.suppress(*_HUNG_UP):
                connection.endheaders()
            connection.sock.settimeout(None)
            yield stream
            stream.finish()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[http.client.HTTPConnection]:
        import http.client

        connection = self._connection()
        try:
            connection.connect()
            yield connection
        except (OSError, http.client.HTTPException) as e:
            reason = reason_of(e) if isinstance(e, OSError) else f"it speaks no HTTP: {e}"
            raise NetworkFault(f"no Docker daemon answers at {self.host}: {reason}") from e
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        import http.client

        parts = _split(self.host)
        if parts.scheme == "unix":
            path = parts.path

            class Local(http.client.HTTPConnection):
                """One through a socket of this machine."""

                def connect(self) -> None:
                    self.sock = socket.socket(socket.AF_UNIX)
                    self.sock.settimeout(_PATIENCE_S)
                    self.sock.connect(path)

            return Local("docker")
        if self.certificates or parts.scheme == "https":
            context = self._context()
            port = parts.port or 2376
            return http.client.HTTPSConnection(
                parts.hostname or "", port, timeout=_PATIENCE_S, context=context
            )
        return http.client.HTTPConnection(parts.hostname or "", parts.port or 2375, timeout=_PATIENCE_S)

    def _context(self) -> ssl.SSLContext:
        folder = Path(self.certificates)
        authority, certificate, key = (folder / f"{name}.pem" for name in ("ca", "cert", "key"))
        try:
            context = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
            if certificate.exists():
                context.load_cert_chain(certificate, key)
        except OSError as e:
            raise UsageError(f"the certificates in {folder} cannot be used: {reason_of(e)}") from e
        if not self.verified:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


class LoadStream:
    """Takes the bytes of an archive."""

    def __init__(self, connection: http.client.HTTPConnection, host: str) -> None:
        self._connection, self._host = connection, host

    def write(self, data: bytes, /) -> int:
        """Send bytes; a daemon that hung up is asked why."""
        if data:
            self._send(b"%x\r\n%b\r\n" % (len(data), data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def finish(self) -> None:
        """End the archive, and read what became of it.

        Raises:
            RegistryError: the daemon refused it.
        """
        self._send(b"0\r\n\r\n")
        self._answered()

    def _send(self, data: bytes) -> None:
        try:
            self._connection.send(data)
        except _HUNG_UP:
            self._answered()
            raise

    def _answered(self) -> None:
        answer = self._connection.getresponse()
        text = answer.read(_MOST_ANSWER_BYTES)
        for line in [*text.splitlines(), b""]:
            said = _message(line)
            if said or (answer.status >= 300 and not line):
                why = said or f"status {answer.status}"
                raise RegistryError(f"the Docker daemon at {self._host} refused the image: {why}")


def _message(line: bytes) -> str:
    """The error in a line of an answer; empty if there is none."""
    if not line.strip():
        return ""
    try:
        answer = parse_object(line, "answer")
    except InvalidDocument:
        return ""
    detail = answer.obj("errorDetail")
    found = answer.text("error") or (detail.text("message") if detail else "") or answer.text("message")
    return " ".join(found.split())[:500]


def _split(host: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(host)
        _ = parts.port
    except ValueError as e:
        raise UsageError(f"the Docker host {host} is no address: {e}") from e
    if parts.scheme not in ("unix", "tcp", "http", "https"):
        raise UsageError(
            f"the Docker host {host} cannot be used",
            hint="unix:///PATH and tcp://HOST:PORT can, and ssh:// with Docker's own command",
        )
    return parts


def daemon_of(context: str = "", env: Mapping[str, str] = os.environ) -> Daemon:
    """The daemon of a context, or the one that Docker's command would use.

    Args:
        context: its name; empty for the usual way.
        env: variables that say which it is.

    Raises:
        UsageError: there is no such context.
    """
    folder = _folder(env)
    if not context and env.get("DOCKER_HOST"):
        tls = bool(env.get("DOCKER_TLS_VERIFY")) or bool(env.get("DOCKER_TLS"))
        certificates = (env.get("DOCKER_CERT_PATH") or str(folder or "")) if tls else ""
        return Daemon(env["DOCKER_HOST"], certificates, bool(env.get("DOCKER_TLS_VERIFY")))
    name = context or env.get("DOCKER_CONTEXT", "") or _current(folder)
    if name in ("", "default"):
        return Daemon(_USUAL)
    hashed = hashlib.sha256(name.encode()).hexdigest()
    meta = _read(folder / "contexts/meta" / hashed / "meta.json") if folder is not None else None
    endpoint = None
    if meta is not None and (endpoints := meta.obj("Endpoints")) is not None:
        endpoint = endpoints.obj("docker")
    if folder is None or endpoint is None or not endpoint.text("Host"):
        raise UsageError(f"there is no Docker context {name}", hint="`docker context ls` lists them")
    tls_folder = folder / "contexts/tls" / hashed / "docker"
    verified = endpoint.data.get("SkipTLSVerify") is not True
    return Daemon(endpoint.text("Host"), str(tls_folder) if tls_folder.is_dir() else "", verified)


def _folder(env: Mapping[str, str]) -> Path | None:
    if env.get("DOCKER_CONFIG"):
        return Path(env["DOCKER_CONFIG"])
    home = home_folder()
    return home / ".docker" if home is not None else None


def _current(folder: Path | None) -> str:
    """The context that config.json says is used; a broken file is as none here, as it is told elsewhere."""
    found = _read(folder / "config.json") if folder is not None else None
    return found.text("currentContext") if found is not None else ""


def _read(path: Path) -> Object | None:
    try:
        with path.open("rb") as f:
            return parse_object(f.read(_MOST_META_BYTES), str(path))
    except (OSError, InvalidDocument):
        return None
