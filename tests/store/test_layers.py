"""What is derived from a layer: found, mended where it is damaged, made by one and read by others."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.concurrency import Cancel
from imagesmith.errors import DigestMismatch, NotFound, StoreError
from imagesmith.fs.entry import Entry
from imagesmith.fs.view import View
from imagesmith.layer.codecs import Codec
from imagesmith.oci.digest import Digest
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.store.layers import StoredLayer
from imagesmith.store.store import Store


class Bytes:
    """Content in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.data)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def put(store: Store) -> tuple[Digest, Digest]:
    """A layer of one of each; returns its diff_id and its blob."""
    entries = [
        Entry("d", "d", 0o755, 1, 2, mtime_ns=5 * 10**9 + 7),
        Entry("d/a", "f", 0o644, size=3, mtime_ns=1, content=Bytes(b"abc")),
        Entry("d/b", "h", link="d/a"),
        Entry("d/gone", "w"),
        Entry("d/null", "c", 0o666, rdev=(1, 3)),
        Entry("d/\udcff", "l", 0o777, link="é"),
        Entry("ping", "f", 0o755, capability=bytes(20)),
    ]
    diff_id, descriptor = LayerWriter(store, Codec(), 1, None).write(entries, Cancel())
    return diff_id, descriptor.digest


def again(store: Store, diff_id: Digest, blob: Digest | None) -> StoredLayer:
    """The layer as another process finds it."""
    return StoredLayer(store.layers, diff_id, blob)


def rows(layer: StoredLayer) -> list[tuple[object, ...]]:
    return [
        (e.path, e.kind, e.mode, e.uid, e.gid, e.size, e.link, e.rdev, e.capability, e.mtime_ns)
        for e in layer.entries()
    ]


def read(layer: StoredLayer, path: str) -> bytes:
    e = View([layer.index()]).get(path)
    assert e is not None
    assert e.content is not None
    with e.content.open() as f:
        return f.read(e.size)


def test_index_is_the_same_from_the_writer_and_from_the_blob(store: Store) -> None:
    diff_id, blob = put(store)
    written = again(store, diff_id, blob)
    kept = rows(written)
    assert kept[0] == ("d", "d", 0o755, 1, 2, 0, "", (0, 0), None, 5 * 10**9)
    assert rows(store.layers.layer(diff_id, blob)) == kept
    store.layers.remove(diff_id)
    assert rows(again(store, diff_id, blob)) == kept


def test_index_has_the_times_of_the_tar_also_under_a_clamp_and_just_after_it_was_written(
    store: Store,
) -> None:
    entries = [Entry("late", "p", 0o644, mtime_ns=9 * 10**9 + 1), Entry("old", "p", 0o644, mtime_ns=-1)]
    diff_id, descriptor = LayerWriter(store, Codec(), 1, 7).write(entries, Cancel())
    layer = store.layers.layer(diff_id, descriptor.digest)
    assert [e.mtime_ns for e in layer.index().entries.values()] == [7 * 10**9, -(10**9)]
    assert [e.mtime_ns for e in layer.entries()] == [7 * 10**9, -(10**9)]


def test_contents_are_read_by_every_name_with_and_without_the_tar(store: Store) -> None:
    diff_id, blob = put(store)
    layer = again(store, diff_id, blob)
    assert (read(layer, "d/a"), read(layer, "d/b")) == (b"abc", b"abc")
    assert (layer.folder / "tar").exists()
    assert read(again(store, diff_id, None), "d/a") == b"abc"


def test_contents_are_read_from_the_mountable_form(store: Store) -> None:
    diff_id, blob = put(store)
    layer = again(store, diff_id, blob)
    assert layer.erofs() == layer.folder / "erofs"
    assert not (layer.folder / "tar").exists()
    assert read(again(store, diff_id, None), "d/a") == b"abc"


@pytest.mark.parametrize("whole", [True, False])
def test_mountable_form_of_an_older_version_is_renewed(store: Store, whole: bool) -> None:
    diff_id, blob = put(store)
    path = again(store, diff_id, blob).erofs()
    assert path is not None
    today = path.read_bytes()
    older = bytearray(today)
    older[1024 + 48 : 1024 + 80] = bytes(32)  # neither uuid nor name
    path.write_bytes(older if whole else older[:4000])
    # one that is whole is renewed from the tar in it, without the blob
    assert again(store, diff_id, None if whole else blob).erofs() == path
    assert path.read_bytes() == today


def test_contents_are_read_from_a_tree_but_never_through_a_link_out_of_it(
    store: Store, tmp_path: Path
) -> None:
    diff_id, blob = put(store)
    layer = again(store, diff_id, blob)
    (layer.tree / "d").mkdir(parents=True)
    (layer.tree / "d" / "a").write_bytes(b"xyz")
    assert read(layer, "d/a") == b"xyz"
    (tmp_path / "secret").write_bytes(b"key")
    (layer.tree / "d" / "a").unlink()
    (layer.tree / "d" / "a").symlink_to(tmp_path / "secret")
    assert read(layer, "d/a") == b"abc"


@pytest.mark.parametrize(
    "damage",
    [lambda b: b"", lambda b: b[:-3], lambda b: b[:40], lambda b: bytes(len(b)), lambda b: b"[]\n" + b],
    ids=["empty", "cut", "short", "zeros", "other"],
)
def test_torn_index_is_made_again_from_the_blob(store: Store, damage: object) -> None:
    diff_id, blob = put(store)
    layer = again(store, diff_id, blob)
    kept = rows(layer)
    path = layer.folder / "index"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert rows(again(store, diff_id, blob)) == kept
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="is damaged"):
        rows(again(store, diff_id, None))


def test_index_that_makes_no_sense_is_told_with_what_to_do(store: Store) -> None:
    diff_id, blob = put(store)
    layer = again(store, diff_id, blob)
    path = layer.folder / "index"
    path.write_bytes(path.read_bytes().replace(b'"f"', b"", 1))
    with pytest.raises(StoreError) as e:
        rows(layer)
    assert str(path) in e.value.message
    assert e.value.hint == "remove its folder and build again"


def test_blob_that_is_not_the_layer_is_found(store: Store) -> None:
    diff_id, blob = put(store)
    other = Digest("sha256", "0" * 64)
    with pytest.raises(DigestMismatch, match=f"its diff_id is {diff_id}, not {other}"):
        again(store, other, blob).index()
    assert not (store.layers.folder(other) / "index").exists()
    assert list(store.blobs.ingest.iterdir()) == []
    with pytest.raises(NotFound):
        again(store, other, None).index()


def test_layer_whose_links_leave_it_has_no_mountable_form(store: Store) -> None:
    diff_id, descriptor = LayerWriter(store, Codec(), 1, None).write([Entry("b", "h", link="a")], Cancel())
    layer = again(store, diff_id, descriptor.digest)
    assert layer.erofs() is None
    assert not layer.index().stands_alone
    assert list(store.blobs.ingest.iterdir()) == []


def test_removal_that_was_cut_short_is_finished(store: Store) -> None:
    diff_id, _ = put(store)
    folder = store.layers.folder(diff_id)
    folder.rename(folder.with_name(f"{folder.name}.gone-1"))
    assert store.layers.diff_ids() == []
    store.layers.sweep()
    assert list(store.layers.root.iterdir()) == []


def test_removal_passes_folders_that_are_closed(store: Store) -> None:
    diff_id, _ = put(store)
    closed = store.layers.folder(diff_id) / "tree" / "closed" / "in"
    closed.mkdir(parents=True)
    (closed / "x").touch()
    os.chmod(closed, 0)
    os.chmod(closed.parent, 0o500)
    store.layers.remove(diff_id)
    assert list(store.layers.root.iterdir()) == []


# --- one diff_id, several blobs ----------------------------------------------------------------


def two_blobs(store: Store) -> tuple[Digest, dict[Digest, bytes]]:
    """A layer's diff_id and its blobs in two compressions, which the store does not have."""
    blobs = {}
    for codec in (Codec.parse("gzip", ""), Codec.parse("uncompressed", "")):
        entries = [Entry("a", "f", 0o644, size=3, mtime_ns=1, content=Bytes(b"abc"))]
        diff_id, descriptor = LayerWriter(store, codec, 1, None).write(entries, Cancel())
        blobs[descriptor.digest] = store.blobs.read(descriptor.digest)
        store.blobs.remove(descriptor.digest)
    store.layers.remove(diff_id)
    return diff_id, blobs


def test_each_blob_of_a_layer_is_brought_by_its_own_fetch(store: Store) -> None:
    diff_id, blobs = two_blobs(store)
    for digest, data in blobs.items():
        store.layers.layer(diff_id, digest).known_as(digest, lambda data=data: store.blobs.put(data))
    one, two = blobs
    layer = store.layers.layer(diff_id, None)
    assert layer.bring(two)
    assert not store.blobs.has(one)
    assert read(layer, "a") == b"abc"
    assert layer.bring(one)
    assert store.blobs.read(one) == blobs[one]


def test_layer_is_read_of_whichever_of_its_blobs_is_there(store: Store) -> None:
    diff_id, blobs = two_blobs(store)
    for here in blobs:
        store.blobs.put(blobs[here])
        layer = StoredLayer(store.layers, diff_id)
        for digest in blobs:
            layer.known_as(digest)
        assert read(layer, "a") == b"abc"
        store.blobs.remove(here)
        store.layers.remove(diff_id)
    with pytest.raises(NotFound, match="the blob of layer"):
        StoredLayer(store.layers, diff_id, next(iter(blobs))).index()


def test_threads_that_know_a_layer_by_different_blobs_all_read_it(store: Store) -> None:
    diff_id, blobs = two_blobs(store)
    wrong: list[BaseException] = []
    for _ in range(20):
        begin = threading.Barrier(4)

        def use(digest: Digest, begin: threading.Barrier = begin) -> None:
            begin.wait()
            try:
                layer = store.layers.layer(diff_id, digest)
                layer.known_as(digest, lambda: store.blobs.put(blobs[digest]))
                assert read(layer, "a") == b"abc"
                assert layer.bring(digest)
                assert store.blobs.has(digest)
            except BaseException as e:  # told by the test's own thread
                wrong.append(e)

        threads = [threading.Thread(target=use, args=(digest,)) for digest in (*blobs, *blobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        for digest in blobs:
            store.blobs.remove(digest)
        store.layers.remove(diff_id)
        store.layers._open.clear()


# --- what another version kept -----------------------------------------------------------------


def test_what_another_version_derived_is_thrown_away_once(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with Store(root) as store:
        diff_id, blob = put(store)
        (store.layers.folder(diff_id) / "tree").mkdir()
    with Store(root) as store:
        assert (store.layers.folder(diff_id) / "tree").exists()
    (root / "layers.format").unlink()
    with Store(root) as store:
        assert list(store.layers.root.iterdir()) == []
        assert rows(store.layers.layer(diff_id, blob))[0][0] == "d"
        assert (store.layers.folder(diff_id) / "index").exists()
    with Store(root) as store:
        assert (store.layers.folder(diff_id) / "index").exists()


def test_what_another_version_has_in_use_is_set_aside_only(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with Store(root) as other:
        diff_id, _ = put(other)
        (root / "layers.format").write_bytes(b"1\n")
        with Store(root) as store:
            assert store.layers.diff_ids() == []
            assert [p.name[:64] for p in store.layers.root.iterdir()] == [diff_id.hex]


def test_processes_that_open_an_old_store_at_once_agree(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with Store(root) as store:
        put(store)
    (root / "layers.format").unlink()
    program = (
        "import sys; from pathlib import Path; from imagesmith.store.store import Store\n"
        "with Store(Path(sys.argv[1])) as s: s.layers.folder(s.blobs.digests()[0]).mkdir(exist_ok=True)"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(root)]) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    with Store(root) as store:
        assert store.layers.diff_ids() == [store.blobs.digests()[0]]
