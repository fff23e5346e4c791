"""Pushes and pulls of an image through a proxy that breaks them: they end right, or with one clear line.

What had arrived before a cut is not sent again, as far as the registry keeps it.
"""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagesmith.credentials.dockerconfig import Credentials
from imagesmith.embedded.registry import Registry
from imagesmith.errors import DigestMismatch, ImagesmithError, IntegrityError, NetworkFault, RegistryError
from imagesmith.oci.mediatype import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.registry import transport
from imagesmith.store.store import Store
from imagesmith.transports.transfer import Session
from tests.registry.conftest import PASSWORD, USER, Served
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

LAYERS = (1_500_000, 6_000_000, 40_000)
TOTAL = sum(LAYERS)
UPLOAD, BLOB, MANIFEST = "/blobs/uploads/", "/blobs/sha256:", "/manifests/"

#: What may be in flight when a connection breaks, and so must come again.
IN_FLIGHT = 1 << 20


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once: how long is waited is not what is tested here."""
    monkeypatch.setattr(transport, "_BASE_WAIT_S", 0.001)


def image(store: Store) -> Descriptor:
    """An image in a store: layers of random bytes, the same ones every time."""
    bytes_of = random.Random(7).randbytes

    def blob(data: bytes, kind: str) -> dict[str, object]:
        return {"mediaType": kind, "digest": str(store.blobs.put(data)), "size": len(data)}

    layers = [blob(bytes_of(size), OCI_LAYER) for size in LAYERS]
    ids = [layer["digest"] for layer in layers]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}}
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blob(json.dumps(config).encode(), OCI_CONFIG),
        "layers": layers,
    }
    raw = json.dumps(document).encode()
    return Descriptor(media_type=OCI_MANIFEST, digest=store.blobs.put(raw), size=len(raw))


def largest(store: Store, d: Descriptor) -> str:
    document = json.loads(store.blobs.read(d.digest))
    return str(max(document["layers"], key=lambda layer: layer["size"])["digest"])


class World:
    """A store with an image, an empty store, and what pushes and pulls between them."""

    def __init__(self, folder: Path, host: str, timeout_s: float = 20.0, transfers: int = 4) -> None:
        self.folder, self.host, self.timeout_s, self.transfers = folder, host, timeout_s, transfers
        self.ref = ImageRef.parse(f"{host}/faults/image:one")
        with Store(folder / "from") as store:
            self.image = image(store)
            self.layer = largest(store, self.image)

    def _session(self, store: Store) -> Session:
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        config = json.dumps({"auths": {self.host: {"auth": auth}}})
        credentials = Credentials({"DOCKER_AUTH_CONFIG": config}, self.folder)
        return Session(store, credentials=credentials, timeout_s=self.timeout_s, transfers=self.transfers)

    def push(self) -> None:
        with Store(self.folder / "from") as store, self._session(store) as session:
            session.push(self.ref, self.image)

    def pull(self) -> None:
        """Pull into the empty store, and compare."""
        with Store(self.folder / "to") as store, self._session(store) as session:
            assert session.pull(self.ref).digest == self.image.digest
            with Store(self.folder / "from") as origin:
                assert set(store.blobs.digests()) == set(origin.blobs.digests())
                for digest in origin.blobs.digests():
                    assert store.blobs.read(digest) == origin.blobs.read(digest)


@pytest.fixture
def world(proxy: FaultProxy, tmp_path: Path) -> World:
    return World(tmp_path, proxy.host)


# pushing


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 1, 100_000, 3_000_000, 5_999_999])
def test_push_goes_on_where_it_was_cut(proxy: FaultProxy, world: World, after: int) -> None:
    proxy.on("PUT", f"{UPLOAD}.*{world.layer}", CutRequest(after))
    world.push()
    assert not proxy.unused
    assert proxy.sent(UPLOAD) <= TOTAL + IN_FLIGHT
    world.pull()


@pytest.mark.slow
def test_push_goes_on_after_four_cuts(proxy: FaultProxy, world: World) -> None:
    proxy.on("PUT", f"{UPLOAD}.*{world.layer}", CutRequest(1_000_000), times=4)
    world.push()
    assert not proxy.unused
    assert proxy.sent(UPLOAD) <= TOTAL + IN_FLIGHT
    world.pull()


@pytest.mark.slow
@pytest.mark.parametrize("after", [None, 0, 700_000])
def test_push_goes_in_pieces_where_bodies_are_limited(
    proxy: FaultProxy, world: World, after: int | None
) -> None:
    """413 for the whole, then a cut within the first piece: pieces go on where the registry is."""
    proxy.on("PUT", f"{UPLOAD}.*{world.layer}", Answer(413, {}, b"<html>too large</html>"))
    if after is not None:
        proxy.on("PATCH", UPLOAD, CutRequest(after))
    world.push()
    assert not proxy.unused
    assert max(e.sent for e in proxy.seen(target=UPLOAD)) < max(LAYERS)
    assert proxy.sent(UPLOAD) <= TOTAL + IN_FLIGHT
    world.pull()


@pytest.mark.slow
def test_push_that_breaks_for_ever_is_one_line(proxy: FaultProxy, world: World) -> None:
    proxy.on("PUT", UPLOAD, CutRequest(0), times=1000)
    _is_one_line(world.push, NetworkFault)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["HEAD /blobs/", "POST /blobs/", "PUT /blobs/", "PUT /manifests/"])
@pytest.mark.parametrize(
    "fault",
    [
        Answer(500),
        Answer(503),
        Answer(429, {"Retry-After": "0"}),
        Answer(502, {}, b"<html>bad gateway</html>"),
    ],
    ids=["500", "503", "429", "502"],
)
def test_push_survives_answers_that_ask_to_come_again(
    proxy: FaultProxy, world: World, where: str, fault: Fault
) -> None:
    method, _, path = where.partition(" ")
    proxy.on(method, path, fault, times=2)
    world.push()
    assert not proxy.unused
    world.pull()


@pytest.mark.slow
def test_push_waits_as_long_as_it_is_asked_to(proxy: FaultProxy, world: World) -> None:
    proxy.on("PUT", MANIFEST, Answer(429, {"Retry-After": "1"}))
    began = time.monotonic()
    world.push()
    assert time.monotonic() - began >= 1.0
    assert len(proxy.seen("PUT", MANIFEST)) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [Answer(500), Answer(429, {"Retry-After": "0"}), Answer(403)], ids=["500", "429", "403"]
)
@pytest.mark.parametrize("where", [UPLOAD, MANIFEST])
def test_push_that_is_refused_for_ever_is_one_line(
    proxy: FaultProxy, world: World, fault: Fault, where: str
) -> None:
    proxy.on("POST|PUT", where, fault, times=1000)
    _is_one_line(world.push, RegistryError)


@pytest.mark.slow
def test_push_notices_that_the_registry_stored_something_else(proxy: FaultProxy, world: World) -> None:
    other = Header("Docker-Content-Digest", "sha256:" + "0" * 64)
    proxy.on("PUT", f"{UPLOAD}.*{world.layer}", other, times=1000)
    _is_one_line(world.push, DigestMismatch)


@pytest.mark.slow
def test_push_outlives_its_token(tmp_path: Path, registry_htpasswd: Path) -> None:
    users = {"htpasswd": registry_htpasswd, "bearer": True}
    with Registry(tmp_path / "r", **users) as registry, FaultProxy(registry.host) as proxy:
        # One at a time: no request is to lose two tokens in a row to its neighbours.
        world = World(tmp_path, proxy.host, transfers=1)
        for method, path in (("POST", UPLOAD), ("PUT", UPLOAD), ("PUT", MANIFEST)):
            proxy.on(method, path, Before(registry.forget_tokens))
        world.push()
        assert not proxy.unused
        for path in (MANIFEST, BLOB):
            proxy.on("GET", path, Before(registry.forget_tokens))
        world.pull()
        assert not proxy.unused


@pytest.mark.slow
def test_push_to_docker_registry_is_cut_and_ends_right(docker_registry: Served, tmp_path: Path) -> None:
    """docker-registry 2.8 forgets a session that was cut: the blob is sent again, the image is right."""
    with FaultProxy(docker_registry.host) as proxy:
        world = World(tmp_path, proxy.host)
        proxy.on("PUT", f"{UPLOAD}.*{world.layer}", CutRequest(3_000_000))
        world.push()
        assert not proxy.unused
        world.pull()


# pulling


@pytest.fixture
def pushed(proxy: FaultProxy, world: World) -> World:
    world.push()
    proxy.exchanges.clear()
    return world


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 1, 100_000, 5_999_999])
def test_pull_goes_on_where_it_was_cut(proxy: FaultProxy, pushed: World, after: int) -> None:
    proxy.on("GET", pushed.layer, CutResponse(after), times=3)
    pushed.pull()
    assert proxy.got(BLOB) <= TOTAL + 3 * IN_FLIGHT
    assert proxy.got(pushed.layer) <= max(LAYERS) + 3 * IN_FLIGHT


@pytest.mark.slow
def test_pull_goes_on_after_a_stall(proxy: FaultProxy, tmp_path: Path) -> None:
    world = World(tmp_path, proxy.host, timeout_s=0.3)
    world.push()
    proxy.exchanges.clear()
    proxy.on("GET", world.layer, Stall(2_000_000))
    world.pull()
    assert [e.got for e in proxy.seen("GET", world.layer)] == [2_000_000, max(LAYERS) - 2_000_000]


@pytest.mark.slow
@pytest.mark.parametrize("by", [-1000, 1000])
def test_pull_gets_over_a_wrong_length(proxy: FaultProxy, pushed: World, by: int) -> None:
    proxy.on("GET", pushed.layer, Length(by))
    pushed.pull()
    assert not proxy.unused


@pytest.mark.slow
@pytest.mark.parametrize("where", ["GET /blobs/", "GET|HEAD /manifests/"])
@pytest.mark.parametrize(
    "fault", [Answer(500), Answer(429, {"Retry-After": "0"}), CutResponse(0)], ids=["500", "429", "cut"]
)
def test_pull_survives_what_passes(proxy: FaultProxy, pushed: World, where: str, fault: Fault) -> None:
    method, _, path = where.partition(" ")
    proxy.on(method, path, fault, times=2)
    pushed.pull()
    assert not proxy.unused


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "fault", "error"),
    [
        (BLOB, Corrupt(at=1000), IntegrityError),
        (BLOB, Truncate(to=0), NetworkFault),
        (BLOB, Answer(500), RegistryError),
        (BLOB, Answer(404), RegistryError),
        (MANIFEST, Corrupt(at=40), ImagesmithError),
        (MANIFEST, Truncate(to=100), ImagesmithError),
        (MANIFEST, Header("Docker-Content-Digest", "sha256:" + "0" * 64), ImagesmithError),
        (MANIFEST, Answer(200, {"Content-Type": "text/html"}, b"<html>log in</html>"), ImagesmithError),
        (MANIFEST, Answer(200, {}, b""), ImagesmithError),
        (MANIFEST, Answer(401), RegistryError),
        (MANIFEST, Answer(429, {"Retry-After": "0"}), RegistryError),
    ],
    ids=lambda value: str(value)[:24],
)
def test_pull_of_what_stays_wrong_is_one_line_and_keeps_nothing_wrong(
    proxy: FaultProxy, pushed: World, where: str, fault: Fault, error: type[ImagesmithError]
) -> None:
    proxy.on("GET|HEAD", where, fault, times=1000)
    _is_one_line(pushed.pull, error)
    with Store(pushed.folder / "to") as store, Store(pushed.folder / "from") as origin:
        for digest in store.blobs.digests():
            assert store.blobs.read(digest) == origin.blobs.read(digest)


def _is_one_line(action: Callable[[], object], error: type[ImagesmithError]) -> None:
    with pytest.raises(error) as caught:
        action()
    assert caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500
