"""A success is believed where only a registry can have said it: portals and proxies say 200 to everything."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from imagesmith.credentials.model import Credential
from imagesmith.errors import ImagesmithError, RegistryError
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor
from imagesmith.registry import ping
from imagesmith.registry.client import Client
from imagesmith.registry.download import blob_pieces
from imagesmith.registry.hosts import Hosts
from imagesmith.registry.upload import check_finished, mount, upload
from tests.registry.scripted import Asked, Scripted
from tests.registry.test_transport import BLOB, DATA, DIGEST, MANIFEST, Uploads, answer, send, served

PAGE = b"<html><head><title>Guest network</title></head><body>Please sign in</body></html>"


def portal(_: Asked) -> tuple[int, Mapping[str, str], bytes]:
    return 200, {"Content-Type": "text/html; charset=utf-8"}, PAGE


@pytest.mark.parametrize(
    "ask",
    [
        lambda c: c.get_manifest("1"),
        lambda c: c.put_manifest("1", MANIFEST.raw, MANIFEST.media_type),
        lambda c: c.delete_manifest("1"),
        lambda c: c.delete_blob(DIGEST),
        lambda c: c.tags(),
        lambda c: upload(c, DIGEST, len(DATA), lambda at: [DATA[at:]]),
        lambda c: list(blob_pieces([c], BLOB)),
    ],
    ids=["get", "put", "delete", "delete blob", "tags", "upload", "read"],
)
def test_page_of_a_portal_is_no_success(ask: Callable[[Client], object]) -> None:
    with served(portal) as (server, client, _):
        with pytest.raises(ImagesmithError) as caught:
            ask(client)
        assert "\n" not in caught.value.message
        assert "registry" in caught.value.message + caught.value.hint
        assert len(server.asked) < 5


def test_blob_is_not_there_because_a_portal_says_so() -> None:
    with served(portal) as (_, client, _):
        assert client.head_blob(DIGEST) is None
        assert mount(client, DIGEST, "other/repo") is None


@pytest.mark.parametrize("there", [True, False])
def test_mount_under_another_digest_is_looked_for(there: bool) -> None:
    def handle(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        if asked.method == "POST":
            return 201, {"Docker-Content-Digest": "sha256:" + "0" * 64, "Location": "/v2/a/b/blobs/x"}, b""
        return (
            (200, {"Docker-Content-Digest": str(DIGEST), "Content-Length": "0"}, b"")
            if there
            else (404, {}, b"")
        )

    with served(handle) as (server, client, _):
        assert mount(client, DIGEST, "other/repo") == ("" if there else None)
        assert len(server.targets("HEAD")) == 1


@pytest.mark.parametrize(
    ("headers", "size", "found"),
    [
        ({"Docker-Content-Digest": str(DIGEST)}, 7, 7),
        ({"Docker-Content-Digest": "sha256:" + "0" * 64}, 7, None),
        ({}, 7, None),
        ({}, len(DATA), len(DATA)),
        ({}, -1, len(DATA)),
        ({"Content-Type": "text/html", "Docker-Content-Digest": str(DIGEST)}, 7, 7),
        ({"Content-Type": "text/html"}, -1, None),
    ],
)
def test_blob_is_believed_by_its_digest_or_size(
    headers: dict[str, str], size: int, found: int | None
) -> None:
    length = found if headers.get("Docker-Content-Digest") == str(DIGEST) else len(DATA)
    with served(lambda _: (200, {"Content-Length": str(length), **headers}, b"")) as (_, client, _):
        assert client.head_blob(DIGEST, size) == found


def test_login_at_a_portal_has_not_worked(tmp_path: Path) -> None:
    with Scripted(portal) as server:
        server.root = portal
        with pytest.raises(RegistryError, match="as no registry does"):
            ping.check(server.host, Credential("u", "p"), Hosts({}, tmp_path))
        server.root = lambda _: (200, {"Content-Type": "text/html"}, b"true")  # Quay
        ping.check(server.host, Credential("u", "p"), Hosts({}, tmp_path))


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_end_of_an_upload_without_a_word_of_its_own_is_asked_after(status: int) -> None:
    there = [True, False]

    def registry(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        if asked.method == "HEAD" and there.pop(0):
            return 200, {"Docker-Content-Digest": str(DIGEST), "Content-Length": str(len(DATA))}, b""
        return answer(404)

    with served(lambda a: answer(status) if a.method == "PUT" else registry(a)) as (server, client, _):
        reply = client.transport.send("PUT", client.url("blobs/uploads/1"))
        check_finished(client, DIGEST, reply, len(DATA))
        with pytest.raises(RegistryError, match="as no registry does"):
            check_finished(client, DIGEST, reply, len(DATA))
        assert len(server.targets("HEAD")) == 2


def test_proof_costs_no_request() -> None:
    server = send(Uploads(), DATA)
    assert server.targets("HEAD") == []


# --- packed on the road --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gzip", "x-gzip", "GZIP"])
def test_manifest_that_came_packed_is_unpacked(name: str) -> None:
    packed = gzip.compress(MANIFEST.raw)
    more = {"Content-Type": mt.OCI_MANIFEST, "Content-Encoding": name}
    with served(lambda _: (200, more, packed)) as (_, client, _):
        assert client.get_manifest("1").raw == MANIFEST.raw
        assert client.get_manifest(str(MANIFEST.digest)).digest == MANIFEST.digest


def test_manifest_that_only_says_so_is_taken_as_it_is() -> None:
    more = {"Content-Type": mt.OCI_MANIFEST, "Content-Encoding": "gzip"}
    with served(lambda _: (200, more, MANIFEST.raw)) as (_, client, _):
        assert client.get_manifest("1").raw == MANIFEST.raw


def test_refusal_that_came_packed_is_read() -> None:
    body = gzip.compress(json.dumps({"errors": [{"code": "DENIED", "message": "not you"}]}).encode())
    with (
        served(lambda _: answer(403, body, Content_Encoding="gzip")) as (_, client, _),
        pytest.raises(RegistryError, match="DENIED: not you"),
    ):
        client.get_manifest("1")


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("status", [200, 206])
def test_blob_that_came_packed_is_unpacked(offset: int, status: int) -> None:
    """Whatever part of it was asked for: a part of what is packed is of no use."""

    def registry(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        if "range" in asked.headers and status == 206:
            return answer(206, b"x", Content_Encoding="gzip", Content_Range=f"bytes {offset}-{offset}/9")
        return answer(200, gzip.compress(DATA), Content_Encoding="gzip")

    with served(registry) as (_, client, _):
        assert b"".join(blob_pieces([client], BLOB, offset)) == DATA[offset:]


def test_layer_that_storage_says_is_packed_is_left_as_it_is() -> None:
    """What the layer is itself is no matter of the road."""
    layer = gzip.compress(DATA)
    d = Descriptor(media_type=mt.OCI_LAYER_GZIP, digest=digest_bytes(layer), size=len(layer))
    with served(lambda _: answer(200, layer, Content_Encoding="gzip")) as (_, client, _):
        assert b"".join(blob_pieces([client], d)) == layer


def test_what_unpacks_without_end_is_given_up() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    more = {"Content-Encoding": "gzip"}
    with served(lambda _: (200, more, bomb)) as (_, client, _):
        with pytest.raises(ImagesmithError, match="longer than"):
            list(blob_pieces([client], BLOB))
        with pytest.raises(ImagesmithError, match="longer than"):
            client.get_manifest("1")


# --- pieces --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "piece"), [(2 << 20, 1 << 20), (300_000, 256 << 10), (70_000, 64 << 10)])
def test_pieces_become_small_enough_for_a_proxy(most: int, piece: int) -> None:
    """nginx takes 1 MiB at most unless it is told otherwise."""
    data = DATA * 120
    uploads = Uploads(most_put=most, most_patch_413=most)
    with served(uploads) as (server, client, _):
        for _ in range(2):
            uploads.data = b""
            upload(client, digest_bytes(data), len(data), lambda offset: [data[offset:]])
            assert uploads.data == data
        sizes = [len(a.body) for a in server.asked if a.method in ("PATCH", "PUT") and a.body]
        assert max(sizes[len(sizes) // 2 :]) == piece  # the second one does not begin with what is too much
        assert sum(sizes) < 3 * len(data) + (7 << 20)


def test_registry_that_takes_nothing_says_so() -> None:
    with served(Uploads(most_put=0, most_patch_413=0)) as (server, client, _):
        with pytest.raises(RegistryError, match="status 413") as caught:
            upload(client, DIGEST, len(DATA), lambda at: [DATA[at:]])
        assert "limits the size" in caught.value.hint
        assert len(server.asked) < 10
