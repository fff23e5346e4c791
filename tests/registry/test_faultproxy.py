"""The fault proxy breaks what it is told to, and nothing else."""

from __future__ import annotations

import hashlib
import http.client

import pytest

from tests.registry.faultproxy import (
    Answer,
    Before,
    Corrupt,
    CutRequest,
    CutResponse,
    Fault,
    FaultProxy,
    Header,
    Length,
    Stall,
    Truncate,
)

DATA = bytes(range(256)) * 1024
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
BLOB = f"/v2/a/blobs/{DIGEST}"


def ask(
    proxy: FaultProxy, method: str, path: str, body: object = None, **more: str
) -> tuple[int, bytes, dict]:
    connection = http.client.HTTPConnection(proxy.host, timeout=20)
    try:
        connection.request(method, path, body, more, encode_chunked="Transfer-Encoding" in more)
        answer = connection.getresponse()
        return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
    finally:
        connection.close()


def push(proxy: FaultProxy) -> None:
    assert ask(proxy, "POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA)[0] == 201


def test_without_rules_everything_passes_and_is_counted(proxy: FaultProxy) -> None:
    push(proxy)
    assert ask(proxy, "GET", BLOB)[1] == DATA
    assert ask(proxy, "HEAD", BLOB)[2]["content-length"] == str(len(DATA))
    location = ask(proxy, "POST", "/v2/a/blobs/uploads/")[2]["location"]
    pieces = {"Transfer-Encoding": "chunked"}
    assert ask(proxy, "PATCH", location, iter([DATA[:5], DATA[5:]]), **pieces)[0] == 202
    assert [e.status for e in proxy.exchanges] == [201, 200, 200, 202, 202]
    assert (proxy.sent(), proxy.got(BLOB)) == (2 * len(DATA), len(DATA))


def test_one_connection_carries_many_exchanges(proxy: FaultProxy) -> None:
    connection = http.client.HTTPConnection(proxy.host, timeout=20)
    for _ in range(3):
        connection.request("GET", "/v2/")
        assert connection.getresponse().read() == b"{}"


def test_request_is_cut_and_the_registry_keeps_what_came(proxy: FaultProxy) -> None:
    location = ask(proxy, "POST", "/v2/a/blobs/uploads/")[2]["location"]
    proxy.on("PATCH", "/uploads/", CutRequest(100_000))
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(proxy, "PATCH", location, DATA)
    assert proxy.seen("PATCH")[0].sent == 100_000
    assert ask(proxy, "GET", location)[2]["range"] == "0-99999"
    assert not proxy.unused


@pytest.mark.parametrize("fault", [CutResponse(70_000), Length(5)], ids=["cut", "length"])
def test_response_ends_too_early(proxy: FaultProxy, fault: Fault) -> None:
    push(proxy)
    proxy.on("GET", "/blobs/", fault)
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(proxy, "GET", BLOB)
    assert ask(proxy, "GET", BLOB)[1] == DATA


def test_stall_ends_when_it_is_released(proxy: FaultProxy) -> None:
    push(proxy)
    stall = Stall(1000)
    proxy.on("GET", "/blobs/", stall)
    connection = http.client.HTTPConnection(proxy.host, timeout=20)
    connection.request("GET", BLOB)
    answer = connection.getresponse()
    assert answer.read(1000) == DATA[:1000]
    stall.released.set()
    with pytest.raises((OSError, http.client.HTTPException)):
        answer.read()


def test_own_answer_comes_as_often_as_wanted(proxy: FaultProxy) -> None:
    proxy.on("GET", "/v2/$", Answer(429, {"Retry-After": "3"}), times=2)
    answers = [ask(proxy, "GET", "/v2/") for _ in range(3)]
    assert [a[0] for a in answers] == [429, 429, 200]
    assert answers[0][2]["retry-after"] == "3"


def test_body_is_corrupted_or_truncated(proxy: FaultProxy) -> None:
    push(proxy)
    proxy.on("GET", "/blobs/", Corrupt(at=200_000))
    proxy.on("GET", "/blobs/", Truncate(to=10))
    spoilt = ask(proxy, "GET", BLOB)[1]
    assert [n for n in range(len(DATA)) if spoilt[n] != DATA[n]] == [200_000]
    assert ask(proxy, "GET", BLOB)[1] == DATA[:10]


def test_header_is_changed_or_taken_away(proxy: FaultProxy) -> None:
    push(proxy)
    proxy.on("HEAD", "/blobs/", Header("docker-content-digest", "sha256:00"))
    proxy.on("HEAD", "/blobs/", Header("Docker-Content-Digest", None))
    found = [ask(proxy, "HEAD", BLOB)[2].get("docker-content-digest") for _ in range(3)]
    assert found == ["sha256:00", None, DIGEST]


def test_something_happens_before_the_request(proxy: FaultProxy) -> None:
    happened: list[str] = []
    proxy.on("GET", "/v2/", Before(lambda: happened.append("now")))
    assert ask(proxy, "GET", "/v2/")[0] == 200
    assert happened == ["now"]
