"""Blobs on their way: what is interrupted leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.errors import DigestMismatch
from imagesmith.oci.digest import digest_bytes
from imagesmith.store.store import Store


@pytest.mark.parametrize("where", ["fcntl.flock", "imagesmith.store.disk.StoreFile"])
def test_interrupt_while_a_file_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with Store(tmp_path / "store") as store:
        monkeypatch.setattr(where, interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.blobs.put(b"bytes")
        monkeypatch.undo()
    assert list((tmp_path / "store/ingest").iterdir()) == []


@pytest.mark.parametrize("where", ["os.fsync", "os.fchmod", "imagesmith.store.reserve.keep"])
def test_interrupt_while_the_store_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupt)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "store")
    monkeypatch.undo()
    assert list((tmp_path / "store/ingest").iterdir()) == []


def test_blob_whose_maker_hashes_gets_the_name_that_it_is_told(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        with store.blobs.writer(hashes=False) as blob:
            blob.write(b"bytes")
            blob.commit(digest_bytes(b"bytes"), 5)
        with store.blobs.writer(hashes=False) as blob:
            blob.write(b"byt")
            with pytest.raises(DigestMismatch):
                blob.commit(digest_bytes(b"bytes"), 5)
        assert store.blobs.path(digest_bytes(b"bytes")).read_bytes() == b"bytes"
