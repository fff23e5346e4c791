"""Direct connections: kept and given up, waited for, broken in every way; what goes out on them."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imagesmith.registry import patience, wire
from imagesmith.registry.answers import (
    ConnectError,
    Failure,
    InvalidURL,
    LocalProtocolError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    WriteTimeout,
)
from imagesmith.registry.wire import Wire

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Server:
    """Answers requests in their order by what `play` does with each connection."""

    play: Callable[[Server, socket.socket], None]
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    def take(self, conn: socket.socket) -> bytes:
        """Read a request with its body; empty at the end."""
        raw = b""
        while not _is_whole(raw):
            data = conn.recv(65536)
            if not data:
                return b""
            raw += data
        self.requests.append(raw)
        return raw


def _is_whole(raw: bytes) -> bool:
    head, blank, body = raw.partition(b"\r\n\r\n")
    if b"Transfer-Encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    return bool(blank) and len(body) >= int(length[1] if length else 0)


@contextmanager
def serving(play: Callable[[Server, socket.socket], None]) -> Iterator[Server]:
    """A server on loopback; a thread for each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(play, url=f"http://127.0.0.1:{listener.getsockname()[1]}/x")

        def one(conn: socket.socket) -> None:
            with conn, contextlib.suppress(OSError):
                play(server, conn)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    conn, _ = listener.accept()
                    server.connections += 1
                    threading.Thread(target=one, args=(conn,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # who waits for a connection ends


def always(answer: bytes, *, close: bool = False) -> Callable[[Server, socket.socket], None]:
    """Answers each request alike."""

    def play(server: Server, conn: socket.socket) -> None:
        while server.take(conn):
            conn.sendall(answer)
            if close:
                return

    return play


@contextmanager
def wired(
    connections: int = 4, timeout_s: float = 5.0, context: ssl.SSLContext | None = None
) -> Iterator[Wire]:
    with contextlib.closing(Wire(connections, timeout_s, context)) as w:
        yield w


def ask(
    w: Wire, url: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: object = None
) -> tuple[int, bytes]:
    """Send, and read the answer to its end."""
    answer = w.send(method, url, headers or {}, body)  # type: ignore[arg-type]
    return answer.status_code, b"".join(answer.iter_raw())


# --- kept connections --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (_OK, 1),
        (_OK.replace(b"1.1", b"1.0"), 3),
        (_OK.replace(b"Content", b"Connection: close\r\nContent"), 3),
        (_OK + b"more", 3),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1),
    ],
    ids=["kept", "1.0", "close", "too much", "chunks"],
)
def test_connections_are_used_again_where_they_can_be(answer: bytes, connections: int) -> None:
    with serving(always(answer)) as server, wired() as w:
        assert [ask(w, server.url) for _ in range(3)] == [(200, b"ok")] * 3
        assert server.connections == connections


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_bodies_free_their_connection_at_once(status: int) -> None:
    with serving(always(b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\n" % status)) as server, wired() as w:
        for _ in range(3):
            w.send("GET", server.url, {}, None)
        assert server.connections == 1


def test_heads_are_answered_without_bodies() -> None:
    with serving(always(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")) as server, wired() as w:
        answer = w.send("HEAD", server.url, {}, None)
        assert (answer.headers["content-length"], list(answer.iter_raw())) == ("9", [])
        assert ask(w, server.url, "HEAD") == (200, b"")
        assert server.connections == 1


def test_answer_that_is_not_read_to_its_end_takes_its_connection_along() -> None:
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + bytes(3000000)
    with serving(always(big)) as server, wired(connections=1) as w:
        with contextlib.closing(w.send("GET", server.url, {}, None)) as answer:
            assert next(answer.iter_raw())
        assert len(ask(w, server.url)[1]) == 3000000
        assert server.connections == 2


def test_connection_that_was_closed_while_unused_is_noticed() -> None:
    gone = threading.Event()

    def play(server: Server, conn: socket.socket) -> None:
        server.take(conn)
        conn.sendall(_OK)
        conn.shutdown(socket.SHUT_RDWR)
        gone.set()

    with serving(play) as server, wired() as w:
        for _ in range(2):  # a POST is never sent twice
            assert ask(w, server.url, "POST") == (200, b"ok")
            assert gone.wait(5)
            gone.clear()
        assert len(server.requests) == server.connections == 2


def test_connection_that_rested_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_IDLE_S", -1.0)
    with serving(always(_OK)) as server, wired() as w:
        ask(w, server.url)
        ask(w, server.url)
        assert server.connections == 2


def _hangs_up_on_the_second(server: Server, conn: socket.socket) -> None:
    server.take(conn)
    conn.sendall(_OK)
    if server.connections == 1:
        server.take(conn)
        return
    always(_OK)(server, conn)


def test_reading_requests_are_sent_anew_where_a_kept_connection_broke() -> None:
    with serving(_hangs_up_on_the_second) as server, wired() as w:
        assert [ask(w, server.url) for _ in range(2)] == [(200, b"ok")] * 2
        assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize(("method", "body"), [("POST", None), ("PUT", [b"x"]), ("GET", [b"x"])])
def test_other_requests_are_not(method: str, body: object) -> None:
    with serving(_hangs_up_on_the_second) as server, wired() as w:
        ask(w, server.url)
        with pytest.raises(Failure):
            ask(w, server.url, method, {"Content-Length": "1"} if body else {}, body)
        assert (server.connections, len(server.requests)) == (1, 2)


def test_new_connection_that_breaks_is_not_tried_again() -> None:
    with serving(lambda server, conn: server.requests.append(conn.recv(999))) as server, wired() as w:
        with pytest.raises(RemoteProtocolError, match="without sending a response"):
            ask(w, server.url)
        assert server.connections == 1


def test_requests_wait_for_a_connection() -> None:
    open_now, most = [0], [0]
    lock = threading.Lock()

    def play(server: Server, conn: socket.socket) -> None:
        with lock:
            open_now[0] += 1
            most[0] = max(most[0], open_now[0])
        always(_OK)(server, conn)
        with lock:
            open_now[0] -= 1

    with serving(play) as server, serving(always(_OK)) as other, wired(connections=2) as w:
        done: list[tuple[int, bytes]] = []
        urls = [server.url, server.url, other.url] * 20
        threads = [threading.Thread(target=lambda u=u: done.append(ask(w, u))) for u in urls]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert done == [(200, b"ok")] * 60
        assert most[0] <= 3  # one that was just closed may be counted still


def test_closed_wire_ends_what_is_open() -> None:
    with serving(always(_OK[:-1])) as server, wired() as w:
        answer = w.send("GET", server.url, {}, None)
        w.close()
        with pytest.raises(Failure):
            list(answer.iter_raw())
        answer.close()
        assert w.send("GET", server.url, {}, None).status_code == 200  # as before the first


@pytest.mark.parametrize("secret", [False, True], ids=["plain", "tls"])
def test_closed_wire_is_not_waited_on(registry_certificate: Path, secret: bool) -> None:
    keys = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    keys.load_cert_chain(registry_certificate / "cert.pem", registry_certificate / "key.pem")
    context = ssl.create_default_context(cafile=str(registry_certificate / "cert.pem"))
    asked, ended = threading.Event(), threading.Event()

    def play(server: Server, conn: socket.socket) -> None:
        with keys.wrap_socket(conn, server_side=True) if secret else conn as heard:
            server.take(heard)
            asked.set()
            ended.wait(20)

    def wait() -> None:
        with pytest.raises(Failure):
            ask(w, server.url.replace("http", "https") if secret else server.url)
        ended.set()

    with serving(play) as server, wired(timeout_s=15.0, context=context) as w:
        threading.Thread(target=wait, daemon=True).start()
        assert asked.wait(10)
        w.close()
        assert ended.wait(10)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("more", "connections"), [(b"", 1), (b"HTTP/1.1 200 OK\r\n\r\n", 4)], ids=["", "more"]
)
def test_connections_by_tls_are_used_again_where_nothing_is_left_in_them(
    registry_certificate: Path, version: ssl.TLSVersion, more: bytes, connections: int
) -> None:
    keys = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    keys.load_cert_chain(registry_certificate / "cert.pem", registry_certificate / "key.pem")
    context = ssl.create_default_context(cafile=str(registry_certificate / "cert.pem"))
    context.maximum_version = version
    body = bytes(range(256)) * 1024
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body + more

    def play(server: Server, conn: socket.socket) -> None:
        with keys.wrap_socket(conn, server_side=True) as secret:
            always(answer)(server, secret)

    with serving(play) as server, wired(context=context) as w:
        url = server.url.replace("http:", "https:")
        pieces = {"Content-Length": str(3 * len(body))}
        for method, headers, sent in [
            ("GET", {}, None),
            ("PUT", pieces, [body] * 3),
            ("PUT", {}, [body] * 3),
        ]:
            assert ask(w, url, method, headers, sent) == (200, body)
        assert ask(w, url) == (200, body)
        assert server.connections == connections
        assert server.requests[1].endswith(b"\r\n\r\n" + body * 3)


# --- what goes out -----------------------------------------------------------------------------


def test_requests_are_written_as_they_are_asked() -> None:
    with serving(always(_OK)) as server, wired() as w:
        host = server.url.split("/")[2].encode()
        pieces = [b"ab", b"", b"c" * 100_000, b"d"]
        whole = b"".join(pieces)
        ask(w, server.url + "?a=%2F&b=~", "GET", {"X-A": "é"})
        ask(w, server.url, "POST")
        ask(w, server.url, "PUT", {"Content-Length": str(len(whole))}, iter(pieces))
        ask(w, server.url, "PATCH", {"Transfer-Encoding": "chunked"}, iter(pieces))
        ask(w, server.url, "PUT", {"Host": "other"}, [b"abc"])
        ask(w, server.url, "PUT", {"Content-Length": "0"}, ())
        assert server.connections == 1
    start = b" /x HTTP/1.1\r\nHost: " + host + b"\r\n"
    assert server.requests == [
        b"GET /x?a=%2F&b=~ HTTP/1.1\r\nHost: " + host + b"\r\nX-A: \xc3\xa9\r\n\r\n",
        b"POST" + start + b"Content-Length: 0\r\n\r\n",
        b"PUT" + start + b"Content-Length: 100003\r\n\r\n" + whole,
        b"PATCH" + start + b"Transfer-Encoding: chunked\r\n\r\n"
        b"2\r\nab\r\n186a0\r\n" + b"c" * 100_000 + b"\r\n1\r\nd\r\n0\r\n\r\n",
        b"PUT /x HTTP/1.1\r\nHost: other\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"PUT" + start + b"Content-Length: 0\r\n\r\n",
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {"A": "b\r\nC: d"},
        {"A": "b\nC: d"},
        {"A": "b\0"},
        {"A\r\nB": "c"},
        {"A B": "c"},
        {"": "c"},
        {"A": "\ud800"},
        {"Content-Length": "-1"},
        {"Content-Length": "1_0"},
    ],
    ids=repr,
)
def test_headers_that_would_be_others_are_not_sent(headers: dict[str, str]) -> None:
    with serving(always(_OK)) as server, wired() as w:
        with pytest.raises(LocalProtocolError):
            ask(w, server.url, headers=headers)
        assert server.requests == []


@pytest.mark.parametrize("tail", ["\r\nX: y", " x", "\n", "\0", "?a=\r\nb", "é b"], ids=repr)
def test_addresses_bring_no_lines_into_a_request(tail: str) -> None:
    with serving(always(_OK)) as server, wired() as w:
        with contextlib.suppress(InvalidURL):
            ask(w, server.url + tail)
        for raw in server.requests:
            first = raw.split(b"\r\n")[0]
            assert re.fullmatch(rb"GET [!-~]+ HTTP/1\.1", first)
            assert raw.count(b"\r\n") == 3


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
def test_nothing_is_sent_by_tls_without_trust(scheme: str) -> None:
    with serving(always(_OK)) as server, wired() as w:
        with pytest.raises(InvalidURL):
            ask(w, server.url.replace("http", scheme))
        assert server.connections == 0


@pytest.mark.parametrize(("length", "pieces"), [(3, [b"ab"]), (1, [b"ab"]), (2, [])])
def test_bodies_of_another_length_than_was_said_are_errors(length: int, pieces: list[bytes]) -> None:
    with serving(always(_OK)) as server, wired() as w:
        with pytest.raises(LocalProtocolError, match="for declared"):
            ask(w, server.url, "PUT", {"Content-Length": str(length)}, pieces)
        assert ask(w, server.url) == (200, b"ok")
        assert server.connections == 2


def test_error_of_a_body_is_passed_on() -> None:
    def body() -> Iterator[bytes]:
        yield b"a"
        raise KeyError("mine")

    with serving(always(_OK)) as server, wired() as w, pytest.raises(KeyError, match="mine"):
        ask(w, server.url, "PUT", {}, body())


# --- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 413])
def test_answer_that_comes_before_all_was_sent_is_told(status: int) -> None:
    def play(server: Server, conn: socket.socket) -> None:
        conn.recv(1000)
        conn.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nno" % status)

    pieces = [bytes(1 << 20)] * 64
    with serving(play) as server, wired() as w:
        for headers in ({"Content-Length": str(64 << 20)}, {}):
            assert ask(w, server.url, "PUT", headers, iter(pieces)) == (status, b"no")
        assert server.connections == 2


def test_answer_of_a_server_that_reads_no_more_is_told() -> None:
    ended = threading.Event()

    def play(server: Server, conn: socket.socket) -> None:
        conn.recv(1000)
        conn.sendall(b"HTTP/1.1 413 X\r\nContent-Length: 2\r\n\r\nno")
        ended.wait(20)

    with serving(play) as server, wired(timeout_s=0.3) as w:
        assert ask(w, server.url, "PUT", {}, iter([bytes(1 << 20)] * 64)) == (413, b"no")
        ended.set()


def test_silence_and_what_is_not_taken_are_given_up() -> None:
    def play(server: Server, conn: socket.socket) -> None:
        conn.recv(1)
        threading.Event().wait(3)

    with serving(play) as server, wired(timeout_s=0.2) as w:
        with pytest.raises(ReadTimeout):
            ask(w, server.url)
        with pytest.raises(WriteTimeout):
            ask(w, server.url, "PUT", {}, iter([bytes(1 << 20)] * 64))


def test_drip_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_SPAN_S", 0.2)

    def play(server: Server, conn: socket.socket) -> None:
        server.take(conn)
        for byte in b"HTTP/1.1 200 OK\r\nA: " + b"x" * 10_000:
            conn.sendall(bytes([byte]))
            threading.Event().wait(0.01)

    with serving(play) as server, wired() as w, pytest.raises(ReadTimeout, match="bytes a minute"):
        ask(w, server.url)


def test_nobody_there_is_told_with_its_cause() -> None:
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    with wired() as w:
        with pytest.raises(ConnectError) as refused:
            ask(w, f"http://127.0.0.1:{port}/")
        assert isinstance(refused.value.__cause__, ConnectionRefusedError)
        with pytest.raises(ConnectError) as unknown:
            ask(w, "http://no-such-host.invalid/")
        assert isinstance(unknown.value.__cause__, socket.gaierror)
        for url in (f"http://{'a' * 70}.example/", "http://a..b/"):
            with pytest.raises(ConnectError):
                ask(w, url)
        assert not w._busy
        assert not w._coming


def test_body_that_ends_early_is_an_error_and_its_pieces_came() -> None:
    with serving(always(_OK[:-1], close=True)) as server, wired() as w:
        answer = w.send("GET", server.url, {}, None)
        got = []
        with pytest.raises(RemoteProtocolError, match="received 1 bytes, expected 2"):
            got.extend(answer.iter_raw())
        with pytest.raises(ReadError, match="given up"):  # nobody takes this for its end
            got.extend(answer.iter_raw())


def test_request_without_a_proxy_loads_no_httpx() -> None:
    code = """if 1:
        import sys
        from imagesmith.registry.endpoint import Endpoint
        from imagesmith.registry.transport import Transport
        t = Transport(Endpoint(host=sys.argv[1], schemes=("http",)))
        assert t.send("GET", t.base() + "/").body == b"ok"
        print(sorted({"httpx", "httpcore", "h11", "anyio", "http.client", "ssl", "email"} & set(sys.modules)))
    """
    with serving(always(_OK)) as server:
        host = server.url.split("/")[2]
        done = subprocess.run([sys.executable, "-c", code, host], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
