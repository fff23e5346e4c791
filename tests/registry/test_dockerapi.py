"""A Docker daemon that is well, gone, hangs up, refuses or speaks something else; and which one is meant."""

from __future__ import annotations

import hashlib
import json
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from imagesmith.errors import ImagesmithError, NetworkFault, RegistryError, UsageError
from imagesmith.registry.dockerapi import Daemon, daemon_of

Answer = Callable[[BinaryIO, BinaryIO], None]


@contextmanager
def daemon(*answers: Answer) -> Iterator[Daemon]:
    """One on a socket of a short name, which gives each connection the next answer."""
    with tempfile.TemporaryDirectory(prefix="d", dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as s:
        s.bind(f"{folder}/s")
        s.listen()

        def serve() -> None:
            for answer in answers:
                connection, _ = s.accept()
                with connection, connection.makefile("rb") as requests, connection.makefile("wb") as out:
                    answer(requests, out)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Daemon(f"unix://{folder}/s")
        thread.join(5)
        assert not thread.is_alive()


def head(requests: BinaryIO) -> list[str]:
    """The lines of a request's head."""
    lines = []
    while (line := requests.readline().strip()) != b"":
        lines.append(line.decode())
    return lines


def body(requests: BinaryIO) -> bytes:
    """A body in chunks."""
    out = b""
    while size := int(requests.readline(), 16):
        out += requests.read(size)
        assert requests.readline() == b"\r\n"
    requests.readline()
    return out


def says(text: str, status: str = "200 OK") -> Answer:
    """Takes a whole request and answers."""

    def answer(requests: BinaryIO, out: BinaryIO) -> None:
        if head(requests)[0].startswith("POST"):
            body(requests)
        out.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())

    return answer


def send_nothing(daemon: Daemon) -> None:
    """An archive without a byte."""
    with daemon.loading():
        pass


def test_archive_is_sent_in_chunks_and_its_answer_read() -> None:
    got: list[object] = []

    def answer(requests: BinaryIO, out: BinaryIO) -> None:
        got.extend((head(requests), body(requests)))
        text = '{"stream":"Loaded image: x\\n"}\r\n'
        out.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())

    with daemon(answer) as found, found.loading() as stream:
        for piece in (b"some", b"", b"thing" * 1000):
            assert stream.write(piece) == len(piece)
        stream.flush()
    lines, data = got
    assert lines[0] == "POST /images/load?quiet=1 HTTP/1.1"  # type: ignore[index]
    assert "Content-Type: application/x-tar" in lines  # type: ignore[operator]
    assert data == b"some" + b"thing" * 1000


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (says('{"errorDetail":{"message":"no space\\n left"},"error":"no space\\n left"}'), "no space left$"),
        (says('{"stream":"x"}\n{"errorDetail":{"message":"bad layer"}}'), "bad layer$"),
        (says('{"message":"client is too old"}', "400 Bad Request"), "client is too old$"),
        (says("sorry", "500 Internal Server Error"), "status 500$"),
    ],
)
def test_refusal_is_told_in_one_line(answer: Answer, why: str) -> None:
    with (
        daemon(answer) as found,
        pytest.raises(RegistryError, match=f"refused the image: {why}"),
        found.loading() as s,
    ):
        s.write(b"x")


def test_daemon_that_hangs_up_is_asked_why() -> None:
    def answer(requests: BinaryIO, out: BinaryIO) -> None:
        head(requests)
        text = '{"message":"the disk is full"}'
        out.write(f"HTTP/1.1 500 E\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())

    with daemon(answer) as found, pytest.raises(ImagesmithError) as caught, found.loading() as stream:
        all(stream.write(bytes(1 << 16)) for _ in range(1000))
    assert isinstance(caught.value, RegistryError | NetworkFault)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n", "it speaks no"),
        (b"HTTP/1.1 503 E\r\nContent-Length: 0\r\n\r\n", "status 503"),
        (b"", "no Docker daemon answers"),
    ],
)
@pytest.mark.parametrize("ask", [Daemon.check, send_nothing], ids=["check", "load"])
def test_what_a_daemon_said_before_it_closed_is_told(
    said: bytes, why: str, ask: Callable[[Daemon], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, connect = threading.Event(), socket.socket.connect

    def connect_late(s: socket.socket, address: str) -> None:
        connect(s, address)
        assert closed.wait(5)

    def answer(_requests: BinaryIO, out: BinaryIO) -> None:
        out.write(said)
        out.flush()
        out.raw._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
        closed.set()

    monkeypatch.setattr(socket.socket, "connect", connect_late)
    with daemon(answer) as found, pytest.raises((NetworkFault, RegistryError), match=why):
        ask(found)


def test_what_is_no_daemon_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        NetworkFault, match=r"no Docker daemon answers at unix:///.*: no such file or directory"
    ):
        Daemon(f"unix://{tmp_path}/none").check()
    with (
        daemon(says("", "503 Service Unavailable")) as found,
        pytest.raises(NetworkFault, match="status 503"),
    ):
        found.check()
    with daemon(says("OK")) as found:
        found.check()
    for host in ("npipe:////./pipe/docker_engine", "tcp://host:port", "x"):
        with pytest.raises(UsageError, match="Docker host"):
            Daemon(host).check()


def context(folder: Path, name: str, endpoint: dict[str, object], *, tls: bool = False) -> None:
    hashed = hashlib.sha256(name.encode()).hexdigest()
    place = folder / "contexts/meta" / hashed
    place.mkdir(parents=True)
    (place / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": endpoint}}))
    if tls:
        (folder / "contexts/tls" / hashed / "docker").mkdir(parents=True)


def test_daemon_is_found_as_dockers_command_finds_it(tmp_path: Path) -> None:
    config = {"DOCKER_CONFIG": str(tmp_path)}
    usual = Daemon("unix:///var/run/docker.sock")
    assert daemon_of(env=config) == usual
    context(tmp_path, "far", {"Host": "tcp://far:2376", "SkipTLSVerify": True}, tls=True)
    context(tmp_path, "near", {"Host": "unix:///run/near.sock"})
    far = daemon_of("far", config)
    assert (far.host, far.verified, Path(far.certificates).name) == ("tcp://far:2376", False, "docker")
    (tmp_path / "config.json").write_text('{"currentContext":"near"}')
    assert daemon_of(env=config).host == "unix:///run/near.sock"
    assert daemon_of(env={**config, "DOCKER_CONTEXT": "far"}) == far
    assert daemon_of("default", config) == usual
    host = {**config, "DOCKER_CONTEXT": "far", "DOCKER_HOST": "tcp://here:1"}
    assert daemon_of(env=host) == Daemon("tcp://here:1", "", verified=False)
    assert daemon_of("near", host).host == "unix:///run/near.sock"
    tls = {**host, "DOCKER_TLS_VERIFY": "1"}
    assert daemon_of(env=tls) == Daemon("tcp://here:1", str(tmp_path), verified=True)
    with pytest.raises(UsageError, match="there is no Docker context nowhere"):
        daemon_of("nowhere", config)
    (tmp_path / "config.json").write_text("no JSON")
    assert daemon_of(env=config) == usual


def test_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(UsageError, match=rf"the certificates in {tmp_path} cannot be used"):
        Daemon("tcp://127.0.0.1:1", str(tmp_path)).check()
