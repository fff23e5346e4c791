"""Layers are sent while later steps run, and the push at the end finds them."""

from __future__ import annotations

import random
import socket
import threading
import time
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from imagesmith.errors import StoreError
from imagesmith.events import Event, Progress, StepDone, StepStarted, Warned
from imagesmith.export.uploading import Uploader
from imagesmith.oci.mediatype import OCI_LAYER
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.ops.mkdir import MakeDirOp
from imagesmith.registry import transport
from imagesmith.registry.repository import Repository
from imagesmith.registry.transport import Transport
from imagesmith.request import BuildRequest
from imagesmith.settings import Access, Settings
from imagesmith.solve.result import BuiltLayer
from imagesmith.solve.step import Step
from imagesmith.solve.watching import Solved
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases
from tests.kitchen import Kitchen
from tests.registry.conftest import serve_embedded
from tests.registry.faultproxy import FaultProxy

pytestmark = pytest.mark.slow


def _solved(store: Store, step: Step, data: bytes, hit: str = "") -> Solved:
    digest = store.blobs.put(data)
    d = Descriptor(media_type=OCI_LAYER, digest=digest, size=len(data))
    layer = BuiltLayer(digest, d, store.layers.layer(digest, digest))
    return Solved(step=step, number=1, layer=layer, records=(), hit=hit, began_s=0, ended_s=0)


def _uploader(store: Store, target: str, steps: set[Step], events: list[Event]) -> tuple[Uploader, Bases]:
    request = BuildRequest(access=Access(insecure=True))
    images = Bases(store, Settings(root=store.root), request, events.append)
    return Uploader(images, [ImageRef.parse(target)], steps, 2, events.append), images


def _step(path: str = "/w") -> Step:
    return Step.of(MakeDirOp(path=path), None, f"[1/1] WORKDIR {path}")


def test_layers_of_the_image_are_there_when_the_steps_are_done(tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    events: list[Event] = []
    ours, stage = _step(), _step("/other")
    with serve_embedded(tmp_path / "registry") as served, Store(tmp_path / "store") as store:
        uploader, images = _uploader(store, f"{served.host}/a/b:1", {ours}, events)
        with uploader:
            wanted, other = _solved(store, ours, b"layer" * 9000), _solved(store, stage, b"stage" * 9000)
            uploader.solved(wanted)
            uploader.solved(other)
        place = images.session().repository(ImageRef.parse(f"{served.host}/a/b:1"))
        assert place.has(wanted.layer.descriptor)
        assert not place.has(other.layer.descriptor)
    assert [type(e) for e in events if isinstance(e, StepStarted | StepDone)] == [StepStarted, StepDone]
    assert any(isinstance(e, Progress) and e.done for e in events)


@pytest.mark.parametrize(("size", "hit", "asked"), [(9, "", 0), (9, "store", 1), (99_000, "", 1)])
def test_registry_is_not_asked_for_a_small_layer_that_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, hit: str, asked: int
) -> None:
    (tmp_path / "registry").mkdir()
    has, questions, step = Repository.has, list[Descriptor](), _step()

    def ask(self: Repository, d: Descriptor) -> bool:
        questions.append(d)
        return has(self, d)

    monkeypatch.setattr(Repository, "has", ask)
    with serve_embedded(tmp_path / "registry") as served, Store(tmp_path / "store") as store:
        uploader, images = _uploader(store, f"{served.host}/a/b:1", {step}, [])
        made = _solved(store, step, random.randbytes(size), hit)
        with uploader:
            uploader.solved(made)
        assert len(questions) == asked
        assert has(images.session().repository(ImageRef.parse(f"{served.host}/a/b:1")), made.layer.descriptor)


def test_registry_that_is_not_there_is_left_to_the_push(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_MOST_WAIT_S", 0.1)
    step = _step()
    with Store(tmp_path / "store") as store:
        uploader, _ = _uploader(store, f"127.0.0.1:{_free()}/a/b:1", {step}, [])
        with uploader:
            uploader.solved(_solved(store, step, b"x"))


def test_failed_build_does_not_wait_for_what_is_not_begun(tmp_path: Path) -> None:
    step = _step()
    with Store(tmp_path / "store") as store:
        uploader, _ = _uploader(store, f"127.0.0.1:{_free()}/a/b:1", {step}, [])
        began = time.monotonic()
        for n in range(200):
            uploader.solved(_solved(store, step, b"%d" % n))
        uploader.__exit__(RuntimeError, RuntimeError(), None)
        assert time.monotonic() - began < 5


class _Odd(BaseException):
    """An error that nobody expects."""


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("x"), _Odd("x")], ids=repr)
def test_error_of_a_thread_is_raised_whatever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def put(*_: object) -> bool:
        raise error

    monkeypatch.setattr(Repository, "put_blob", put)
    step, events = _step(), list[Event]()
    with Store(tmp_path / "store") as store:
        uploader, _ = _uploader(store, "127.0.0.1:9/a/b:1", {step}, events)
        with pytest.raises(type(error)) as caught, uploader:
            uploader.solved(_solved(store, step, b"x"))
        assert caught.value is error
        uploader, _ = _uploader(store, "127.0.0.1:9/a/b:1", {step}, events)
        uploader.solved(_solved(store, step, b"x"))
        while not all(begun.done() for begun in uploader._begun):
            time.sleep(0.001)
        uploader.__exit__(StoreError, StoreError("the build's own"), None)
    (told,) = [e.text for e in events if isinstance(e, Warned)]
    assert told.startswith(f"an early upload failed: {type(error).__name__}: ")


def test_error_of_a_layer_on_its_way_ends_the_build(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request of a large layer is on a thread of its own; what is no word of the registry is raised."""
    send = Transport.send

    def broken(self: Transport, method: str, *args: object, **words: object) -> object:
        if method == "PATCH":
            raise RuntimeError("a mistake")
        return send(self, method, *args, **words)  # type: ignore[arg-type]

    monkeypatch.setattr(Transport, "send", broken)
    (tmp_path / "registry").mkdir()
    kitchen.write({"a": random.Random(5).randbytes(12 << 20)})
    before = threading.active_count()
    with serve_embedded(tmp_path / "registry") as served, pytest.raises(RuntimeError, match="a mistake"):
        kitchen.build("FROM scratch\nCOPY a /\n", tags=[f"{served.host}/new:1"], push=True, insecure=True)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)  # the registry's own
    assert threading.active_count() <= before


def _free() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def test_build_that_pushes_sends_each_layer_once(kitchen: Kitchen, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    kitchen.write({"a": "alpha" * 1000, "b": "beta"})
    with serve_embedded(tmp_path / "registry") as served:
        text = "FROM scratch\nCOPY a /a\nCOPY b /b\n"
        built = kitchen.build(text, tags=[f"{served.host}/app:1"], push=True, insecure=True)
    sent = [e.id for e in kitchen.events if isinstance(e, Progress) and e.done and " " not in e.id]
    layers = [str(layer.descriptor.digest) for layer in built.image.layers]
    assert sorted(x for x in sent if x in layers) == sorted(layers)


@pytest.mark.parametrize("needed", [False, True])
def test_layer_of_a_cache_in_the_same_registry_is_mounted(
    kitchen: Kitchen, tmp_path: Path, needed: bool
) -> None:
    """Nothing of it passes through the client but what a step looks into, and that is not sent again."""
    kitchen.write({"a": "alpha" * 1000, "b": "beta"})
    text = "FROM scratch AS m\nCOPY a /a\nFROM m\n" + ("COPY --from=m /a /c\nCOPY b /b\n" if needed else "")
    with Registry(tmp_path / "registry") as registry, FaultProxy(registry.host) as proxy:
        where = [f"type=registry,ref={proxy.host}/cache:1,mode=max"]
        first = kitchen.build("FROM scratch AS m\nCOPY a /a\nFROM m\n", cache_to=where, insecure=True)
        proxy.exchanges.clear()
        kitchen.root = tmp_path / "fresh"
        found = [f"type=registry,ref={proxy.host}/cache:1"]
        tags = [f"{proxy.host}/app:1"]
        kitchen.build(text, cache_from=found, tags=tags, push=True, insecure=True)
        digest = first.image.layers[0].descriptor.digest
        assert len(proxy.seen("GET", f"/blobs/{digest}")) == needed
        (mount,) = [e for e in proxy.seen("POST", "mount=") if str(digest) in e.target]
        assert (mount.status, "from=cache" in mount.target) == (201, True)
        assert not proxy.seen("PUT|PATCH", f"digest={digest}")
        kitchen.build(text, tags=[f"{proxy.host}/later:1"], push=True, insecure=True)
        assert not proxy.seen("PUT|PATCH", f"digest={digest}")


def test_base_of_the_same_registry_is_mounted_while_steps_run(kitchen: Kitchen, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    kitchen.write({"a": "alpha" * 1000, "b": "beta"})
    with serve_embedded(tmp_path / "registry") as served:
        words = {"push": True, "insecure": True}
        base = kitchen.build("FROM scratch\nCOPY a /a\n", tags=[f"{served.host}/base:1"], **words)
        kitchen.root = tmp_path / "fresh"
        kitchen.build(
            f"FROM {served.host}/base:1\nCOPY --link b /b\n", tags=[f"{served.host}/app:1"], **words
        )
    moved = [e.id for e in kitchen.events if isinstance(e, Progress) and e.done]
    (layer,) = base.image.layers
    assert f"{layer.descriptor.digest} mounted" in moved
    assert str(layer.descriptor.digest) not in moved  # neither downloaded nor sent
