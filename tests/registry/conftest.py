"""Registries as processes of their own: the embedded one, and Debian's docker-registry in three moods."""

from __future__ import annotations

import http.client
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from imagesmith.oci.names import ImageRef
from imagesmith.registry.endpoint import Endpoint
from imagesmith.registry.hosts import Hosts
from imagesmith.store.store import Store
from tests.registry.faultproxy import FaultProxy
from tests.support import IMAGESMITH, need_program

USER, PASSWORD = "smith", "a password: with a colon"


@dataclass(frozen=True)
class Served:
    """A registry that runs: where it is, and the files that it was started with."""

    host: str
    folder: Path
    pid: int
    ca: Path | None = None  # its self-signed certificate, to be trusted

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])


@contextmanager
def serve_embedded(folder: Path, *flags: str) -> Iterator[Served]:
    """The embedded registry on a free port, until the block ends."""
    command = [*IMAGESMITH, "registry", "serve", "--dir", str(folder), "--addr", "127.0.0.1:0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line.startswith("listening on "), line
            yield Served(line.strip().rpartition("//")[2], folder, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@contextmanager
def serve_docker(folder: Path, *, htpasswd: Path | None = None, tls: Path | None = None) -> Iterator[Served]:
    """Debian's docker-registry on a free port, with deletions allowed, until the block ends."""
    program = need_program("docker-registry")
    port = free_port()
    lines = [
        "version: 0.1",
        "log: {level: error, accesslog: {disabled: true}}",
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}, delete: {{enabled: true}}}}",
        f"http: {{addr: '127.0.0.1:{port}', secret: x"
        + (f", tls: {{certificate: {tls / 'cert.pem'}, key: {tls / 'key.pem'}}}" if tls else "")
        + "}",
    ]
    if htpasswd:
        lines.append(f"auth: {{htpasswd: {{realm: tests, path: {htpasswd}}}}}")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yml"
    config.write_text("\n".join(lines) + "\n")
    with (
        open(folder / "log", "wb") as log,
        subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log) as process,
    ):
        try:
            ca = tls / "cert.pem" if tls else None
            _await(process, port, ca)
            yield Served(f"127.0.0.1:{port}", folder, process.pid, ca)
        finally:
            process.kill()
            process.wait(30)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def make_htpasswd(path: Path) -> Path:
    """A htpasswd file with USER and PASSWORD, in bcrypt."""
    program = need_program("htpasswd")
    command = [program, "-niB", "-C", "4", USER]
    done = subprocess.run(command, input=PASSWORD, capture_output=True, text=True, check=True)
    path.write_text(done.stdout.strip() + "\n")
    return path


def make_certificate(folder: Path) -> Path:
    """A folder with cert.pem and key.pem for 127.0.0.1 and localhost."""
    program = need_program("openssl")
    folder.mkdir(parents=True, exist_ok=True)
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += [
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1,DNS:localhost",
    ]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, capture_output=True, check=True)
    return folder


def _await(process: subprocess.Popen[bytes], port: int, ca: Path | None) -> None:
    """Return once the registry answers."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        connection: http.client.HTTPConnection
        if ca:
            context = ssl.create_default_context(cafile=str(ca))
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/v2/")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    pytest.fail(f"docker-registry does not answer on port {port}")


@pytest.fixture(scope="session")
def registry_htpasswd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A htpasswd file with USER and PASSWORD."""
    return make_htpasswd(tmp_path_factory.mktemp("htpasswd") / "htpasswd")


@pytest.fixture(scope="session")
def registry_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem and key.pem for 127.0.0.1."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def embedded_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`imagesmith registry serve` without accounts, for the tests of one module."""
    with serve_embedded(tmp_path_factory.mktemp("embedded")) as served:
        yield served


@pytest.fixture(scope="module")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """docker-registry without accounts, for the tests of one module."""
    with serve_docker(tmp_path_factory.mktemp("docker")) as served:
        yield served


@pytest.fixture(scope="module")
def docker_registry_htpasswd(
    tmp_path_factory: pytest.TempPathFactory, registry_htpasswd: Path
) -> Iterator[Served]:
    """docker-registry that wants USER and PASSWORD."""
    with serve_docker(tmp_path_factory.mktemp("docker"), htpasswd=registry_htpasswd) as served:
        yield served


@pytest.fixture(scope="module")
def docker_registry_tls(
    tmp_path_factory: pytest.TempPathFactory, registry_certificate: Path
) -> Iterator[Served]:
    """docker-registry that speaks TLS, under the certificate `served.ca`."""
    with serve_docker(tmp_path_factory.mktemp("docker"), tls=registry_certificate) as served:
        yield served


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[FaultProxy]:
    """A registry in this process, behind a proxy that breaks what it is told to."""
    with Registry(tmp_path / "registry") as registry, FaultProxy(registry.host) as proxy:
        yield proxy


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "other") as store:
        yield store


@pytest.fixture(params=["embedded_registry", "docker_registry"])
def registry(request: pytest.FixtureRequest) -> Served:
    served: Served = request.getfixturevalue(request.param)
    return served


def name(registry: Served, tmp_path: Path, tag: str = "1") -> ImageRef:
    """A name that no other test uses."""
    return ImageRef.parse(f"{registry.host}/{tmp_path.name.lower().replace('_', '-').strip('-')}/app:{tag}")


def hosts(tmp_path: Path, conf: str = "", toml: dict[str, str] | None = None, **more: bool) -> Hosts:
    file = tmp_path / "registries.conf"
    file.write_text(conf)
    for name, text in (toml or {}).items():
        (tmp_path / "hosts" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "hosts" / name / "hosts.toml").write_text(text)
    return Hosts({}, tmp_path, registries_conf=str(file), hosts_dir=str(tmp_path / "hosts"), **more)


def places(endpoints: list[Endpoint]) -> list[str]:
    return [e.host for e in endpoints]
