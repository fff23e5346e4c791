"""Requests that are not proper, too large, too slow or broken off, written byte by byte."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from tests.embedded.conftest import Client, digest_of
from tests.registry.conftest import make_certificate


class Raw:
    """A socket to the registry."""

    def __init__(self, registry: Registry) -> None:
        host, _, port = registry.host.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), timeout=20)

    def send(self, *lines: str, body: bytes = b"") -> Raw:
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return self

    def rest(self) -> bytes:
        out = b""
        while piece := self.sock.recv(65536):
            out += piece
        return out

    def status(self) -> int:
        """The first answer's status; the connection must end after it."""
        return int(self.rest().split(b" ", 2)[1])


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "r", idle_s=0.2, stall_s=0.2) as registry:
        yield registry


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["GET /v2/"], 400),
        (["GET /v2/ HTTP/2.0"], 400),
        (["G(T /v2/ HTTP/1.1", "Host: x"], 400),
        (["GET v2 HTTP/1.1", "Host: x"], 400),
        (["GET /v2/ HTTP/1.1"], 400),
        (["GET /v2/ HTTP/1.1", "Host: x", "no colon"], 400),
        (["GET /v2/ HTTP/1.1", "Host: x", " folded: x"], 400),
        (["GET /v2/ HTTP/1.1", "Host: x", "Host: y"], 400),
        (["GET /v2/" + "a" * 20000 + " HTTP/1.1", "Host: x"], 414),
        (["GET /v2/ HTTP/1.1", "Host: x", "X: " + "a" * 70000], 431),
        (["GET /v2/ HTTP/1.1", "Host: x", *(f"X{n}: y" for n in range(300))], 431),
        (["PUT /v2/a HTTP/1.1", "Host: x", "Content-Length: -1"], 400),
        (["PUT /v2/a HTTP/1.1", "Host: x", "Content-Length: 1", "Content-Length: 2"], 400),
        (["PUT /v2/a HTTP/1.1", "Host: x", "Content-Length: 1", "Transfer-Encoding: chunked"], 400),
        (["PUT /v2/a HTTP/1.1", "Host: x", "Transfer-Encoding: gzip, chunked"], 400),
        (["GET /v2/?" + "a&" * 200 + " HTTP/1.1", "Host: x"], 400),
        (["GET /v2/ HTTP/1.1", "Host: x\nX: y"], 400),
        (["GET /v2/ HTTP/1.1", "Host: x\rX: y"], 400),
        (["GET /v2/ HTTP/1.1", "Host: x", "X: a\0b"], 400),
        (["GET /v2/\0 HTTP/1.1", "Host: x"], 400),
        (["GET /v2/\x7f HTTP/1.1", "Host: x"], 400),
        (["GET /v2/ HTTP/1.1\nX: y", "Host: x"], 400),
    ],
)
def test_what_is_no_request_is_refused(registry: Registry, lines: list[str], status: int) -> None:
    assert Raw(registry).send(*lines).status() == status


def test_greeting_of_tls_is_refused_at_once(registry: Registry) -> None:
    raw = Raw(registry)
    raw.sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500)
    assert raw.status() == 400


def test_slow_head_times_out(hasty: Registry) -> None:
    raw = Raw(hasty)
    raw.sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost:")
    assert raw.status() == 408


def test_idle_connection_is_closed_without_a_word(hasty: Registry) -> None:
    assert Raw(hasty).rest() == b""


def test_stalled_upload_ends_and_its_bytes_stay(hasty: Registry) -> None:
    location = Client(hasty.host).begin("a")
    raw = Raw(hasty).send(f"PATCH {location} HTTP/1.1", "Host: x", "Content-Length: 100", body=b"x" * 40)
    assert raw.rest() == b""
    assert Client(hasty.host)("GET", location).headers["range"] == "0-39"


def test_broken_upload_is_resumed(registry: Registry) -> None:
    data = b"0123456789" * 20_000
    location = Client(registry.host).begin("a")
    raw = Raw(registry).send(
        f"PATCH {location} HTTP/1.1", "Host: x", f"Content-Length: {len(data)}", body=data[:120_000]
    )
    raw.sock.shutdown(socket.SHUT_WR)
    assert raw.rest() == b""
    client = Client(registry.host)
    have = int(client("GET", location).headers["range"].partition("-")[2]) + 1
    assert have == 120_000
    reply = client("PUT", f"{location}?digest={digest_of(data)}", data[have:])
    assert reply.status == 201
    assert client("GET", reply.headers["location"]).body == data


def test_client_that_comes_back_takes_the_session_from_its_dead_connection(registry: Registry) -> None:
    registry.uploads._busy_s = 0.05
    location = Client(registry.host).begin("a")
    dead = Raw(registry).send(f"PATCH {location} HTTP/1.1", "Host: x", "Content-Length: 9", body=b"1234")
    client = Client(registry.host)
    while not any(u.feeder for u in registry.uploads._table.values()):
        pass
    assert client("GET", location).headers["range"] == "0-3"
    assert client("PUT", f"{location}?digest={digest_of(b'123456789')}", b"56789").status == 201
    assert dead.rest() == b""


def test_continue_is_said_before_the_body(registry: Registry) -> None:
    digest = f"sha256:{hashlib.sha256(b'hello').hexdigest()}"
    path = f"/v2/a/blobs/uploads/?digest={digest}"
    raw = Raw(registry).send(
        f"POST {path} HTTP/1.1", "Host: x", "Content-Length: 5", "Expect: 100-continue", "Connection: close"
    )
    assert raw.sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.sock.sendall(b"hello")
    assert raw.status() == 201


def test_refusal_comes_instead_of_continue(registry: Registry) -> None:
    raw = Raw(registry).send(
        "PUT /v2/UPPER/manifests/x HTTP/1.1", "Host: x", "Content-Length: 500000000", "Expect: 100-continue"
    )
    assert raw.status() == 400


def test_refusal_reaches_a_client_that_is_still_sending(registry: Registry) -> None:
    client = Client(registry.host)
    reply = client("PUT", "/v2/a/blobs/uploads/nosuch", b"x" * (8 << 20))
    assert (reply.status, reply.headers["connection"]) == (404, "close")


@pytest.mark.parametrize(
    "bad",
    [
        b"zz\r\n",
        b"-1\r\nx\r\n",
        b"1" * 2000 + b"\r\n",
        b"fffffffffffffffff\r\n",
        b"1\nx\r\n0\r\n\r\n",
        b"1;a\rb\r\nx\r\n0\r\n\r\n",
        b"1\r\nxy0\r\n\r\n",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nxy\r\n0\r\n\r\n",
        b"1\r\nx\r\n0\n\n",
    ],
)
def test_chunks_that_are_none_are_refused(registry: Registry, bad: bytes) -> None:
    location = Client(registry.host).begin("a")
    raw = Raw(registry).send(f"PATCH {location} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", body=bad)
    assert raw.status() == 400


def test_body_that_nobody_reads_may_be_nonsense(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    raw = Raw(registry).send("GET /v2/ HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", body=b"zz\r\n")
    assert raw.status() == 200
    assert [r for r in caplog.records if r.levelno > logging.DEBUG] == []


def test_requests_in_a_row_on_one_connection(registry: Registry) -> None:
    raw = Raw(registry)
    raw.send(
        "GET /v2/ HTTP/1.1", "Host: x", body=b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert raw.rest().count(b"HTTP/1.1 200 OK") == 2


def test_http_1_0_is_answered_and_closed(registry: Registry) -> None:
    assert Raw(registry).send("GET /v2/ HTTP/1.0").status() == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../../etc/passwd",
        "/v2/a/../b/tags/list",
        "/v2/%2e%2e/%2e%2e/tags/list",
        "/v2/..%2f..%2fetc/manifests/passwd",
        "/v2/a/manifests/..%2f..%2fx",
        "/v2/a/manifests/.hidden",
        "/v2/a/manifests/sha256:..%2f..%2fx",
        "/v2/a/blobs/sha256:..",
        "/v2/a/blobs/uploads/..",
        "/v2/a/blobs/uploads/%2e%2e%2flock",
        "/v2/_blobs/tags/list",
        "/v2/a/_tags/tags/list",
        "/v2/a%00b/tags/list",
        "/v2/" + "a" * 300 + "/tags/list",
        "/v2/a\xff/tags/list",
    ],
)
def test_paths_lead_nowhere_else(registry: Registry, path: str) -> None:
    canary = registry.storage.root.parent / "canary"
    canary.write_text("alive")
    for method in ("GET", "PUT", "DELETE"):
        raw = Raw(registry).send(
            f"{method} {path} HTTP/1.1", "Host: x", "Content-Length: 0", "Connection: close"
        )
        assert raw.status() in (400, 404, 405)
    assert canary.read_text() == "alive"
    assert sorted(p.name for p in registry.storage.root.iterdir()) == [
        "blobs",
        "lock",
        "repositories",
        "uploads",
    ]


def test_plain_and_broken_greetings_to_tls_end_and_others_are_served(tmp_path: Path) -> None:
    made = make_certificate(tmp_path / "tls")
    files = (made / "cert.pem", made / "key.pem")
    with Registry(tmp_path / "r", tls=files, stall_s=5) as registry:
        silent = Raw(registry)  # holds its own thread only
        raw = Raw(registry)
        raw.sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"200 OK" not in raw.rest()
        context = ssl.create_default_context(cafile=str(files[0]))
        client = http.client.HTTPSConnection(registry.host, timeout=20, context=context)
        data = b"x" * 3_000_000
        client.request("POST", f"/v2/a/blobs/uploads/?digest={digest_of(data)}", data)
        assert client.getresponse().status == 201
        silent.sock.close()


def test_connections_that_say_nothing_make_room(tmp_path: Path) -> None:
    with Registry(tmp_path / "r") as registry:
        registry._server._limit = 4
        silent = [Raw(registry) for _ in range(12)]
        client = Client(registry.host)
        for _ in range(5):
            assert client("GET", "/v2/").status == 200
        for raw in silent:
            raw.sock.close()


def test_too_many_connections_at_work_are_told_to_come_again(tmp_path: Path) -> None:
    with Registry(tmp_path / "r") as registry:
        registry._server._limit = 1
        location = Client(registry.host).begin("a")
        busy = Raw(registry).send(f"PATCH {location} HTTP/1.1", "Host: x", "Content-Length: 2", body=b"1")
        while (reply := Client(registry.host)("GET", "/v2/").status) == 200:  # until the first is at work
            busy.sock.close()
            busy = Raw(registry).send(f"PATCH {location} HTTP/1.1", "Host: x", "Content-Length: 2", body=b"1")
        assert reply == 503
        busy.sock.close()
