"""What the client sends, follows, repeats and believes, against servers that do what no registry should."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate

import pytest

from imagesmith.credentials.model import Credential
from imagesmith.errors import (
    Denied,
    DigestMismatch,
    InvalidDocument,
    LimitExceeded,
    NetworkFault,
    NotFound,
    RateLimited,
    RegistryError,
    Unsupported,
)
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.registry.bodies import capped, pieces
from imagesmith.registry.client import Client, catalog
from imagesmith.registry.download import blob_pieces
from imagesmith.registry.endpoint import default_endpoint
from imagesmith.registry.faults import onward, retry_after_s
from imagesmith.registry.transport import Transport
from imagesmith.registry.upload import mount, upload
from imagesmith.values import replace
from tests.registry.scripted import Answers, Asked, Scripted

EMPTY = Descriptor(media_type=mt.OCI_EMPTY, digest=digest_bytes(b"{}"), size=2)
MANIFEST = Manifest.build(EMPTY, [])
DATA = bytes(range(256)) * 100
DIGEST = digest_bytes(DATA)
BLOB = Descriptor(media_type="", digest=DIGEST, size=len(DATA))


@contextmanager
def served(
    answers: Answers, credential: Credential | None = None
) -> Iterator[tuple[Scripted, Client, list[float]]]:
    waits: list[float] = []
    with Scripted(answers) as server:
        transport = Transport(default_endpoint(server.host), lambda: credential, wait=waits.append)
        try:
            yield server, Client(transport, "a/b"), waits
        finally:
            transport.close()


def answer(status: int, body: bytes = b"", **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    return status, {k.replace("_", "-"): v for k, v in headers.items()}, body


# --- redirects and credentials -------------------------------------------------------------------


def test_redirect_to_another_host_loses_the_credentials() -> None:
    with Scripted(lambda _: answer(200, DATA)) as storage:

        def registry(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
            if "authorization" not in asked.headers:
                return answer(401, WWW_Authenticate='Basic realm="x"')
            return answer(307, Location=f"http://{storage.host}/signed?a=b%2Fc&d=e:f")

        with served(registry, Credential("u", "p")) as (server, client, _):
            assert b"".join(blob_pieces([client], BLOB)) == DATA
            assert [("authorization" in a.headers) for a in server.asked] == [False, True]
        assert [a.target for a in storage.asked] == ["/signed?a=b%2Fc&d=e:f"]
        assert "authorization" not in storage.asked[0].headers


def test_headers_of_the_configuration_go_to_the_registry_alone() -> None:
    with (
        Scripted(lambda _: answer(200, DATA)) as storage,
        Scripted(lambda _: answer(307, Location=f"http://{storage.host}/signed")) as server,
    ):
        endpoint = replace(default_endpoint(server.host), headers={"X-Key": "secret"})
        with contextlib.closing(Transport(endpoint)) as transport:
            assert b"".join(blob_pieces([Client(transport, "a/b")], BLOB)) == DATA
        assert server.asked[0].headers["x-key"] == "secret"
        assert "x-key" not in storage.asked[0].headers


def test_redirect_on_the_same_host_keeps_them() -> None:
    def registry(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        if "authorization" not in asked.headers:
            return answer(401, WWW_Authenticate='Basic realm="x"')
        return (
            answer(200, DATA) if asked.target.startswith("/elsewhere") else answer(302, Location="/elsewhere")
        )

    with served(registry, Credential("u", "p")) as (_, client, _):
        assert b"".join(blob_pieces([client], BLOB)) == DATA


def test_circle_of_redirects_ends() -> None:
    with served(lambda a: answer(302, Location=a.target)) as (server, client, _):
        with pytest.raises(RegistryError, match="redirects"):
            client.get_manifest("1")
        assert len(server.asked) < 20


@pytest.mark.parametrize("address", ["http://[x/", "//a:port/", "http://a:99999/", "nowhere:", "http:///x"])
def test_address_that_is_none_is_an_error_of_ours(address: str) -> None:
    def registry(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        if asked.method == "POST":
            return answer(202, Location=address)
        if asked.target.startswith("/v2/a/b/tags"):
            return answer(200, b'{"tags": ["1"]}', Link=f'<{address}>; rel="next"')
        return answer(302, Location=address)

    with served(registry) as (_, client, _):
        for ask in (
            lambda: client.get_manifest("1"),
            client.tags,
            lambda: upload(client, DIGEST, len(DATA), lambda at: [DATA[at:]]),
        ):
            with pytest.raises(RegistryError):
                ask()


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, {"WWW-Authenticate": 'Bearer realm="ftp://x/"'}),
        (302, {"Location": "http://[x"}),
    ],
)
def test_answers_that_lead_nowhere_free_their_connections(status: int, headers: dict[str, str]) -> None:
    with served(lambda _: (status, headers, bytes(100_000))) as (_, client, _):
        said = set()
        for _ in range(20):  # more than connections may be open
            with pytest.raises(RegistryError) as e:
                client.tags()
            said.add(e.value.message)
        assert len(said) == 1


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, {"WWW-Authenticate": 'Bearer realm="ftp://me:hidden@x/?hidden"'}),
        (401, {"WWW-Authenticate": 'Bearer realm="/token?hidden"'}),
        (302, {"Location": "http://me:hidden@[x/?hidden"}),
        (302, {"Location": "http://me:hidden@127.0.0.1:0/?hidden"}),
    ],
)
def test_secrets_of_addresses_are_not_shown(status: int, headers: dict[str, str]) -> None:
    def answers(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        return (200, {}, b"nonsense") if asked.target.startswith("/token") else (status, headers, b"")

    with served(answers) as (_, client, _), pytest.raises(RegistryError) as e:
        client.tags()
    assert "hidden" not in e.value.message


def test_password_is_never_sent_unasked() -> None:
    with served(lambda _: answer(200, MANIFEST.raw, Content_Type=mt.OCI_MANIFEST), Credential("u", "p")) as (
        s,
        client,
        _,
    ):
        client.get_manifest("1")
        assert "authorization" not in s.asked[0].headers


def test_wrong_password_is_sent_once() -> None:
    with served(lambda _: answer(401, WWW_Authenticate='Basic realm="x"'), Credential("u", "p")) as (
        s,
        client,
        _,
    ):
        with pytest.raises(RegistryError, match="unauthorized"):
            client.get_manifest("1")
        assert [("authorization" in a.headers) for a in s.asked] == [False, True]


# --- trying again --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 499, 500, 502, 503, 504, 520, 523, 524, 529])
def test_passing_trouble_is_tried_again(status: int) -> None:
    left = [1, 2]

    def registry(_: Asked) -> tuple[int, Mapping[str, str], bytes]:
        return (
            answer(status) if left and left.pop() else answer(200, MANIFEST.raw, Content_Type=mt.OCI_MANIFEST)
        )

    with served(registry) as (_, client, waits):
        assert client.get_manifest("1").digest == MANIFEST.digest
        assert len(waits) == 2


def test_pause_is_as_long_as_the_registry_asks_for() -> None:
    whens = ["7", formatdate(time.time() + 30, usegmt=True)]

    def registry(_: Asked) -> tuple[int, Mapping[str, str], bytes]:
        return (
            answer(429, Retry_After=whens.pop(0))
            if whens
            else answer(200, b"{}", Content_Type="application/json")
        )

    with served(registry) as (_, client, waits):
        client.tags()
        assert waits[0] == 7
        assert 25 < waits[1] <= 30


def test_pause_that_is_no_number_is_none() -> None:
    assert [retry_after_s(text) for text in ("²", "٣", "-1", "1_0", "3.5", "3")] == [0, 0, 0, 0, 0, 3]


@pytest.mark.parametrize("seconds", [1, 3, 15])
def test_waiting_is_told_with_its_reason(seconds: int) -> None:
    whens, told = [str(seconds), "", "0", ""], list[str]()

    def registry(_: Asked) -> tuple[int, Mapping[str, str], bytes]:
        return answer(503, Retry_After=whens.pop(0)) if whens else answer(200, b"{}")

    with Scripted(registry) as server:
        transport = Transport(default_endpoint(server.host), wait=lambda _: None, tell=told.append)
        with contextlib.closing(transport):
            Client(transport, "a/b").tags()
        assert told == [
            f"{server.host}: waiting {seconds} s as the registry asks (status 503)",
            f"{server.host}: waiting up to 20 s (status 503)",
        ]


def test_pause_of_an_hour_is_not_waited_for() -> None:
    with served(lambda _: answer(429, Retry_After="3600")) as (_, client, waits), pytest.raises(RateLimited):
        client.get_manifest("1")
    assert waits == []


@pytest.mark.parametrize(
    ("status", "error"), [(404, NotFound), (403, Denied), (405, Unsupported), (418, RegistryError)]
)
def test_refusal_is_not_tried_again_and_says_why(status: int, error: type[RegistryError]) -> None:
    body = json.dumps({"errors": [{"code": "CODE", "message": "because\nof \x1b[31mthis"}]}).encode()
    with served(lambda _: answer(status, body)) as (server, client, _):
        with pytest.raises(error, match="CODE: because of") as caught:
            client.get_manifest("1")
        assert "\n" not in caught.value.message
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<html>no</html>", b"{", b'{"errors": 5}', b'{"errors": [5, {"code": []}]}', b"[]"]
)
def test_refusal_in_any_form_is_an_error_of_ours(body: bytes) -> None:
    with (
        served(lambda _: answer(400, body)) as (_, client, _),
        pytest.raises(RegistryError, match="status 400"),
    ):
        client.get_manifest("1")


# --- manifests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "error"),
    [
        (MANIFEST.raw, {"Docker-Content-Digest": str(DIGEST)}, DigestMismatch),
        (MANIFEST.raw, {"Content-Type": mt.OCI_INDEX}, InvalidDocument),
        (b"<html>", {"Content-Type": "text/html"}, InvalidDocument),
        (b"x" * (9 << 20), {}, LimitExceeded),
    ],
)
def test_manifest_that_is_not_what_it_claims_is_refused(
    body: bytes, headers: dict[str, str], error: type[Exception]
) -> None:
    with served(lambda _: (200, headers, body)) as (_, client, _), pytest.raises(error):
        client.get_manifest("1")


def test_manifest_by_digest_must_have_it() -> None:
    with served(lambda _: answer(200, MANIFEST.raw)) as (_, client, _), pytest.raises(DigestMismatch):
        client.get_manifest(str(DIGEST))


def test_all_types_are_accepted_by_name() -> None:
    with served(lambda _: answer(200, MANIFEST.raw)) as (server, client, _):
        client.get_manifest("1")
        accept = server.asked[0].headers["accept"]
        assert {mt.OCI_MANIFEST, mt.OCI_INDEX, mt.DOCKER_MANIFEST, mt.DOCKER_INDEX} <= set(accept.split(", "))


@pytest.mark.parametrize(
    "headers", [{}, {"Docker-Content-Digest": "nonsense"}, {"Content-Type": "text/plain"}]
)
def test_head_that_tells_too_little_is_no_answer(headers: dict[str, str]) -> None:
    with served(lambda _: (200, headers, b"")) as (_, client, _):
        assert client.head_manifest("1") is None


def test_warning_is_told_once() -> None:
    told: list[str] = []
    with Scripted(lambda _: answer(200, MANIFEST.raw, Warning='299 - "going away"')) as server:
        transport = Transport(default_endpoint(server.host), warn=told.append)
        for _ in range(2):
            Client(transport, "a/b").get_manifest("1")
        transport.close()
    assert told == [f"{server.host}: going away"]


# --- listings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "link",
    ['</v2/a/b/tags/list?last=2&n=2>; rel="next"', "<http://{host}/v2/a/b/tags/list?last=2>;rel=next",
     '</other>; rel="first", <list?last=2> ; rel="next"', '<?last=2>; title="a"; rel="next"'],
)  # fmt: skip
def test_pages_are_followed_by_their_links(link: str) -> None:
    def registry(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        if "last=2" in asked.target:
            return answer(200, b'{"tags": ["3", null, "", "sha256:x"]}')
        return answer(200, b'{"tags": ["2", "1"]}', Link=link.replace("{host}", asked.headers["host"]))

    with served(registry) as (_, client, _):
        assert client.tags() == ["1", "2", "3"]


def test_page_that_links_to_itself_ends() -> None:
    with served(lambda a: answer(200, b'{"tags": ["1"]}', Link=f'<{a.target}>; rel="next"')) as (
        server,
        client,
        _,
    ):
        assert client.tags() == ["1"]
        assert len(server.asked) == 1


def test_listing_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagesmith.registry.paging._PAGES", 3)
    with (
        served(lambda a: answer(200, b'{"tags": ["1"]}', Link=f'<{a.target}1>; rel="next"')) as found,
        pytest.raises(LimitExceeded, match="more than 3 pages"),
    ):
        found[1].tags()


@pytest.mark.parametrize("body", [b'{"tags": null}', b"{}", b'{"tags": "x"}', b'{"tags": [1]}'])
def test_listing_without_tags_is_empty(body: bytes) -> None:
    with served(lambda _: answer(200, body)) as (_, client, _):
        assert client.tags() == []


def test_catalog_that_is_refused_is_said() -> None:
    with served(lambda _: answer(404)) as (_, client, _), pytest.raises(Unsupported, match="does not list"):
        catalog(client.transport)


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (404, b"", {}),
        (200, b"<html>", {"Content-Type": "text/html"}),
        (200, b'{"hello": 1}', {"Content-Type": "application/json"}),
        (200, MANIFEST.raw, {"Content-Type": mt.OCI_MANIFEST}),
        (303, b"", {"Location": "http://127.0.0.1:1/login"}),
    ],
)
def test_what_is_no_index_means_no_referrers_api(status: int, body: bytes, headers: dict[str, str]) -> None:
    with served(lambda _: (status, headers, body)) as (_, client, _):
        try:
            assert client.referrers(DIGEST) is None
        except RegistryError:
            assert status == 303  # the other host is not there


def test_referrers_are_filtered_even_if_the_registry_does_not() -> None:
    entries = [Descriptor(media_type="m/m", digest=DIGEST, size=1, artifact_type=t) for t in ("a/a", "b/b")]
    index = Index.build(entries)
    with served(lambda _: answer(200, index.raw, Content_Type=mt.OCI_INDEX)) as (_, client, _):
        found = client.referrers(DIGEST, "b/b")
        assert found is not None
        assert [d.artifact_type for d in found] == ["b/b"]


# --- uploads -------------------------------------------------------------------------------------


class Uploads:
    """The upload side of a registry: a session, and what came of it."""

    def __init__(self, **quirks: object) -> None:
        self.quirks, self.data, self.digest = quirks, b"", ""

    def __call__(self, a: Asked) -> tuple[int, Mapping[str, str], bytes]:
        if a.method == "POST":
            least = {"OCI-Chunk-Min-Length": str(self.quirks["least"])} if "least" in self.quirks else {}
            return 202, {"Location": "/up/1?state=a%2Fb:c", **least}, b""
        if a.method == "GET":
            return 204, {"Location": "/up/1?state=new", "Range": f"0-{max(0, len(self.data) - 1)}"}, b""
        if a.method == "PUT" and len(a.body) > int(str(self.quirks.get("most_put", 1 << 30))):
            return answer(413, b"<html>too large</html>")
        if a.method == "PATCH" and len(a.body) > int(str(self.quirks.get("most_patch", 1 << 30))):
            text = "the request body is too large and exceeds the maximum permissible limit of 4.00MiB"
            return answer(416, json.dumps({"errors": [{"code": "X", "message": text}]}).encode())
        if a.method == "PATCH" and len(a.body) > int(str(self.quirks.get("most_patch_413", 1 << 30))):
            return answer(413, b"<html>too large</html>")
        if a.method == "DELETE":
            self.data = b""
            return answer(204)
        if "content-range" in a.headers:
            assert a.headers["content-range"] == f"{len(self.data)}-{len(self.data) + len(a.body) - 1}"
        self.data += a.body
        if a.method == "PATCH":
            status = int(str(self.quirks.get("patch", 202)))
            return answer(status, Location=f"/up/1?state={len(self.data)}", Range="0-0")
        self.digest = a.target.rpartition("digest=")[2]
        good = str(digest_bytes(self.data)) == self.digest
        if not good:
            return answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
        return answer(201, Docker_Content_Digest=self.digest)


def send(uploads: Uploads, data: bytes) -> Scripted:
    with served(uploads) as (server, client, _):
        upload(client, digest_bytes(data), len(data), lambda offset: [data[offset:]])
    assert uploads.data == data
    return server


def test_blob_goes_in_one_put_to_the_very_location() -> None:
    server = send(Uploads(), DATA)
    assert server.targets("PUT") == [f"/up/1?state=a%2Fb:c&digest={DIGEST}"]
    assert server.asked[-1].headers["content-length"] == str(len(DATA))
    assert "transfer-encoding" not in server.asked[-1].headers


def test_empty_blob_goes_too() -> None:
    assert len(send(Uploads(), b"").asked) == 2


def test_blob_that_is_too_large_for_one_request_goes_in_pieces() -> None:
    data = DATA * 500
    server = send(Uploads(most_put=6 << 20), data)
    assert [len(a.body) for a in server.asked if a.method == "PATCH"] == [5 << 20, 5 << 20]
    assert len(server.asked[-1].body) == len(data) - (10 << 20)


def test_pieces_are_as_long_as_the_registry_wants() -> None:
    data = DATA * 800
    server = send(Uploads(most_put=9 << 20, least=8 << 20), data)
    assert [len(a.body) for a in server.asked if a.method == "PATCH"] == [8 << 20, 8 << 20]


def test_pieces_become_as_short_as_the_registry_says() -> None:
    server = send(Uploads(most_put=4 << 20, most_patch=4 << 20), DATA * 400)
    assert {len(a.body) for a in server.asked if a.method == "PATCH"} == {5 << 20, 4 << 20}


def test_created_is_as_good_as_accepted_for_a_piece() -> None:
    send(Uploads(most_put=6 << 20, patch=201), DATA * 500)


def test_registry_that_received_other_bytes_is_a_mismatch() -> None:
    with served(Uploads()) as (_, client, _), pytest.raises(DigestMismatch, match="received other bytes"):
        upload(client, digest_bytes(b"else"), 4, lambda _: [b"data"])


def test_failing_source_is_not_read_again_and_again() -> None:
    times = []

    def body(_: int) -> Iterator[bytes]:
        times.append(1)
        yield b"x"
        raise DigestMismatch("the source is damaged")

    with served(Uploads()) as (_, client, _), pytest.raises(DigestMismatch, match="the source is damaged"):
        upload(client, DIGEST, 10, body)
    assert len(times) == 1


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (201, ""),
        (202, "session"),
        *((status, None) for status in (400, 401, 403, 404, 405, 409, 415, 429, 500, 503)),
    ],
)
def test_mount_is_tried_and_a_refusal_costs_nothing(status: int, result: str | None) -> None:
    with served(lambda _: answer(status, Location="/up/2")) as (server, client, _):
        found = mount(client, DIGEST, "other/repo")
        assert found == (f"http://{server.host}/up/2" if result == "session" else result)
        assert server.targets("POST") == [f"/v2/a/b/blobs/uploads/?mount={DIGEST}&from=other/repo"]


# --- blobs ---------------------------------------------------------------------------------------


def test_range_that_is_ignored_is_skipped_by_us() -> None:
    with served(lambda _: answer(200, DATA)) as (_, client, _):
        assert b"".join(blob_pieces([client], BLOB, 1000)) == DATA[1000:]


@pytest.mark.parametrize("data", [DATA + b"more", DATA[:-1] + b"x"])
def test_blob_that_is_another_is_refused(data: bytes) -> None:
    with served(lambda _: answer(200, data)) as (_, client, _), pytest.raises(DigestMismatch):
        list(blob_pieces([client], BLOB))


def test_compressed_answer_is_not_unpacked() -> None:
    with served(lambda _: answer(200, DATA, Content_Encoding="gzip")) as (server, client, _):
        assert b"".join(blob_pieces([client], BLOB)) == DATA
        assert server.asked[0].headers["accept-encoding"] == "identity"


def test_next_reader_is_asked_where_one_has_not_got_it() -> None:
    with (
        served(lambda _: answer(404)) as (_, empty, _),
        served(lambda _: answer(200, DATA)) as (_, full, _),
    ):
        assert b"".join(blob_pieces([empty, full], BLOB)) == DATA


def test_an_answer_leads_on_but_not_out_of_tls() -> None:
    base = "https://r.example/v2"
    assert onward(base, f"{base}/a", "b?x=%2F") == "https://r.example/v2/b?x=%2F"
    assert onward(base, f"{base}/a", "http://r.example/u") == "https://r.example/u"
    assert onward(base, f"{base}/a", "/u?x=%2F#part") == "https://r.example/u?x=%2F"  # a digest is appended
    plain = "http://r.example/v2"
    assert onward(plain, f"{plain}/a", "http://s.example/u") == "http://s.example/u"
    with pytest.raises(NetworkFault, match="not https"):
        onward(base, f"{base}/a", "http://s.example/u")


class Drips:
    """A response whose every piece takes so long, by a clock that is ours."""

    url = "http://r.example/v2/a"

    def __init__(self, monkeypatch: pytest.MonkeyPatch, piece: bytes, seconds: float, count: int) -> None:
        self.piece, self.seconds, self.count, self.now = piece, seconds, count, 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def iter_raw(self) -> Iterator[bytes]:
        for _ in range(self.count):
            self.now += self.seconds
            yield self.piece


def test_body_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Drips(monkeypatch, b"x", 10, 1000)
    with pytest.raises(NetworkFault, match="bytes a minute"):
        list(pieces(slow))  # type: ignore[arg-type]
    assert slow.now < 100


def test_slow_line_and_slow_reader_are_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Drips(monkeypatch, b"x" * 2048, 1, 500)
    assert sum(map(len, pieces(line))) == 500 * 2048  # type: ignore[arg-type]
    reader = Drips(monkeypatch, b"x", 0.1, 100)
    for _ in pieces(reader):  # type: ignore[arg-type]
        reader.now += 100


def test_small_answer_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Drips(monkeypatch, b"x" * 2048, 1, 1000)
    with pytest.raises(NetworkFault, match="does not end within 300 s"):
        list(capped(slow, 1 << 30, slow.url))  # type: ignore[arg-type]
