"""What is read of a blob while it arrives is the blob, however it comes, or the reason why it does not."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.concurrency import Cancel
from imagesmith.errors import DigestMismatch, ImagesmithError, NetworkFault
from imagesmith.fs.entry import BytesContent, Entry
from imagesmith.layer.codecs import Codec
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.store import arriving
from imagesmith.store.layers import StoredLayer
from imagesmith.store.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("store")) as store:
        yield store


@given(st.binary(max_size=5000), st.integers(1, 700), st.integers(1, 700), st.sampled_from([1, 999, 9999]))
def test_any_pieces_are_read_in_any_pieces(
    store: Store, data: bytes, written: int, wanted: int, step: int
) -> None:
    digest, elsewhere = digest_bytes(data), len(data) % 3 == 0

    def fetch() -> None:
        with store.blobs.writer("sha256", None if elsewhere else digest) as out:
            for at in range(0, len(data), written):
                out.write(data[at : at + written])
            out.commit(digest, len(data))

    with patch.object(arriving, "_STEP", step), store.blobs.arriving(digest, fetch) as reader:
        found = b"".join(iter(lambda: reader.read(wanted) or b"", b""))
    assert found == data
    assert store.blobs.has(digest)
    assert not store.blobs.readers
    store.blobs.remove(digest)


def test_bytes_are_there_before_the_last_one_came(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "_STEP", 50)
    data, go = bytes(range(256)), threading.Event()
    digest = digest_bytes(data)

    def fetch() -> None:
        with store.blobs.writer("sha256", digest) as out:
            out.write(data[:100])
            assert go.wait(20)
            out.write(data[100:])
            out.commit(digest, len(data))

    with store.blobs.arriving(digest, fetch) as reader:
        assert reader.read(1000) == data[:100]
        assert not store.blobs.has(digest)
        go.set()
        assert b"".join(iter(lambda: reader.read(1000) or b"", b"")) == data[100:]
    store.blobs.remove(digest)


def _layer(folder: Path) -> tuple[Digest, Digest, bytes]:
    noise = random.Random(1).randbytes(300_000)
    with Store(folder / "far") as far:
        entries = [Entry("a", "f", size=len(noise), content=BytesContent(noise)), Entry("b", "d", 0o755)]
        diff_id, d = LayerWriter(far, Codec(), 1, None).write(entries, Cancel())
        return diff_id, d.digest, far.blobs.read(d.digest)


@pytest.mark.parametrize("how", ["whole", "cut", "changed", "fails", "another"])
def test_layer_is_made_of_what_arrives_whole_and_of_nothing_else(tmp_path: Path, how: str) -> None:
    diff_id, blob, data = _layer(tmp_path)
    sent = {"cut": data[:150_000], "changed": data[:90_000] + b"?" + data[90_001:], "another": b"x"}.get(
        how, data
    )
    calls: list[int] = []
    with Store(tmp_path / "near") as near:

        def fetch() -> None:
            calls.append(1)
            with near.blobs.writer("sha256", blob) as out:
                for at in range(0, len(sent), 7_000):
                    if how == "fails" and at > 100_000:
                        raise NetworkFault("it broke")
                    out.write(sent[at : at + 7_000])
                out.commit(blob, len(data))

        layer = StoredLayer(near.layers, diff_id)
        layer.known_as(blob, fetch)
        if how == "whole":
            layer.unpack("tar")
            assert sorted(layer.index().entries) == ["a", "b"]
            assert (layer.folder / "tar").exists()
            assert calls == [1]
            return
        with pytest.raises(ImagesmithError) as e:
            layer.unpack("tar")
        assert isinstance(e.value, NetworkFault if how == "fails" else DigestMismatch)
        assert layer.unread
        assert not (layer.folder / "tar").exists()
        assert not near.blobs.has(blob)
        assert not near.blobs.readers
