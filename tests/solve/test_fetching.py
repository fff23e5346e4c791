"""Layers for a RUN are on their way while steps below it are executed, and each comes once."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.concurrency import Cancel
from imagesmith.errors import NetworkFault
from imagesmith.fs.entry import BytesContent, Entry
from imagesmith.layer.codecs import Codec
from imagesmith.solve import fetching
from imagesmith.solve.fetching import Fetching
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.solve.result import BuiltLayer, Result
from imagesmith.store.layers import Form, StoredLayer
from imagesmith.store.store import Store
from tests.registry.conftest import serve_embedded
from tests.registry.faultproxy import FaultProxy
from tests.support import IMAGESMITH, need_program


class Workshop:
    """Where nothing runs."""

    def form(self) -> Form:
        return "tar"

    def expect(self, layers: list[StoredLayer]) -> Form:
        raise AssertionError("it is no RUN")


class Far:
    """Layers that are elsewhere, and come when they may."""

    def __init__(self, folder: Path, count: int) -> None:
        self.may, self.asked, self.failing = threading.Event(), list[int](), False
        with Store(folder / "far") as far:
            writer = LayerWriter(far, Codec(), 1, None)
            made = [
                writer.write([Entry(f"f{n}", "f", size=1, content=BytesContent(b"x"))], Cancel())
                for n in range(count)
            ]
            self.blobs = [far.blobs.read(d.digest) for _, d in made]
        self.store = Store(folder / "near")
        layers = []
        for n, (diff_id, d) in enumerate(made):
            layer = self.store.layers.layer(diff_id, d.digest)
            layer.known_as(d.digest, lambda n=n: self._bring(n))  # type: ignore[misc]
            layers.append(BuiltLayer(diff_id, d, layer))
        self.result = Result(layers)

    def _bring(self, n: int) -> None:
        self.asked.append(n)
        assert self.may.wait(20)
        if self.failing:
            raise NetworkFault("gone")
        self.store.blobs.put(self.blobs[n])


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    far = Far(tmp_path, 3)
    yield far
    far.may.set()
    far.store.close()


def test_layers_come_meanwhile_and_are_there_in_the_end(far: Far) -> None:
    with Fetching() as ahead:
        assert ahead.expect(far.result, Workshop(), runs=False) == "tar"  # type: ignore[arg-type]
        assert all(layer.stored.absent for layer in far.result.layers)  # and it has returned
        top = far.result.plus(far.result.layers[0])
        ahead.expect(top, Workshop(), runs=False)  # type: ignore[arg-type]
        far.may.set()
    assert sorted(far.asked) == [0, 1, 2]
    for layer in far.result.layers:
        assert not layer.stored.unread
        assert (layer.stored.folder / "tar").exists()
    assert [e.path for e in far.result.view.walk()] == ["f0", "f1", "f2"]


def test_layer_that_does_not_come_is_told_by_who_needs_it(far: Far) -> None:
    far.failing = True
    far.may.set()
    with Fetching() as ahead:
        ahead.expect(far.result, Workshop(), runs=False)  # type: ignore[arg-type]
    with pytest.raises(NetworkFault, match="gone"):
        _ = far.result.view


def test_build_that_failed_does_not_wait_for_long(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_PATIENCE_S", 0.01)

    def build() -> None:
        with Fetching() as ahead:
            ahead.expect(far.result, Workshop(), runs=False)  # type: ignore[arg-type]
            raise KeyError

    with pytest.raises(KeyError):
        build()
    assert not far.may.is_set()


@pytest.mark.slow
def test_run_behind_a_changed_copy_fetches_each_layer_once(tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "src").mkdir(parents=True)
    shutil.copy(need_program("busybox"), context / "busybox")
    (context / "src" / "a").write_text("one")
    (context / "Dockerfile").write_text(
        'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
        "RUN mkdir /in && ln -s in /link && echo 1 > /in/x\nCOPY src /link/\nRUN cat /in/x /in/a > /all\n"
    )
    (tmp_path / "registry").mkdir()
    with serve_embedded(tmp_path / "registry") as served, FaultProxy(served.host) as proxy:

        def build(store: str, *words: str) -> str:
            proxy.exchanges.clear()
            done = subprocess.run(
                [*IMAGESMITH, "build", "--root", str(tmp_path / store), "--progress", "plain", "--insecure",
                 *words, str(context)],
                capture_output=True, text=True, env={**os.environ, "CI": ""}, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stderr

        place = f"type=registry,ref={proxy.host}/app:cache"
        build("one", "--cache-to", f"{place},mode=max")
        (context / "src" / "a").write_text("two")
        said = build("two", "--cache-from", place, "--output", f"type=local,dest={tmp_path / 'out'}")
        assert said.count("CACHED") == 3
        fetched = [e.target for e in proxy.seen("GET", "blobs/")]
        assert len(fetched) == len(set(fetched)) == 5  # the document, its table of many links, three layers
    assert (tmp_path / "out" / "all").read_text() == "1\ntwo"
    assert (tmp_path / "out" / "in" / "a").read_text() == "two"
