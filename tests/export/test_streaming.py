"""Large layers are sent while they are made, to repositories that have nothing yet; nothing depends on it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.export.streaming import LayerStreams
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store
from imagesmith.transports.transfer import Session
from tests.kitchen import Kitchen
from tests.registry.conftest import serve_embedded
from tests.registry.faultproxy import Answer, CutRequest, FaultProxy

pytestmark = pytest.mark.slow

_SIZE = 10 << 20
_TEXT = "FROM scratch\nCOPY small /small\nCOPY large /large\n"


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[FaultProxy]:
    """What a build pushes to, through which its requests are counted."""
    (tmp_path / "registry").mkdir()
    with serve_embedded(tmp_path / "registry") as served, FaultProxy(served.host) as proxy:
        yield proxy


@pytest.fixture
def smith(kitchen: Kitchen) -> Kitchen:
    kitchen.write({"small": "s" * 1000, "large": random.Random(5).randbytes(_SIZE)})
    return kitchen


def push(smith: Kitchen, proxy: FaultProxy, name: str = "app:1") -> str:
    """Build with an empty store and push; returns the large layer's diff_id, once the registry has it."""
    smith.root = smith.root.with_name(smith.root.name + "-")
    ref = f"{proxy.host}/{name}"
    built = smith.build(_TEXT, tags=[ref], push=True, insecure=True)
    pulled = smith.build(f"FROM {ref}\nCOPY --from={ref} /large /again\n", insecure=True, no_cache=True)
    assert pulled.image.layers[-1].descriptor.size > _SIZE
    return str(built.image.layers[-1].diff_id)


def test_layer_goes_to_a_new_repository_while_it_is_made_and_once(smith: Kitchen, proxy: FaultProxy) -> None:
    push(smith, proxy)
    (patch,) = proxy.seen("PATCH")
    assert patch.sent > _SIZE
    assert proxy.sent("/app/") < 1.01 * _SIZE
    assert len(proxy.seen("HEAD", "/blobs/")) <= 3  # the config, the small layer; perhaps the large one


def test_layer_is_asked_for_first_where_the_repository_has_images(smith: Kitchen, proxy: FaultProxy) -> None:
    first = push(smith, proxy)
    before = proxy.sent("/app/")
    assert push(smith, proxy, "app:2") == first
    assert len(proxy.seen("PATCH")) == 1
    assert proxy.sent("/app/") - before < 100_000


@pytest.mark.parametrize("fault", [CutRequest(1 << 20), Answer(400), Answer(500)], ids=str)
def test_what_cannot_be_sent_so_is_sent_when_it_is_whole(
    smith: Kitchen, proxy: FaultProxy, fault: object
) -> None:
    proxy.on("PATCH", ".", fault)  # type: ignore[arg-type]  # one of them
    push(smith, proxy)
    assert proxy.unused == []
    assert proxy.seen("PUT", "/blobs/uploads/")


def test_layer_that_is_not_finished_is_given_up(proxy: FaultProxy, tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store, Session(store) as session:
        target = session.repository(ImageRef.parse(f"{proxy.host}/app:1"))
        streams = LayerStreams(lambda: [target])
        for _ in range(12):
            streams.write(bytes(1 << 20))
        streams.abort()
        streams.abort()
        assert not streams.finish(target, digest_bytes(bytes(12 << 20)))
    assert proxy.seen("DELETE", "/blobs/uploads/")
    assert proxy.seen("PUT") == []
