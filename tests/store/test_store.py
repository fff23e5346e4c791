"""A store is whole whatever is killed, and safe in the hands of several processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.errors import DigestMismatch, LimitExceeded, LockTimeout, NotFound, StoreError
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import ImageRef
from imagesmith.store.cachedb import CacheDB, FileStamp, StepRecord
from imagesmith.store.store import Store
from tests.support import PROJECT


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    with Store(root) as store:
        yield store


def image(store: Store, text: bytes = b"layer") -> Descriptor:
    """An image of one layer, not named."""
    layer, config = store.blobs.put(text), store.blobs.put(b'{"n":"%b"}' % text)
    manifest = Manifest.build(
        Descriptor(
            media_type="application/vnd.oci.image.config.v1+json",
            digest=config,
            size=store.blobs.size(config),
        ),
        [Descriptor(media_type="application/vnd.oci.image.layer.v1.tar", digest=layer, size=len(text))],
    )
    store.blobs.put(manifest.raw)
    return manifest.descriptor()


def step(store: Store, key: str, layer: bytes) -> StepRecord:
    digest = store.blobs.put(layer)
    record = StepRecord(
        key=key, base="b", parts={}, diff_id=str(digest), created_ns=1,
        layer={"mediaType": "x", "digest": str(digest), "size": len(layer)},
    )  # fmt: skip
    store.cache.put_steps([record])
    return record


def run(code: str, root: Path) -> subprocess.Popen[str]:
    """Python in another process, with a store as `store`; it says a line when it is ready."""
    start = "import os, sys; from pathlib import Path; from imagesmith.store.store import Store\n"
    start += f"store = Store(Path({str(root)!r}))\n"
    return subprocess.Popen(
        [sys.executable, "-c", start + code],
        cwd=PROJECT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


# --- blobs -------------------------------------------------------------------------------------


def test_writer_that_was_killed_leaves_what_prune_takes(store: Store, root: Path) -> None:
    writing = "w = store.blobs.writer(); w.write(b'x' * 5000); print('ready', flush=True); sys.stdin.read()"
    with run(writing, root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert len(list(store.blobs.ingest.iterdir())) == 1
        assert store.blobs.sweep_ingest() == 0, "a writer that lives keeps its file"
        process.send_signal(signal.SIGKILL)
    assert store.prune().freed_bytes == 5000
    assert list(store.blobs.ingest.iterdir()) == []
    assert store.blobs.digests() == []


def test_blob_that_is_not_what_was_promised_is_thrown_away(store: Store) -> None:
    with store.blobs.writer() as w:
        w.write(b"abcd")
        with pytest.raises(DigestMismatch, match="expected 3 bytes"):
            w.commit(digest_bytes(b"abc"), 3)
    assert list(store.blobs.ingest.iterdir()) == []
    assert store.blobs.digests() == []


def test_damaged_blob_is_named_with_its_path(store: Store) -> None:
    digest = store.blobs.put(b"data")
    path = store.blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"dat!")
    with pytest.raises(DigestMismatch, match=str(path)):
        store.blobs.read(digest)


def test_large_blob_is_not_called_damaged(store: Store) -> None:
    digest = store.blobs.put(b"data")
    assert store.blobs.read(digest, 4) == b"data"
    with pytest.raises(LimitExceeded, match="more than 3 bytes"):
        store.blobs.read(digest, 3)


def test_same_blob_by_many_writers_is_one(store: Store) -> None:
    writers = [store.blobs.writer() for _ in range(5)]
    for w in writers:
        w.write(b"same")
    assert {w.commit() for w in writers} == {(digest_bytes(b"same"), 4)}
    assert len(store.blobs.digests()) == 1


# --- names -------------------------------------------------------------------------------------


def test_name_moves_from_image_to_image_and_is_taken_away(store: Store) -> None:
    one, two, ref = image(store, b"1"), image(store, b"2"), ImageRef.parse("app:v1")
    store.name(ref, one)
    store.name(ref, two)
    store.name(ImageRef.parse("app"), one)
    assert [(str(name), d.digest) for name, d in store.images()] == [
        ("docker.io/library/app:latest", one.digest), ("docker.io/library/app:v1", two.digest),
    ]  # fmt: skip
    found = store.find(ref)
    assert found is not None
    assert found.digest == two.digest
    assert store.unname(ref).digest == two.digest
    assert store.find(ref) is None
    with pytest.raises(NotFound, match="no image named app:v1"):
        store.unname(ref)


def test_names_of_many_processes_are_all_kept(store: Store, root: Path) -> None:
    d = image(store)
    code = f"""
from imagesmith.oci.names import ImageRef
from imagesmith.oci.model import parse_document
from imagesmith.oci.digest import Digest
d = parse_document(store.blobs.read(Digest.parse({str(d.digest)!r}))).descriptor()
for n in range(10): store.name(ImageRef.parse(f"p{{os.getpid()}}:v{{n}}"), d)
"""
    processes = [run(code, root) for _ in range(3)]
    for process in processes:
        process.communicate()
    assert [p.returncode for p in processes] == [0, 0, 0]
    assert len(store.images()) == 30


def test_damaged_index_of_names_is_told(store: Store, root: Path) -> None:
    (root / "index.json").write_bytes(b'{"manifests": [')
    with pytest.raises(StoreError, match=r"index\.json is damaged"):
        store.images()


def test_store_is_an_image_layout(store: Store, root: Path) -> None:
    d = image(store)
    store.name(ImageRef.parse("r.example/app:v1"), d)
    assert json.loads((root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((root / "index.json").read_bytes())
    assert index["manifests"][0]["digest"] == str(d.digest)
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "v1"


# --- prune -------------------------------------------------------------------------------------


def test_prune_keeps_what_names_and_steps_reach(store: Store) -> None:
    kept, lost = image(store, b"kept"), image(store, b"lost")
    store.name(ImageRef.parse("kept"), kept)
    cached = step(store, "k", b"cached")
    gone = step(store, "g", b"gone")
    store.blobs.remove(Digest.parse(gone.diff_id))
    (store.work / "snap-x").mkdir(parents=True)
    pruned = store.prune()
    assert (pruned.blobs, pruned.steps) == (3, 1)
    assert store.blobs.has(kept.digest)
    assert not store.blobs.has(lost.digest)
    assert store.blobs.has(Digest.parse(cached.diff_id))
    assert not store.work.exists()
    everything = store.prune(everything=True)
    assert (everything.blobs, everything.steps) == (1, 1)
    assert len(store.blobs.digests()) == 3


def test_prune_does_not_begin_while_another_process_uses_the_store(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = store._hold
    monkeypatch.setattr(store, "_hold", lambda mode, timeout_s: hold(mode, 0.0))
    with run("print('ready', flush=True); sys.stdin.read()", root) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        with pytest.raises(LockTimeout, match="in use by another imagesmith"):
            store.prune()
        process.kill()
    assert store.prune().blobs == 0, "the lock of a killed process is free"


# --- the folder --------------------------------------------------------------------------------


def test_folder_that_cannot_be_a_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot use the store"):
        Store(tmp_path / "file")
    with pytest.raises(StoreError, match="cannot use the store"):
        Store(tmp_path / "file" / "below")


def test_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(StoreError, match="belongs to another user") as e:
        Store(tmp_path)
    assert "--root" in str(e.value.message) + str(e.value.hint)


def test_store_is_private(store: Store, root: Path) -> None:
    assert root.stat().st_mode & 0o777 == 0o700


# --- the cache database ------------------------------------------------------------------------


def test_first_builds_that_begin_together_share_the_new_database(root: Path) -> None:
    root.mkdir()
    together = multiprocessing.get_context("fork").Barrier(4)
    for n in range(15):
        path, children = root / f"{n}.db", []
        for _ in range(4):
            pid = os.fork()
            if pid == 0:
                together.wait()
                try:
                    CacheDB(path).put_fetch(str(os.getpid()), {"n": n})
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            children.append(pid)
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0, 0]
        assert all(CacheDB(path).fetch(str(pid)) == {"n": n} for pid in children)


def test_step_is_remembered_over_its_older_self(store: Store) -> None:
    first = step(store, "k", b"1")
    second = step(store, "k", b"2")
    found = store.cache.step("k")
    assert found == second
    assert found != first
    assert store.cache.knows_base("b")
    assert not store.cache.knows_base("other")
    assert [s.key for s in store.cache.steps_like("b")] == ["k"]


def test_stamp_that_differs_in_anything_knows_no_digest(store: Store) -> None:
    stamp = FileStamp(1, 2, 3, 4, 5)
    store.cache.put_file_digests([(stamp, "d")])
    assert store.cache.file_digest(stamp) == "d"
    for other in [(9, 2, 3, 4, 5), (1, 9, 3, 4, 5), (1, 2, 9, 4, 5), (1, 2, 3, 9, 5), (1, 2, 3, 4, 9)]:
        assert store.cache.file_digest(FileStamp(*other)) == ""


def test_database_of_two_processes_takes_both(store: Store, root: Path) -> None:
    code = "\nfor n in range(50): store.cache.put_tag(f'{os.getpid()}-{n}', '', 'x')\n"
    processes = [run(code, root) for _ in range(3)]
    for process in processes:
        process.communicate()
    assert [p.returncode for p in processes] == [0, 0, 0]
    with sqlite3.connect(root / "cache.db") as db:
        assert db.execute("SELECT count(*) FROM tags").fetchone() == (150,)
