"""The cache database is memo: whatever became of its file, builds go on, and nothing wrong comes of it."""

from __future__ import annotations

import random
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from imagesmith.errors import StoreError
from imagesmith.events import Warned
from imagesmith.store import database
from imagesmith.store.cachedb import CacheDB, FileStamp, StepRecord
from tests.kitchen import Kitchen
from tests.kitchen import kitchen as kitchen

_COUNT = 25


def _record(n: int) -> StepRecord:
    return StepRecord(
        key=f"{n:064x}", base=f"{n % 7:064x}", parts={"op": {"n": n, "word": "w" * (n * 37 % 900)}},
        diff_id=f"sha256:{n:064x}", layer={"digest": f"sha256:{n + 1:064x}", "size": n}, created_ns=n,
    )  # fmt: skip


def _stamp(n: int) -> FileStamp:
    return FileStamp(1, n, 2, 3, 4)


def _fill(db: CacheDB) -> None:
    for n in range(_COUNT):
        db.put_steps([_record(n)], {_record(n).key: {"name": f"step {n}"}})
        db.put_tag(f"image:{n}", "linux/amd64", f"sha256:{n:064x}")
        db.put_blob_source(f"sha256:{n:064x}", f"r.example/{n}")
        db.put_fetch(f"https://r.example/{n}", {"digest": f"sha256:{n:064x}"})
        db.put_build(f"build {n}", {"seconds": n})
        db.put_parsed(f"{n:064x}", f"parsed {n}" * 40)
    db.put_file_digests([(_stamp(n), f"{n:064x}") for n in range(20 * _COUNT)])


def _check(db: CacheDB) -> None:
    """Each answer is what was written, or nothing."""
    for n in range(_COUNT):
        record = _record(n)
        assert db.step(record.key) in (record, None)
        assert db.note(record.key) in ({"name": f"step {n}"}, {})
        assert (db.tag(f"image:{n}", "linux/amd64") or (f"sha256:{n:064x}",))[0] == f"sha256:{n:064x}"
        assert db.blob_sources(f"sha256:{n:064x}") in ([f"r.example/{n}"], [])
        assert db.fetch(f"https://r.example/{n}") in ({"digest": f"sha256:{n:064x}"}, None)
        assert db.build(f"build {n}") in ({"seconds": n}, {})
        assert db.parsed(f"{n:064x}") in (f"parsed {n}" * 40, "")
    assert all(r == _record(r.created_ns) for r in db.all_steps())
    assert all(r == _record(r.created_ns) for n in range(7) for r in db.steps_like(f"{n:064x}"))
    digests = db.file_digests([_stamp(n) for n in range(20 * _COUNT)])
    assert all(digest == f"{stamp.ino:064x}" for stamp, digest in digests.items())


def _works(db: CacheDB) -> None:
    """It is a database for all that a build does, perhaps after what came first was lost."""
    _fill(db)
    _fill(db)
    assert [db.step(_record(n).key) for n in range(_COUNT)] == [_record(n) for n in range(_COUNT)]
    db.touch_steps([_record(1).key])
    db.drop_steps([_record(1).key])
    assert len(db.all_steps()) == _COUNT - 1
    assert db.drop_unused(-10) == _COUNT - 1


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of a database: `closed`, and `open` with its log beside it."""
    folder = tmp_path_factory.mktemp("filled")
    for name in ("closed", "open"):
        (folder / name).mkdir()
    db = CacheDB(folder / "cache.db")
    _fill(db)
    for path in folder.glob("cache.db*"):
        shutil.copy(path, folder / "open")
    db.close()
    shutil.copy(folder / "cache.db", folder / "closed")
    return folder


def _flip(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice([1, 1, 3, 50])):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _flip_head(data: bytearray, dice: random.Random) -> None:
    data[dice.randrange(min(len(data), 100))] ^= 1 << dice.randrange(8)


def _flip_schema(data: bytearray, dice: random.Random) -> None:
    data[dice.randrange(min(len(data), 4096))] ^= 1 << dice.randrange(8)


def _cut(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(len(data)) :]


def _cut_pages(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(len(data)) // 4096 * 4096 :]


def _blank(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(data)) // 4096 * 4096
    data[at : at + 4096] = bytes(len(data[at : at + 4096]))


def _noise(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(data))
    data[at : at + dice.randrange(9000)] = dice.randbytes(dice.randrange(9000))


def _swap(data: bytearray, dice: random.Random) -> None:
    a, b = (dice.randrange(len(data) // 4096) * 4096 if len(data) >= 4096 else 0 for _ in range(2))
    data[a : a + 4096], data[b : b + 4096] = data[b : b + 4096], data[a : a + 4096]


def _letters(data: bytearray, dice: random.Random) -> None:
    """Text that stays text: a digit becomes another."""
    places = [n for n, byte in enumerate(data) if byte in b"0123456789abcdef"]
    for _ in range(20):
        data[dice.choice(places)] = dice.choice(b"0123456789abcdef")


_DAMAGES: list[Callable[[bytearray, random.Random], None]] = [
    _flip, _flip_head, _flip_schema, _cut, _cut_pages, _blank, _noise, _swap, _letters,
]  # fmt: skip


@pytest.mark.parametrize("damage", _DAMAGES, ids=lambda f: f.__name__.lstrip("_"))
def test_damage_anywhere_costs_memory_and_nothing_else(
    filled: Path, tmp_path: Path, damage: Callable[[bytearray, random.Random], None]
) -> None:
    for seed in range(16):
        dice, folder = random.Random(f"{damage.__name__} {seed}"), tmp_path / str(seed)
        shutil.copytree(filled / ("open" if seed % 2 else "closed"), folder)
        path = dice.choice(sorted(folder.glob("cache.db*")))
        data = bytearray(path.read_bytes())
        damage(data, dice)
        path.write_bytes(data)
        told: list[str] = []
        db = CacheDB(folder / "cache.db", told.append)
        _check(db)
        _works(db)
        db.close()
        assert len(told) <= 1
        assert bool(told) == bool([*folder.glob("cache.damaged"), *folder.glob("cache.newer")])
        again = CacheDB(folder / "cache.db", told.append)
        _works(again)
        again.close()
        assert len(told) <= 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE steps SET diff_id = replace(diff_id, '1', '2')",
        "UPDATE steps SET parts = '[]'",
        "UPDATE steps SET layer = x'00ff'",
        "UPDATE tags SET digest = 'sha256:' || hex(randomblob(32))",
        "UPDATE files SET sha256 = 5",
        "UPDATE fetches SET record = 'null'",
        "UPDATE notes SET note = CAST(x'ff' AS TEXT)",
        "UPDATE parsed SET text = 'other'",
        "UPDATE builds SET summary = NULL WHERE 0 OR summary = ''",
        "DROP TABLE steps",
        "ALTER TABLE tags ADD COLUMN more TEXT",
        "ALTER TABLE files DROP COLUMN sha256",
        "DROP TABLE notes; CREATE VIEW notes AS SELECT 1 AS key, 2 AS note, 3 AS sum",
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'nothing' WHERE name = 'parsed'",
        "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'steps_by_base'",
        "PRAGMA user_version = 7",
        "PRAGMA user_version = -7",
        "PRAGMA user_version = 2",
    ],
)
def test_rows_and_tables_that_are_not_ours_are_not_used(filled: Path, tmp_path: Path, change: str) -> None:
    shutil.copytree(filled / "closed", tmp_path / "s")
    with sqlite3.connect(tmp_path / "s/cache.db") as raw:
        raw.executescript(change)
    raw.close()
    told: list[str] = []
    db = CacheDB(tmp_path / "s/cache.db", told.append)
    _check(db)
    _works(db)
    db.close()
    assert len(told) <= 1


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"no database at all" * 100], ids=["empty", "zeros", "text"]
)
def test_file_that_is_no_database_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cache.db").write_bytes(content)
    told: list[str] = []
    db = CacheDB(tmp_path / "cache.db", told.append)
    _works(db)
    db.close()
    assert len(told) == bool(content)
    assert (tmp_path / "cache.damaged").exists() == bool(content)


def test_file_of_a_later_version_is_kept_beside_the_new_one(filled: Path, tmp_path: Path) -> None:
    shutil.copy(filled / "closed/cache.db", tmp_path)
    with sqlite3.connect(tmp_path / "cache.db") as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    told: list[str] = []
    db = CacheDB(tmp_path / "cache.db", told.append)
    _works(db)
    db.close()
    (line,) = told
    assert "is of a later version (99): set aside as cache.newer" in line


def test_file_that_cannot_be_opened_is_left_and_another_stands_in(tmp_path: Path) -> None:
    (tmp_path / "cache.db").mkdir()
    told: list[str] = []
    db = CacheDB(tmp_path / "cache.db", told.append)
    _works(db)
    db.close()
    (line,) = told
    assert "nothing is taken from it, and nothing kept" in line
    assert (tmp_path / "cache.db").is_dir()
    assert [p.name for p in (tmp_path / "work").iterdir()] == ["lock"]


def test_file_that_is_locked_for_long_is_left_and_another_stands_in(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_WAIT_S", 0.2)
    shutil.copy(filled / "closed/cache.db", tmp_path)
    other = sqlite3.connect(tmp_path / "cache.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    told: list[str] = []
    db = CacheDB(tmp_path / "cache.db", told.append)
    _works(db)
    db.close()
    other.close()
    assert len(told) == 1
    kept = CacheDB(tmp_path / "cache.db")
    assert kept.step(_record(3).key) == _record(3)
    kept.close()


def test_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = CacheDB(tmp_path / "cache.db")

    def full(_: object) -> None:
        db._db._connection().execute("PRAGMA max_page_count = 1")
        db._db._connection().execute("CREATE TABLE more (x)")

    with pytest.raises(StoreError, match="database or disk is full"):
        db._db.write(full)
    assert not (tmp_path / "cache.damaged").exists()
    db.close()


def test_threads_go_over_to_the_new_file_together(filled: Path, tmp_path: Path) -> None:
    shutil.copy(filled / "closed/cache.db", tmp_path)
    told: list[str] = []
    db = CacheDB(tmp_path / "cache.db", told.append)
    opened, damaged = threading.Barrier(5, timeout=60), threading.Barrier(5, timeout=60)
    failed: list[BaseException] = []

    def use(n: int) -> None:
        try:
            db.step("")
            opened.wait()
            damaged.wait()
            _check(db)
            for m in range(20):
                db.put_parsed(f"{n} {m}", "text")
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    opened.wait()
    with sqlite3.connect(tmp_path / "cache.db") as raw:
        raw.execute("UPDATE steps SET diff_id = 'x'")
    raw.close()
    damaged.wait()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(told) == 1
    assert [db.parsed(f"{n} {m}") for n in range(4) for m in range(20)] == ["text"] * 80
    db.close()


def test_build_goes_on_with_one_warning_and_the_same_image(kitchen: Kitchen) -> None:
    kitchen.write({"a": "text"})
    text = "FROM scratch\nCOPY a /a\nENV A=b\n"
    first = kitchen.build(text)
    path = kitchen.root / "cache.db"
    path.write_bytes(path.read_bytes()[:5000])
    second = kitchen.build(text)
    (warning,) = [e.text for e in kitchen.events if isinstance(e, Warned)]
    assert warning.startswith("the cache database ")
    assert [x.diff_id for x in second.image.layers] == [x.diff_id for x in first.image.layers]
    kitchen.build(text)
    assert kitchen.executed == []
    assert not [e for e in kitchen.events if isinstance(e, Warned)]


def test_a_file_of_any_time_and_number_is_looked_up_and_not_remembered(tmp_path: Path) -> None:
    """On a tmpfs a file may have been changed in a year of nine digits; inodes have 64 bits."""
    db = CacheDB(tmp_path / "cache.db")
    odd = [
        FileStamp(1, 2, 3, 10**23, 5),
        FileStamp(1, 2, 3, -(10**23), 5),
        FileStamp(1, (1 << 64) - 1, 3, 4, 5),
    ]
    db.put_file_digests([(stamp, "a") for stamp in [*odd, _stamp(1)]])
    assert db.file_digests([*odd, _stamp(1)]) == {_stamp(1): "a"}
    db.close()
