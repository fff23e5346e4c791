"""The registry as a cache of another: what is fetched, kept, checked, and served while that one is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagesmith.embedded.cache import PullThrough
from imagesmith.embedded.manifests import Manifests
from imagesmith.embedded.registry import Registry
from imagesmith.embedded.storage import Storage
from imagesmith.embedded.uploads import Uploads
from imagesmith.embedded.upstream import Upstream
from imagesmith.embedded.wire import Request
from imagesmith.errors import NetworkFault, UsageError
from tests.embedded.conftest import Client, digest_of
from tests.registry.conftest import make_certificate
from tests.registry.faultproxy import Answer, Corrupt, CutResponse, FaultProxy, Header

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = bytes(range(256)) * 16_000
BLOB = f"/v2/a/b/blobs/{digest_of(LAYER)}"


def push(client: Client, tag: str, layer: bytes = LAYER, **more: Any) -> str:
    def part(data: bytes, kind: str) -> dict[str, Any]:
        return {"mediaType": kind, "digest": client.blob("a/b", data), "size": len(data)}

    config = part(b"{}", "application/vnd.oci.image.config.v1+json")
    layers = [part(layer, "application/vnd.oci.image.layer.v1.tar")]
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers, **more}
    return client.manifest("a/b", tag, document).headers["docker-content-digest"]


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "behind") as registry:
        yield registry


@pytest.fixture
def proxy(behind: Registry) -> Iterator[FaultProxy]:
    with FaultProxy(behind.host) as proxy:
        yield proxy


@pytest.fixture
def cache(proxy: FaultProxy, tmp_path: Path) -> Iterator[Client]:
    with Registry(tmp_path / "cache", upstream=Upstream(f"http://{proxy.host}")) as registry:
        yield Client(registry.host)


def test_blob_is_fetched_once(behind: Registry, proxy: FaultProxy, cache: Client) -> None:
    push(Client(behind.host), "one")
    for _ in range(2):
        reply = cache("GET", BLOB)
        assert (reply.body == LAYER, reply.headers["docker-content-digest"]) == (True, digest_of(LAYER))
    assert [e.method for e in proxy.seen(target="/blobs/")] == ["GET"]


def test_range_of_a_blob_that_is_not_here_fetches_all_of_it(behind: Registry, cache: Client) -> None:
    push(Client(behind.host), "one")
    reply = cache("GET", BLOB, Range="bytes=1000000-1000009")
    assert (reply.status, reply.body) == (206, LAYER[1000000:1000010])


def test_head_fetches_nothing(behind: Registry, cache: Client, tmp_path: Path) -> None:
    push(Client(behind.host), "one")
    reply = cache("HEAD", BLOB)
    assert (reply.status, reply.headers["content-length"]) == (200, str(len(LAYER)))
    assert list((tmp_path / "cache/blobs/sha256").iterdir()) == []


def test_tag_follows_upstream_and_its_manifest_is_fetched_once(
    behind: Registry, proxy: FaultProxy, cache: Client
) -> None:
    first = push(Client(behind.host), "tag")
    for _ in range(2):
        assert cache("GET", "/v2/a/b/manifests/tag").headers["docker-content-digest"] == first
    assert [e.method for e in proxy.seen(target="/manifests/")] == ["GET", "HEAD"]
    second = push(Client(behind.host), "tag", b"other")
    assert cache("HEAD", "/v2/a/b/manifests/tag").headers["docker-content-digest"] == second
    assert cache("GET", f"/v2/a/b/manifests/{first}").status == 200
    Client(behind.host)("DELETE", "/v2/a/b/manifests/tag")
    assert cache("GET", "/v2/a/b/manifests/tag").status == 404


def test_what_was_pulled_is_served_while_upstream_is_away(
    behind: Registry, proxy: FaultProxy, cache: Client
) -> None:
    digest = push(Client(behind.host), "tag")
    cache("GET", "/v2/a/b/manifests/tag")
    cache("GET", BLOB)
    proxy.on("GET|HEAD", "", Answer(503), times=100)
    assert cache("GET", "/v2/a/b/manifests/tag").headers["docker-content-digest"] == digest
    assert cache("GET", f"/v2/a/b/manifests/{digest}").status == 200
    assert cache("GET", BLOB).body == LAYER
    assert cache("GET", "/v2/a/b/tags/list").json()["tags"] == ["tag"]
    for lacking in ("manifests/other", f"blobs/{digest_of(b'other')}"):
        reply = cache("GET", f"/v2/a/b/{lacking}")
        assert (reply.status, reply.code) == (502, "UNAVAILABLE")


@pytest.mark.parametrize("fault", [Corrupt(at=5), CutResponse(3_000_000)], ids=["other bytes", "cut"])
def test_wrong_blob_never_reaches_its_end_and_is_not_kept(
    behind: Registry, proxy: FaultProxy, cache: Client, tmp_path: Path, fault: Any
) -> None:
    push(Client(behind.host), "one")
    proxy.on("GET", "/blobs/", fault)
    with pytest.raises(Exception, match=r"IncompleteRead|timed out|reset"):
        cache("GET", BLOB)
    assert list((tmp_path / "cache/blobs/sha256").iterdir()) == []
    cache.connection.close()
    assert cache("GET", BLOB).body == LAYER


def test_answer_that_nobody_reads_leaves_nothing(behind: Registry, tmp_path: Path) -> None:
    push(Client(behind.host), "one")
    storage = Storage(tmp_path / "cache")
    cache = PullThrough(Upstream(behind.url), storage, Uploads(storage), Manifests(storage))
    request = Request("GET", BLOB, BLOB, [], {}, None, keep=True, socket=None)  # type: ignore[arg-type]
    response = cache.blob(request, "a/b", digest_of(LAYER))
    assert response is not None
    assert response.status == 200
    del response
    assert list(storage.uploads.iterdir()) == []
    storage.close()


def test_wrong_manifest_is_502(behind: Registry, proxy: FaultProxy, cache: Client) -> None:
    digest = push(Client(behind.host), "one")
    proxy.on("GET", "/manifests/", Corrupt(at=30), times=2)
    assert cache("GET", f"/v2/a/b/manifests/{digest}").status == 502
    proxy.on("GET", "/manifests/", Header("Content-Type", "text/html"))
    for _ in range(2):
        assert cache("GET", "/v2/a/b/manifests/one").status == 502
    assert not proxy.unused
    assert cache("GET", f"/v2/a/b/manifests/{digest}").status == 200


def test_tags_and_referrers_are_upstreams_page_by_page(behind: Registry, cache: Client) -> None:
    there = Client(behind.host)
    subject = push(there, "a")
    push(there, "b")
    about = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}
    referrer = push(there, "c", subject=about)
    reply = cache("GET", "/v2/a/b/tags/list?n=2")
    assert reply.json()["tags"] == ["a", "b"]
    following = reply.headers["link"].partition("<")[2].partition(">")[0]
    assert cache("GET", following).json()["tags"] == ["c"]
    listed = cache("GET", f"/v2/a/b/referrers/{subject}").json()["manifests"]
    assert [e["digest"] for e in listed] == [referrer]


def test_pushing_to_a_cache_is_unsupported(cache: Client) -> None:
    for method, path in (
        ("POST", "/v2/a/b/blobs/uploads/"),
        ("PUT", "/v2/a/b/manifests/x"),
        ("DELETE", "/v2/a/b/manifests/x"),
    ):
        reply = cache(method, path, b"")
        assert (reply.status, reply.code) == (405, "UNSUPPORTED")


def test_namespace_is_acknowledged_where_it_is_ours(
    behind: Registry, proxy: FaultProxy, cache: Client
) -> None:
    push(Client(behind.host), "one")
    assert cache("GET", f"{BLOB}?ns={proxy.host}").headers["oci-namespace"] == proxy.host
    assert cache("GET", f"/v2/a/b/tags/list?ns={proxy.host}").headers["oci-namespace"] == proxy.host
    assert cache("GET", f"{BLOB}?ns=other.example").code == "NAME_UNKNOWN"
    assert not proxy.seen(target="ns=")


@pytest.mark.parametrize("bearer", [True, False], ids=["bearer", "basic"])
def test_upstreams_users_are_asked_for(tmp_path: Path, bearer: bool) -> None:
    entries = json.loads((Path(__file__).parent / "htpasswd.json").read_text())
    (tmp_path / "htpasswd").write_text(f"ada:{entries['apr1']}\n")
    users = {"htpasswd": tmp_path / "htpasswd", "bearer": bearer}
    with Registry(tmp_path / "behind") as registry:
        push(Client(registry.host), "one")
    with (
        Registry(tmp_path / "behind", **users) as registry,
        Registry(tmp_path / "c", upstream=Upstream(registry.url, "ada", "päss: word")) as cache,
        Registry(tmp_path / "d", upstream=Upstream(registry.url, "ada", "wrong")) as refused,
    ):
        assert Client(cache.host)("GET", BLOB).body == LAYER
        registry.forget_tokens()
        assert Client(cache.host)("GET", "/v2/a/b/manifests/one").status == 200
        assert Client(refused.host)("GET", BLOB).status == 502


def test_redirect_to_another_host_loses_the_password(tmp_path: Path, behind: Registry) -> None:
    push(Client(behind.host), "one")
    with FaultProxy(behind.host) as first, FaultProxy(behind.host) as second:
        first.on("GET", "/blobs/", Answer(401, {"WWW-Authenticate": 'Basic realm="x"'}))
        first.on("GET", "/blobs/", Answer(307, {"Location": f"http://{second.host}{BLOB}"}))
        upstream = Upstream(f"http://{first.host}", "ada", "secret")
        with Registry(tmp_path / "c", upstream=upstream) as cache:
            assert Client(cache.host)("GET", BLOB).body == LAYER
        assert "authorization" in first.exchanges[1].headers
        assert "authorization" not in second.exchanges[0].headers


def test_challenge_of_another_host_is_not_answered(proxy: FaultProxy, behind: Registry) -> None:
    with FaultProxy(behind.host) as other:
        proxy.on("GET", "/blobs/", Answer(307, {"Location": f"http://{other.host}{BLOB}"}), times=9)
        challenge = f'Bearer realm="http://{other.host}/token",service="x"'
        other.on("GET", "/blobs/", Answer(401, {"WWW-Authenticate": challenge}), times=9)
        with pytest.raises(NetworkFault, match="wants credentials of its own"):
            Upstream(f"http://{proxy.host}", "ada", "secret").get(BLOB, "repository:a/b:pull")
        assert not other.seen(target="/token")
        assert all("authorization" not in e.headers for e in other.exchanges)


@pytest.mark.parametrize(
    "fault",
    [
        Answer(302, {"Location": "http://[x/"}),
        Answer(302, {"Location": "http://x:port/"}),
        Answer(401, {"WWW-Authenticate": 'Bearer realm="http://[x"'}),
    ],
    ids=["host", "port", "realm"],
)
def test_address_that_is_none_is_told(proxy: FaultProxy, fault: Answer) -> None:
    proxy.on("GET", "", fault)
    with pytest.raises(NetworkFault):
        Upstream(f"http://{proxy.host}").get("/v2/", "")


@pytest.mark.parametrize(
    "target", ["http://reg.example/x", "https://169.254.169.254/x", "https://localhost/x"]
)
def test_upstream_leads_to_nothing_less_safe(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Leads:
        status = 307

        def header(self, _name: str) -> str:
            return target

        def close(self) -> None:
            pass

    def once(self: Upstream, _method: str, url: str, _headers: object) -> Leads:
        asked.append(url)
        return Leads()

    monkeypatch.setattr(Upstream, "_once", once)
    upstream = Upstream("https://reg.example")
    with pytest.raises(NetworkFault, match="refused"):
        upstream.get("/v2/a/tags/list", "repository:a:pull")
    monkeypatch.setattr(Leads, "status", 401)
    monkeypatch.setattr(Leads, "header", lambda *_: f'Bearer realm="{target}",service="x"')
    with pytest.raises(NetworkFault, match="token server"):
        upstream.get("/v2/a/tags/list", "repository:a:pull")
    assert asked == ["https://reg.example/v2/a/tags/list"] * 2


def test_redirects_without_end_are_given_up(proxy: FaultProxy) -> None:
    proxy.on("GET", "", Answer(302, {"Location": "/v2/"}), times=100)
    with pytest.raises(NetworkFault, match="redirects more than 5 times"):
        Upstream(f"http://{proxy.host}").get("/v2/", "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"token":5}',
        b'{"token":"a\\nb"}',
        b"[" * 50_000,
        b'{"token":"a","expires_in":1%s}' % (b"0" * 400),
    ],
)
def test_token_server_that_answers_nonsense(proxy: FaultProxy, body: bytes) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{proxy.host}/token",service="x"'}
    proxy.on("GET", "/v2/", Answer(401, challenge))
    proxy.on("GET", "/token", Answer(200, {}, body))
    with pytest.raises(NetworkFault, match="token"):
        Upstream(f"http://{proxy.host}", "ada", "secret").get("/v2/", "repository:a:pull")


def test_upstream_with_tls_needs_its_certificate(tmp_path: Path) -> None:
    made = make_certificate(tmp_path / "tls")
    with Registry(tmp_path / "r") as registry:
        push(Client(registry.host), "one")
    with Registry(tmp_path / "r", tls=(made / "cert.pem", made / "key.pem")) as registry:
        trusting = Upstream(registry.url, ca=str(made / "cert.pem"))
        assert trusting.get("/v2/", "").read(100) == b"{}"
        assert trusting.get(BLOB, "").read(len(LAYER)) == LAYER
        with pytest.raises(NetworkFault, match="cannot reach the upstream registry"):
            Upstream(registry.url).get("/v2/", "")


def test_docker_hub_is_found_where_it_is() -> None:
    assert [Upstream(f"https://{h}").url for h in ("docker.io", "index.docker.io", "quay.io:443")] == [
        "https://registry-1.docker.io",
        "https://registry-1.docker.io",
        "https://quay.io:443",
    ]


@pytest.mark.parametrize(
    "url",
    ["", "host", "ftp://host", "https://host/path", "https://", "https://h?x", "http://[x", "http://h:x"],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError, match="not the address of a registry"):
        Upstream(url)
