"""`imagesmith cache`: list, prune, carry; and the archive that somebody else may have made."""

from __future__ import annotations

import fcntl
import io
import json
import os
import tarfile
import time
from pathlib import Path

import pytest

from imagesmith.cli.main import main
from imagesmith.errors import ImagesmithError
from imagesmith.interfaces import Place
from imagesmith.store.store import Store
from imagesmith.worker.cachefolders import (
    export_folders,
    find,
    folders,
    import_folders,
    note_use,
    prune_folders,
)

KEYS = ["a" * 32, "b" * 32, "c" * 31 + "0-1"]
#: Where files keep the owner of whoever runs the tests.
PLACE = Place(ids="root" if os.geteuid() == 0 else "own", mounts=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with three caches: `npm` of 1000 kB a day old, `pip` of 100 kB a week old, and a fresh `go`."""
    with Store(tmp_path / "store") as made:
        for key, id_, size, age_s in (
            (KEYS[0], "npm", 1_000_000, 86400),
            (KEYS[1], "pip", 100_000, 7 * 86400),
            (KEYS[2], "go", 0, 0),
        ):
            folder = made.cache_mounts / key
            (folder / "data" / "deep").mkdir(parents=True)
            (folder / "data" / "deep" / "f").write_bytes(os.urandom(size))
            (folder / "lock").touch()
            note_use(folder, id_, "")
            then = time.time() - age_s - 10
            os.utime(folder / "about.json", (then, then))
    return tmp_path / "store"


def ids(root: Path) -> list[str]:
    """What is there, last used first."""
    with Store(root) as s:
        return [f.id for f in folders(s)]


def test_list_has_ids_sizes_and_ages(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "ls", "--root", str(store)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", "go", "npm", "pip"]
    assert "1 d ago" in lines[2]
    assert main(["cache", "ls", "--root", str(store), "--json"]) == 0
    npm = json.loads(capsys.readouterr().out)[1]
    assert (npm["id"], npm["key"], npm["inUse"]) == ("npm", KEYS[0], False)
    assert 1_000_000 <= npm["size"] < 1_100_000


@pytest.mark.parametrize("how", [fcntl.LOCK_SH, fcntl.LOCK_EX], ids=["shared", "alone"])
def test_list_tells_what_is_in_use_and_locks_nothing(
    store: Path, monkeypatch: pytest.MonkeyPatch, how: int
) -> None:
    (store / "cachemounts" / KEYS[1] / "lock").unlink()
    with Store(store) as opened, (store / "cachemounts" / KEYS[0] / "lock").open("rb") as lock:
        fcntl.flock(lock, how)

        def flock(*_: object) -> None:
            raise AssertionError("a build would meet it")

        monkeypatch.setattr(fcntl, "flock", flock)
        assert {f.id: f.in_use for f in folders(opened)} == {"go": False, "npm": True, "pip": False}
    monkeypatch.undo()
    assert not (store / "cachemounts" / KEYS[1] / "lock").exists()


def test_cache_whose_description_is_damaged_is_listed_without_a_name(store: Path) -> None:
    (store / "cachemounts" / KEYS[0] / "about.json").write_text('["no", "object"]')
    with Store(store) as opened:
        assert sorted(f.id for f in folders(opened)) == ["", "go", "pip"]


def test_use_is_noted(store: Path) -> None:
    with Store(store) as s:
        note_use(s.cache_mounts / KEYS[1], "pip", "")
    assert ids(store)[0] == "pip"


def test_prune_by_age(store: Path) -> None:
    with Store(store) as s:
        gone = prune_folders(s, folders(s), time.time(), unused_s=2 * 86400)
    assert [f.id for f in gone] == ["pip"]
    assert ids(store) == ["go", "npm"]


def test_prune_by_size_takes_the_longest_unused_first(store: Path) -> None:
    with Store(store) as s:
        gone = prune_folders(s, folders(s), time.time(), most_bytes=1_050_000)
        assert [f.id for f in gone] == ["pip"]
        gone = prune_folders(s, folders(s), time.time(), most_bytes=1_000)
        assert [f.id for f in gone] == ["npm"]
    assert ids(store) == ["go"]


def test_prune_by_name_and_key_and_refusals(store: Path) -> None:
    with Store(store) as s:
        assert [f.id for f in find(s, ["npm", KEYS[1][:8]])] == ["npm", "pip"]
        with pytest.raises(ImagesmithError, match="no cache yarn"):
            find(s, ["yarn"])


def _export(root: Path, *names: str) -> bytes:
    out = io.BytesIO()
    with Store(root) as s:
        export_folders(find(s, names), PLACE, lambda data: out.write(data) and None)
    return out.getvalue()


def _import(root: Path, data: bytes) -> list[str]:
    with Store(root) as s, s.alone():
        return import_folders(s, PLACE, io.BytesIO(data))


def test_caches_come_over_with_modes_links_and_times(store: Path, tmp_path: Path) -> None:
    data = store / "cachemounts" / KEYS[0] / "data"
    (data / "tool").write_text("#!/bin/sh\n")
    (data / "tool").chmod(0o4750)
    os.utime(data / "tool", (1e9, 1e9))
    (data / "link").symlink_to("/etc/passwd")
    os.link(data / "tool", data / "twin")
    (data / "deep").chmod(0o700)
    assert _import(tmp_path / "other", _export(store)) == sorted(KEYS)
    there = tmp_path / "other" / "cachemounts" / KEYS[0] / "data"
    st = (there / "tool").stat()
    assert (st.st_mode & 0o7777, st.st_mtime, st.st_nlink) == (0o4750, 1e9, 2)
    assert (there / "link").readlink() == Path("/etc/passwd")
    assert (there / "deep").stat().st_mode & 0o7777 == 0o700
    assert (there / "deep" / "f").read_bytes() == (data / "deep" / "f").read_bytes()
    assert ids(tmp_path / "other") == ["go", "npm", "pip"]


def test_import_takes_compressed_archives_and_replaces_what_is_there(store: Path, tmp_path: Path) -> None:
    import gzip

    archive = gzip.compress(_export(store, "pip"))
    (store / "cachemounts" / KEYS[1] / "data" / "later").touch()
    assert _import(store, archive) == [KEYS[1]]
    assert not (store / "cachemounts" / KEYS[1] / "data" / "later").exists()
    assert len(ids(store)) == 3


def test_cache_in_use_is_not_exported(store: Path) -> None:
    import fcntl

    with (store / "cachemounts" / KEYS[0] / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with pytest.raises(ImagesmithError, match="npm is in use"):
            _export(store)


def _tar(*members: tuple[str, bytes, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
            else:
                info.linkname = text
                tar.addfile(info)
    return out.getvalue()


K, ABOUT = KEYS[0], (f"{KEYS[0]}/about.json", tarfile.REGTYPE, '{"id":"x"}')


@pytest.mark.parametrize(
    "members",
    [
        (ABOUT, (f"{K}/../../escaped", tarfile.REGTYPE, "x")),
        (ABOUT, ("/escaped", tarfile.REGTYPE, "x")),
        (ABOUT, (f"{K}/lock", tarfile.SYMTYPE, "/tmp")),
        (ABOUT, (f"{K}/data", tarfile.SYMTYPE, "/")),
        ((f"{K}/about.json", tarfile.SYMTYPE, "/etc/passwd"),),
        ((f"{K}/about.json", tarfile.REGTYPE, "[]"),),
        ((f"{K}/data", tarfile.DIRTYPE, ""),),
        (ABOUT, (f"{K}/data/h", tarfile.LNKTYPE, f"{'d' * 32}/data/f")),
        (("else", tarfile.DIRTYPE, ""),),
    ],
)
def test_archive_that_is_hostile_or_of_something_else_is_refused(
    tmp_path: Path, members: tuple[tuple[str, bytes, str], ...]
) -> None:
    with pytest.raises(ImagesmithError):
        _import(tmp_path / "store", _tar(*members))
    assert ids(tmp_path / "store") == []
    assert not (tmp_path / "escaped").exists()
    assert sorted(p.name for p in (tmp_path / "store" / "cachemounts").iterdir()) == []


def test_link_out_of_the_data_leads_no_file_out(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    data = _tar(
        ABOUT,
        (f"{K}/data", tarfile.DIRTYPE, ""),
        (f"{K}/data/l", tarfile.SYMTYPE, str(out)),
        (f"{K}/data/l/f", tarfile.REGTYPE, "x"),
    )
    try:
        _import(tmp_path / "store", data)
    except ImagesmithError:
        pass
    assert list(out.iterdir()) == []
