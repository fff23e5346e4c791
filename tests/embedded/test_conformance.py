"""What the distribution-spec's conformance suite drives, request by request, in its order."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from tests.embedded.conftest import Client, digest_of

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
REPO, OTHER = "conformance/repo1", "conformance/repo2"
ZEROS = "sha256:" + "0" * 64

both = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])


def blob_path(digest: str, repo: str = REPO) -> str:
    return f"/v2/{repo}/blobs/{digest}"


def add(location: str, digest: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def descriptor(client: Client, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": client.blob(REPO, data), "size": len(data), **more}


def image(client: Client, **more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(client, b'{"os":"linux"}', OCI_CONFIG),
        "layers": [descriptor(client, b"layer", OCI_LAYER)],
        **more,
    }


def check_blob(client: Client, location: str, data: bytes, digest: str) -> None:
    got = client("GET", location)
    assert (got.status, got.body) == (200, data)
    assert got.headers["docker-content-digest"] == digest
    head = client("HEAD", blob_path(digest))
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(data))
    assert head.headers["docker-content-digest"] == digest


# an empty repository


def test_unknown_repository_has_no_tags(client: Client) -> None:
    reply = client("GET", f"/v2/{REPO}/tags/list")
    assert (reply.status, reply.code) == (404, "NAME_UNKNOWN")


def test_unknown_repository_has_an_empty_index_of_referrers(client: Client) -> None:
    reply = client("GET", f"/v2/{REPO}/referrers/{ZEROS}")
    assert reply.status == 200
    assert reply.headers["content-type"] == OCI_INDEX
    assert reply.json() == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


def test_ping_answers(client: Client) -> None:
    assert client("GET", "/v2/").status == 200


# blobs


@both
def test_missing_blob(client: Client, algorithm: str) -> None:
    reply = client("GET", blob_path(digest_of(b"nowhere", algorithm)))
    assert (reply.status, reply.code) == (404, "BLOB_UNKNOWN")
    assert client("HEAD", blob_path(digest_of(b"nowhere", algorithm))).status == 404


@both
@pytest.mark.parametrize("data", [b"some bytes" * 200, b"", b"{}"], ids=["bytes", "empty", "braces"])
def test_single_post(client: Client, algorithm: str, data: bytes) -> None:
    digest = digest_of(data, algorithm)
    reply = client("POST", f"/v2/{REPO}/blobs/uploads/?digest={digest}", data)
    assert reply.status == 201
    check_blob(client, reply.headers["location"], data, digest)


@both
@pytest.mark.parametrize("data", [b"some bytes" * 200, b"", b"{}"], ids=["bytes", "empty", "braces"])
def test_post_then_put(client: Client, algorithm: str, data: bytes) -> None:
    digest = digest_of(data, algorithm)
    reply = client("PUT", add(client.begin(REPO), digest), data)
    assert reply.status == 201
    check_blob(client, reply.headers["location"], data, digest)


@both
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "unannounced"])
@pytest.mark.parametrize("last", ["own", "put"])
@pytest.mark.parametrize("cuts", [(0, 3000), (0, 1000, 2000, 3000)], ids=["one", "three"])
def test_chunks(client: Client, algorithm: str, announced: bool, last: str, cuts: tuple[int, ...]) -> None:
    data = bytes(range(250)) * 12
    digest = digest_of(data, algorithm)
    location = client.begin(REPO, f"?digest-algorithm={algorithm}" if announced else "")
    pieces = list(itertools.pairwise(cuts))
    patched = pieces if last == "own" else pieces[:-1]
    for a, b in patched:
        reply = client("PATCH", location, data[a:b], Content_Range=f"{a}-{b - 1}")
        assert (reply.status, reply.headers["range"]) == (202, f"0-{b - 1}")
        location = reply.headers["location"]
    if last == "put":
        a, b = pieces[-1]
        reply = client("PUT", add(location, digest), data[a:b], Content_Range=f"{a}-{b - 1}")
    else:
        reply = client("PUT", add(location, digest), b"")
    assert reply.status == 201
    check_blob(client, reply.headers["location"], data, digest)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_chunk_out_of_order_is_416_and_the_session_goes_on(client: Client, method: str) -> None:
    data = b"0123456789" * 100
    location = client.begin(REPO)
    location = client("PATCH", location, data[:400], Content_Range="0-399").headers["location"]
    target = location if method == "PATCH" else add(location, digest_of(data))
    reply = client(method, target, data[500:], Content_Range="500-999")
    assert (reply.status, reply.code) == (416, "RANGE_INVALID")
    status = client("GET", location)
    assert (status.status, status.headers["range"]) == (204, "0-399")
    reply = client(
        "PUT", add(status.headers["location"], digest_of(data)), data[400:], Content_Range="400-999"
    )
    assert reply.status == 201


def test_first_chunk_must_begin_at_0(client: Client) -> None:
    reply = client("PATCH", client.begin(REPO), b"abc", Content_Range="3-5")
    assert reply.status == 416


@both
def test_stream_without_a_length(client: Client, algorithm: str) -> None:
    data = b"streamed" * 5000
    digest = digest_of(data, algorithm)
    reply = client(
        "PATCH",
        client.begin(REPO),
        iter([data[:7], data[7:20000], data[20000:]]),
        Transfer_Encoding="chunked",
    )
    assert (reply.status, reply.headers["range"]) == (202, f"0-{len(data) - 1}")
    reply = client("PUT", add(reply.headers["location"], digest), b"")
    assert reply.status == 201
    check_blob(client, reply.headers["location"], data, digest)


@both
@pytest.mark.parametrize("query", [f"&from={OTHER}", ""], ids=["from", "from anywhere"])
def test_mount(client: Client, algorithm: str, query: str) -> None:
    data = b"mounted"
    digest = client.blob(OTHER, data, algorithm)
    assert client("HEAD", blob_path(digest)).status == 404
    reply = client("POST", f"/v2/{REPO}/blobs/uploads/?mount={digest}{query}")
    assert reply.status == 201
    check_blob(client, reply.headers["location"], data, digest)


def test_mount_from_a_repository_that_lacks_it_becomes_an_upload(client: Client) -> None:
    digest = digest_of(b"not there")
    reply = client("POST", f"/v2/{REPO}/blobs/uploads/?mount={digest}&from={OTHER}")
    assert reply.status == 202
    assert client("PUT", add(reply.headers["location"], digest), b"not there").status == 201


def test_cancelled_upload_is_gone(client: Client) -> None:
    location = client.begin(REPO)
    assert client("DELETE", location).status == 204
    assert client("GET", location).code == "BLOB_UPLOAD_UNKNOWN"


@pytest.mark.parametrize("how", ["post", "put", "chunked"])
def test_wrong_digest_is_400(client: Client, how: str) -> None:
    wrong = digest_of(b"right")
    if how == "post":
        reply = client("POST", f"/v2/{REPO}/blobs/uploads/?digest={wrong}", b"wrong")
    else:
        location = client.begin(REPO)
        if how == "chunked":
            location = client("PATCH", location, b"wrong", Content_Range="0-4").headers["location"]
        reply = client("PUT", add(location, wrong), b"" if how == "chunked" else b"wrong")
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    assert client("HEAD", blob_path(wrong)).status == 404


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("500-1499", 500, 1499), ("500-", 500, 1999), ("-500", 1500, 1999), ("1500-5000", 1500, 1999)],
)
def test_range(client: Client, wanted: str, first: int, last: int) -> None:
    data = bytes(n % 251 for n in range(2000))
    digest = client.blob(REPO, data)
    reply = client("GET", blob_path(digest), Range=f"bytes={wanted}")
    assert (reply.status, reply.body) == (206, data[first : last + 1])
    assert reply.headers["content-range"] == f"bytes {first}-{last}/2000"


@pytest.mark.parametrize("wanted", ["500-0", "5000-10000", "2000-", "-0"])
def test_range_beyond_the_blob_is_416(client: Client, wanted: str) -> None:
    digest = client.blob(REPO, b"x" * 2000)
    reply = client("GET", blob_path(digest), Range=f"bytes={wanted}")
    assert (reply.status, reply.headers["content-range"]) == (416, "bytes */2000")


# manifests


@pytest.mark.parametrize("algorithm", ["", "sha256", "sha512"])
def test_manifest_comes_back_byte_by_byte(client: Client, algorithm: str) -> None:
    document = image(client, extra={"kept": [1, 2]}, annotations={"a": "b"})
    raw = json.dumps(document, indent=3).encode()
    digest = digest_of(raw, algorithm or "sha256")
    reference = digest if algorithm else "tagged"
    reply = client("PUT", f"/v2/{REPO}/manifests/{reference}", raw, Content_Type=OCI_MANIFEST)
    assert (reply.status, reply.headers["docker-content-digest"]) == (201, digest)
    for where in (reply.headers["location"], f"/v2/{REPO}/manifests/{reference}"):
        got = client("GET", where)
        assert (got.status, got.body, got.headers["content-type"]) == (200, raw, OCI_MANIFEST)
        head = client("HEAD", where)
        assert (head.headers["content-length"], head.body) == (str(len(raw)), b"")
        assert head.headers["docker-content-digest"] == digest


def test_manifest_of_nearly_4_mib(client: Client) -> None:
    document = image(client, annotations={"large": "x" * 3_900_000})
    assert client.manifest(REPO, "large", document).status == 201
    assert client("GET", f"/v2/{REPO}/manifests/large").json() == document


def test_manifest_above_4_mib_is_413(client: Client) -> None:
    assert client.manifest(REPO, "large", image(client, annotations={"l": "x" * (4 << 20)})).status == 413


def test_indexes_nested_and_empty(client: Client) -> None:
    raw = json.dumps(image(client)).encode()
    client("PUT", f"/v2/{REPO}/manifests/{digest_of(raw)}", raw, Content_Type=OCI_MANIFEST)
    child = {"mediaType": OCI_MANIFEST, "digest": digest_of(raw), "size": len(raw)}
    inner = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}
    made = client.manifest(REPO, "", inner)
    assert made.status == 201
    size = len(json.dumps(inner))
    entry = {"mediaType": OCI_INDEX, "digest": made.headers["docker-content-digest"], "size": size}
    assert client.manifest(REPO, "outer", inner | {"manifests": [entry]}).status == 201
    assert client.manifest(REPO, "empty", inner | {"manifests": []}).status == 201


def test_manifest_without_layers_and_with_data(client: Client) -> None:
    config = descriptor(client, b"{}", EMPTY) | {"data": "e30="}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}
    assert client.manifest(REPO, "bare", document | {"artifactType": "text/x"}).status == 201


def test_nondistributable_layer_need_not_be_there(client: Client) -> None:
    kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    layer = {"mediaType": kind, "digest": ZEROS, "size": 5, "urls": ["https://elsewhere.example/l"]}
    assert client.manifest(REPO, "foreign", image(client, layers=[layer])).status == 201


def test_manifest_with_missing_parts_names_each(client: Client) -> None:
    layer = {"mediaType": OCI_LAYER, "digest": ZEROS, "size": 5}
    reply = client.manifest(REPO, "lacking", image(client, layers=[layer, layer]))
    assert (reply.status, reply.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert [e["detail"] for e in reply.json()["errors"]] == [ZEROS, ZEROS]


def test_bad_digest_in_the_path(client: Client) -> None:
    path = f"/v2/{REPO}/manifests/sha256:baddigeststring"
    assert client("PUT", path, b"{}", Content_Type=OCI_MANIFEST).status == 400
    assert client("GET", path).status in (400, 404)
    assert client("GET", blob_path("sha256:baddigeststring")).status in (400, 404)


def test_missing_manifest(client: Client) -> None:
    for reference in ("nothing", ZEROS):
        reply = client("GET", f"/v2/{REPO}/manifests/{reference}")
        assert (reply.status, reply.code) == (404, "MANIFEST_UNKNOWN")


def test_tags_named_in_the_query(client: Client) -> None:
    tags = [f"t{n}" for n in range(10)]
    reply = client.manifest(REPO, "", image(client), "?" + "&".join(f"tag={t}" for t in tags))
    assert (reply.status, reply.headers["oci-tag"]) == (201, ", ".join(tags))
    assert client("GET", f"/v2/{REPO}/tags/list").json() == {"name": REPO, "tags": tags}


# tags


def test_tags_in_pages(client: Client) -> None:
    tags = ["B", "a", "a-1", "a.1", "latest", "z"]
    for tag in reversed(tags):
        client.manifest(REPO, tag, image(client))
    assert client("GET", f"/v2/{REPO}/tags/list").json()["tags"] == tags
    assert client("GET", f"/v2/{REPO}/tags/list?last=a-1").json()["tags"] == tags[3:]
    path, seen = f"/v2/{REPO}/tags/list?n=4", []
    while path:
        reply = client("GET", path)
        seen.append(reply.json()["tags"])
        path = reply.headers.get("link", "").partition("<")[2].partition(">")[0]
    assert seen == [tags[:4], tags[4:]]
    assert client("GET", f"/v2/{REPO}/tags/list?n=0").json()["tags"] == []
    assert client("GET", f"/v2/{REPO}/tags/list?n=x").code == "PAGINATION_NUMBER_INVALID"


def test_catalogue_in_pages(client: Client) -> None:
    for name in ("a", "a/b", "c"):
        client.blob(name, b"x")
    reply = client("GET", "/v2/_catalog?n=2")
    assert reply.json() == {"repositories": ["a", "a/b"]}
    assert reply.headers["link"] == '</v2/_catalog?last=a%2Fb&n=2>; rel="next"'
    assert client("GET", "/v2/_catalog?n=2&last=a/b").json() == {"repositories": ["c"]}


# referrers


@pytest.mark.parametrize("there", [True, False], ids=["subject there", "subject missing"])
def test_referrers(client: Client, there: bool) -> None:
    base = image(client)
    raw = json.dumps(base).encode()
    subject = {"mediaType": OCI_MANIFEST, "digest": digest_of(raw), "size": len(raw)}
    if there:
        client.manifest(REPO, "base", base)
    config = descriptor(client, b"{}", EMPTY)
    about = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config,
        "layers": [],
        "subject": subject,
    }
    sbom = about | {"artifactType": "application/sbom", "annotations": {"k": "v", "l": "w"}}
    plain = about | {"config": config | {"mediaType": "application/plain"}}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "subject": subject}
    for document in (sbom, plain, index):
        reply = client.manifest(REPO, "", document)
        assert (reply.status, reply.headers["oci-subject"]) == (201, subject["digest"])
    listed = client("GET", f"/v2/{REPO}/referrers/{subject['digest']}")
    entries = {e["digest"]: e for e in listed.json()["manifests"]}
    assert entries == {
        digest_of(json.dumps(d).encode()): {
            "mediaType": d["mediaType"],
            "digest": digest_of(json.dumps(d).encode()),
            "size": len(json.dumps(d)),
            **more,
        }
        for d, more in (
            (sbom, {"artifactType": "application/sbom", "annotations": {"k": "v", "l": "w"}}),
            (plain, {"artifactType": "application/plain"}),
            (index, {}),
        )
    }
    wanted = client("GET", f"/v2/{REPO}/referrers/{subject['digest']}?artifactType=application/sbom")
    assert [e["artifactType"] for e in wanted.json()["manifests"]] == ["application/sbom"]
    assert wanted.headers["oci-filters-applied"] == "artifactType"


def test_many_referrers_come_in_pages(client: Client) -> None:
    config = descriptor(client, b"{}", EMPTY)
    subject = {"mediaType": OCI_MANIFEST, "digest": ZEROS, "size": 1}
    for n in range(3):
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}
        client.manifest(REPO, "", document | {"subject": subject, "annotations": {"n": f"{n}" * (2 << 20)}})
    path, seen = f"/v2/{REPO}/referrers/{ZEROS}", set()
    pages = 0
    while path:
        reply = client("GET", path)
        assert len(reply.body) < 4 << 20
        seen |= {e["digest"] for e in reply.json()["manifests"]}
        path = reply.headers.get("link", "").partition("<")[2].partition(">")[0]
        pages += 1
    assert (len(seen), pages) == (3, 3)


# deletions


def test_deleted_tag_is_gone_and_its_manifest_stays(client: Client) -> None:
    digest = client.manifest(REPO, "gone", image(client)).headers["docker-content-digest"]
    assert client("DELETE", f"/v2/{REPO}/manifests/gone").status == 202
    assert client("GET", f"/v2/{REPO}/manifests/gone").status == 404
    assert client("GET", f"/v2/{REPO}/manifests/{digest}").status == 200
    assert client("DELETE", f"/v2/{REPO}/manifests/gone").status == 404
    assert client("GET", f"/v2/{REPO}/tags/list").json()["tags"] == []


def test_deleted_manifest_takes_its_tags_and_its_place_among_referrers(client: Client) -> None:
    subject = {"mediaType": OCI_MANIFEST, "digest": ZEROS, "size": 1}
    digest = client.manifest(REPO, "a", image(client, subject=subject)).headers["docker-content-digest"]
    assert client("DELETE", f"/v2/{REPO}/manifests/{digest}").status == 202
    for reference in ("a", digest):
        assert client("GET", f"/v2/{REPO}/manifests/{reference}").status == 404
    assert client("GET", f"/v2/{REPO}/referrers/{ZEROS}").json()["manifests"] == []
    assert client("DELETE", f"/v2/{REPO}/manifests/{digest}").status == 404


def test_deleted_blob_is_gone_here_and_stays_elsewhere(client: Client) -> None:
    digest = client.blob(REPO, b"shared")
    client.blob(OTHER, b"shared")
    assert client("DELETE", blob_path(digest)).status == 202
    assert client("GET", blob_path(digest)).status == 404
    assert client("DELETE", blob_path(digest)).status == 404
    assert client("GET", blob_path(digest, OTHER)).body == b"shared"
