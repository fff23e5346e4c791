"""RUN --mount=type=cache: which folder a mount gets, who waits for whom, and what a new one begins with."""

from __future__ import annotations

import json
import os
import stat
import tarfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from imagesmith.concurrency import Cancel
from imagesmith.context.local import LocalTree
from imagesmith.dockerfile.mounts import Mount
from imagesmith.errors import Cancelled, MissingSource, SandboxError
from imagesmith.interfaces import Place
from imagesmith.store.store import Store
from imagesmith.worker.cachemounts import CacheMounts, Seed
from tests.ops.conftest import Build

OWN = Place(ids="own", mounts=True)


class Caches:
    """The caches of a store, as each of several steps takes them."""

    def __init__(self, store: Store) -> None:
        self.store, self.cancel = store, Cancel()

    def step(self, place: Place = OWN) -> CacheMounts:
        """The caches of a new step."""
        return CacheMounts(self.store, self.cancel, place)

    def take(self, stack: ExitStack, step: CacheMounts | None = None, /, **words: Any) -> Path:
        """The folder that a mount gets."""
        seed, namespace = words.pop("seed", None), words.pop("namespace", "")
        words = {"type": "cache", "id": "c", "target": "/c", "sharing": "shared", **words}
        path, fd = (step or self.step()).take(Mount(**words), namespace, seed, stack)
        assert os.fstat(fd).st_ino == path.stat().st_ino
        return path


@pytest.fixture
def caches(tmp_path: Path) -> Iterator[Caches]:
    with Store(tmp_path / "store") as store:
        yield Caches(store)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_cache_is_the_same_in_the_next_step_and_says_what_it_is_called(caches: Caches) -> None:
    with ExitStack() as stack:
        path = caches.take(stack, namespace="n")
        (path / "f").write_text("kept")
    with ExitStack() as stack:
        again = caches.take(stack, namespace="n")
    assert (again, (again / "f").read_text()) == (path, "kept")
    about = json.loads((path.parent / "about.json").read_text())
    assert (about["id"], about["namespace"]) == ("c", "n")


@pytest.mark.parametrize(
    "words", [{"id": "d"}, {"namespace": "n"}, {"mode": 0o700}, {"uid": 5}, {"gid": 6}], ids=str
)
def test_cache_of_another_id_namespace_owner_or_mode_is_another_one(
    caches: Caches, stack: ExitStack, words: dict[str, Any]
) -> None:
    assert caches.take(stack, **words) != caches.take(stack)


@pytest.mark.parametrize("words", [{"target": "/d"}, {"sharing": "locked"}, {"readonly": True}], ids=str)
def test_cache_is_the_same_wherever_and_however_it_is_mounted(caches: Caches, words: dict[str, Any]) -> None:
    with ExitStack() as stack:
        first = caches.take(stack)
    with ExitStack() as stack:
        assert caches.take(stack, **words) == first


def test_new_cache_has_its_mode_and_an_old_one_keeps_its_own(caches: Caches) -> None:
    with ExitStack() as stack:
        assert stat.S_IMODE(caches.take(stack).stat().st_mode) == 0o755
        path = caches.take(stack, mode=0o1777)
        assert stat.S_IMODE(path.stat().st_mode) == 0o1777
        path.chmod(0o700)
    with ExitStack() as stack:
        assert stat.S_IMODE(caches.take(stack, mode=0o1777).stat().st_mode) == 0o700


def test_shared_cache_is_held_by_several_and_a_private_one_by_one(caches: Caches) -> None:
    with ExitStack() as stack:
        assert len({caches.take(stack) for _ in range(3)}) == 1
    with ExitStack() as stack:
        names = [caches.take(stack, sharing="private").parent.name for _ in range(3)]
    assert names == [names[0], f"{names[0]}-1", f"{names[0]}-2"]
    with ExitStack() as stack:
        assert caches.take(stack, sharing="private").parent.name == names[0]


def test_step_has_a_cache_once_however_often_it_names_it(caches: Caches, stack: ExitStack) -> None:
    step = caches.step()
    assert len({caches.take(stack, step, sharing=how) for how in ("private", "private", "locked")}) == 1


def test_locked_cache_is_waited_for(caches: Caches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagesmith.worker.cachemounts._POLL_S", 0.01)
    taken: list[Path] = []
    waiting = threading.Event()

    def second() -> None:
        with ExitStack() as stack:
            waiting.set()
            taken.append(caches.take(stack, sharing="locked"))

    thread = threading.Thread(target=second)
    with ExitStack() as stack:
        first = caches.take(stack, sharing="locked")
        thread.start()
        waiting.wait()
        thread.join(0.1)
        assert taken == []
    thread.join(30)
    assert taken == [first]


def test_who_waits_for_a_locked_cache_can_be_stopped(caches: Caches, stack: ExitStack) -> None:
    caches.take(stack)
    caches.cancel.set()
    with pytest.raises(Cancelled):
        caches.take(stack, sharing="locked")


def test_where_nothing_can_be_mounted_a_cache_is_at_one_place_only(caches: Caches, stack: ExitStack) -> None:
    step = caches.step(Place(ids="own", mounts=False))
    caches.take(stack, step)
    with pytest.raises(SandboxError, match="the cache c cannot be at two places"):
        caches.take(stack, step, target="/d")
    caches.cancel.set()
    with pytest.raises(Cancelled):  # nor may another step have it meanwhile, though it is shared
        caches.take(stack, caches.step(Place(ids="own", mounts=False)))


@pytest.mark.parametrize("kind", ["nothing", "file", "link"])
def test_source_that_is_no_folder_of_the_cache_is_not_found(
    caches: Caches, stack: ExitStack, kind: str, tmp_path: Path
) -> None:
    with pytest.raises(MissingSource):
        caches.take(stack, source="/a")
    [data] = caches.store.cache_mounts.glob("*/data")
    if kind == "file":
        (data / "a").write_text("x")
    elif kind == "link":
        (data / "a").symlink_to(tmp_path)
    with pytest.raises(MissingSource, match='"/a": not found'):
        caches.take(stack, source="/a")


def test_source_that_an_earlier_step_made_is_found(caches: Caches, stack: ExitStack) -> None:
    with pytest.raises(MissingSource):
        caches.take(stack, source="a/b")
    [data] = caches.store.cache_mounts.glob("*/data")
    (data / "a/b").mkdir(parents=True)
    assert caches.take(stack, source="a/b") == data / "a/b"


def seed(folder: Path, identity: str = "1") -> Seed:
    """A seed of a folder's files."""
    (folder / "src/in").mkdir(parents=True, exist_ok=True)
    (folder / "src/in/f").write_text("seeded")
    (folder / "file").write_text("x")
    return Seed(identity, lambda: LocalTree(folder))


def test_new_cache_begins_with_a_seed_and_is_not_seeded_again(caches: Caches, tmp_path: Path) -> None:
    with ExitStack() as stack:
        path = caches.take(stack, seed=seed(tmp_path / "a"), source="/src")
        assert (path / "in/f").read_text() == "seeded"
        (path / "in/f").write_text("changed")
    with ExitStack() as stack:
        again = caches.take(stack, seed=seed(tmp_path / "a"), source="/src")
        assert (again / "in/f").read_text() == "changed"
        other = caches.take(stack, seed=seed(tmp_path / "a", "2"), source="/src")
        assert (other / "in/f").read_text() == "seeded"


@pytest.mark.parametrize("source", ["nowhere", "file"])
def test_seed_that_is_no_folder_is_not_found_and_leaves_no_cache(
    caches: Caches, stack: ExitStack, tmp_path: Path, source: str
) -> None:
    with pytest.raises(MissingSource, match=f'"/{source}": not found'):
        caches.take(stack, seed=seed(tmp_path / "a"), source=source)
    assert not list(caches.store.cache_mounts.glob("*/data"))
    assert not list(caches.store.cache_mounts.glob("*/new-*"))


# --- whole builds --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.everyone
def test_locked_cache_at_two_places_of_one_step_does_not_wait_for_itself(build: Build) -> None:
    mount = "--mount=type=cache,id=twice,sharing=locked,target="
    built = build(f"RUN {mount}/a {mount}/b echo x > /a/f && cat /b/f > /out\n")
    assert built.files["out"] == b"x\n"


@pytest.mark.slow
@pytest.mark.everyone
def test_private_cache_that_is_busy_is_another_one(build: Build) -> None:
    step = (
        "RUN --mount=type=cache,id=mine,sharing=private,target=/c touch /c/$NAME && "
        "for i in 1 2 3 4 5 6; do sleep 0.1; done && ls /c > /out\n"
    )
    built = build(
        "".join(f"FROM base AS {name}\nENV NAME={name}\n{step}" for name in ("one", "two"))
        + "FROM scratch\nCOPY --from=one /out /one\nCOPY --from=two /out /two\n"
    )
    assert (built.files["one"], built.files["two"]) == (b"one\n", b"two\n")


@pytest.mark.slow
@pytest.mark.everyone
@pytest.mark.parametrize("isolation", ["native", "chroot"])
def test_cache_begins_with_all_that_a_stage_has_and_nodes_stay_nodes(
    build: Build, context: Path, isolation: str
) -> None:
    """A copy that opened the nodes would hang on the fifo, and never end with the zeroes."""
    if os.geteuid() != 0 and isolation == "chroot":
        pytest.skip("needs root")
    members = [
        ("src", tarfile.DIRTYPE, {"mode": 0o3775, "uid": 7, "gid": 8, "mtime": 5}),
        ("src/f", tarfile.REGTYPE, {"mode": 0o4711, "uid": 9}),
        ("src/hard", tarfile.LNKTYPE, {"linkname": "src/f"}),
        ("src/l", tarfile.SYMTYPE, {"linkname": "/etc/passwd", "uid": 5, "gid": 6}),
        ("src/fifo", tarfile.FIFOTYPE, {"mode": 0o620}),
        ("src/zero", tarfile.CHRTYPE, {"devmajor": 1, "devminor": 5, "mode": 0o640, "gid": 3}),
        ("src/disk", tarfile.BLKTYPE, {"devmajor": 7, "devminor": 250, "mode": 0o600}),
    ]
    with tarfile.open(context / "a.tar", "w") as tar:
        for name, kind, fields in members:
            info = tarfile.TarInfo(name)
            info.type, info.mtime = kind, 7
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info)
    built = build(
        "FROM base AS s\nADD a.tar /\nFROM base\n"
        f"RUN --mount=type=cache,target=/c,id=seeded-{isolation},from=s,source=/src "
        "stat -c '%n %F %a %u:%g %h %t:%T %Y' /c /c/* > /seen; cp -a /c /again\n"
        f"RUN --mount=type=cache,target=/c,id=seeded-{isolation},from=s,source=/src "
        "stat -c '%n %F %a %u:%g %h %t:%T %Y' /c /c/* | cmp - /seen\n",
        "--isolation", isolation, "--step-timeout", "60s",
    )  # fmt: skip
    assert built.status == 0, built.said
    rows = built.files["seen"].decode().splitlines()
    root = os.geteuid() == 0
    assert rows[0] == "/c directory 3775 7:8 2 0:0 5"
    assert "/c/f regular empty file 4711 9:0 2 0:0 7" in rows
    assert "/c/hard regular empty file 4711 9:0 2 0:0 7" in rows
    assert "/c/fifo fifo 620 0:0 1 0:0 7" in rows
    assert not root or "/c/l symbolic link 777 5:6 1 0:0 7" in rows
    assert not root or "/c/zero character special file 640 0:3 1 1:5 7" in rows
    assert not root or "/c/disk block special file 600 0:0 1 7:fa 7" in rows
