"""The folders of RUN --mount=type=cache as a whole: listed, thrown away, carried to another machine.

    <key>/about.json   {"id", "namespace"}; its time is that of the last use
    <key>/data         what steps see (worker/cachemounts.py makes and locks it)

Why a tar: a cache is carried as the tar of these folders, with owners as the image's steps see them, so that
it can be brought back by root and by a user alike; a layer's own reader and writer are used for it.
Trust: an archive is hostile: names are those of keys, and everything is made through fs/jail.py. A file name
that begins with `.wh.` means a deletion in a layer, and is not carried.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any, BinaryIO

from imagesmith.errors import InvalidDocument, NotFound, StoreError, UnsafeArchive
from imagesmith.fs.entry import BytesContent, Entry
from imagesmith.fs.folders import temporary
from imagesmith.fs.jail import Jail, remove_tree
from imagesmith.fs.materialise import materialise
from imagesmith.fs.sizes import tree_bytes
from imagesmith.fs.view import LayerIndex, View
from imagesmith.interfaces import Place
from imagesmith.layer.decompress import decompressed
from imagesmith.layer.tarread import read_layer
from imagesmith.layer.tarwrite import write_layer
from imagesmith.oci.codec import parse_object
from imagesmith.store.disk import Spooled, spool
from imagesmith.store.store import Store
from imagesmith.values import frozen
from imagesmith.worker.snapshot.ownership import table_of
from imagesmith.worker.snapshot.ownertable import note_below
from imagesmith.worker.snapshot.trees import on_disk, opaque_xattr, owners_of
from imagesmith.worker.snapshot.upper import scan_upper

__all__ = ["CacheFolder", "export_folders", "find", "folders", "import_folders", "note_use", "prune_folders"]

_KEY = re.compile(r"[0-9a-f]{32}(-[0-9]{1,4})?")
_ABOUT = "about.json"
_LOCK = re.compile(r" FLOCK .* ([0-9a-f]+):([0-9a-f]+):([0-9]+) ")


@frozen(kw_only=True)
class CacheFolder:
    """A cache: its key, what the Dockerfile calls it, bytes on the disk, last use (s), and if it is held."""

    key: str
    id: str
    namespace: str
    path: Path
    size: int
    used_s: float
    in_use: bool


def note_use(folder: Path, id_: str, namespace: str) -> None:
    """Say what a cache is called, and that it is used now."""
    about = folder / _ABOUT
    try:
        os.utime(about)
    except FileNotFoundError:
        about.write_text(json.dumps({"id": id_, "namespace": namespace}), "utf-8")


def folders(store: Store) -> list[CacheFolder]:
    """The caches of a store, last used first."""
    root = store.cache_mounts
    locked = _locked()
    found = [_folder(p, locked) for p in root.iterdir() if _KEY.fullmatch(p.name)] if root.is_dir() else []
    return sorted(found, key=lambda f: (-f.used_s, f.key))


def _folder(path: Path, locked: Set[tuple[int, int]]) -> CacheFolder:
    about: Any = {}
    with contextlib.suppress(OSError, ValueError):
        about = json.loads((path / _ABOUT).read_bytes())
    if not isinstance(about, dict):  # damaged: what it is called is lost, the cache is not
        about = {}
    try:
        used_s = (path / _ABOUT).stat().st_mtime
    except OSError:
        used_s = path.stat().st_mtime
    return CacheFolder(
        key=path.name,
        id=str(about.get("id", "")),
        namespace=str(about.get("namespace", "")),
        path=path,
        size=tree_bytes(path / "data"),
        used_s=used_s,
        in_use=_held(path / "lock", locked),
    )


def _locked() -> set[tuple[int, int]]:
    """Device and inode of each file that is locked.

    The kernel's list is read, for whoever tries a lock holds it for a moment, and a build would wait for it
    or take another cache. Devices that are none, as those of btrfs, have several numbers, and count as one.
    """
    out = set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            match = _LOCK.search(line)
            if match is not None:
                major, minor, inode = int(match[1], 16), int(match[2], 16), int(match[3])
                out.add((os.makedev(major, minor) if major else 0, inode))
    return out


def _held(lock: Path, locked: Set[tuple[int, int]]) -> bool:
    try:
        st = lock.stat()
    except OSError:
        return False
    return (st.st_dev if os.major(st.st_dev) else 0, st.st_ino) in locked


def find(store: Store, names: Sequence[str]) -> list[CacheFolder]:
    """The caches of these ids or beginnings of keys; all of them without names.

    Raises:
        NotFound: there is none for a name.
    """
    have = folders(store)
    out: dict[str, CacheFolder] = {} if names else {f.key: f for f in have}
    for name in names:
        found = [f for f in have if f.id == name or (len(name) >= 6 and f.key.startswith(name))]
        if not found:
            raise NotFound(f"no cache {name} in the store", hint="`imagesmith cache ls` lists them")
        out |= {f.key: f for f in found}
    return list(out.values())


def prune_folders(
    store: Store,
    candidates: Sequence[CacheFolder],
    now_s: float,
    *,
    unused_s: float = 0,
    most_bytes: int = -1,
) -> list[CacheFolder]:
    """Delete caches, and return them; the store must be held alone.

    Args:
        store: whose they are.
        candidates: those that may go.
        now_s: the time.
        unused_s: those go that were not used for so long (seconds).
        most_bytes: of the others, the longest unused go until what the store has is no more; -1 for no limit.
    """
    gone = [f for f in candidates if now_s - f.used_s >= unused_s] if most_bytes < 0 or unused_s else []
    left = sum(f.size for f in folders(store)) - sum(f.size for f in gone)
    keys = {f.key for f in gone}
    for f in sorted(candidates, key=lambda f: f.used_s) if most_bytes >= 0 else ():
        if left > most_bytes and f.key not in keys:
            gone.append(f)
            left -= f.size
    for unfinished in store.cache_mounts.glob("import-*"):
        remove_tree(unfinished)
    for f in gone:
        with contextlib.suppress(FileNotFoundError):
            remove_tree(f.path)
    return gone


# --- archives ----------------------------------------------------------------------------------


def export_folders(caches: Sequence[CacheFolder], place: Place, sink: Callable[[bytes], None]) -> None:
    """Write caches as a tar.

    Raises:
        StoreError: a step is using one.
    """
    with contextlib.ExitStack() as stack:
        for cache in caches:
            lock = stack.enter_context((cache.path / "lock").open("ab"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreError(f"the cache {cache.id or cache.key} is in use by a build") from None
        write_layer(_exported(caches, place), sink)


def _exported(caches: Sequence[CacheFolder], place: Place) -> Iterator[Entry]:
    for cache in caches:
        yield Entry(cache.key, "d", 0o755, mtime_ns=int(cache.used_s * 1e9))
        about = json.dumps({"id": cache.id, "namespace": cache.namespace}).encode()
        e = Entry(f"{cache.key}/{_ABOUT}", "f", 0o644, size=len(about), mtime_ns=int(cache.used_s * 1e9))
        e.content = BytesContent(about)
        yield e
        data = cache.path / "data"
        top = Entry.from_stat(f"{cache.key}/data", data.lstat())
        if top is None or top.kind != "d":
            continue
        kept = owners_of(data, None, place)
        owners = None if kept is None else kept.apply
        if owners is not None:
            with Jail(cache.path) as above:
                owners(above.folder(""), "data", top)
        yield top
        with Jail(data) as jail:
            entries, _ = scan_upper(jail, opaque_xattr(place), owners)
            for entry in entries:
                if entry.kind not in "wo" and not entry.path.rpartition("/")[2].startswith(".wh."):
                    entry.path = f"{cache.key}/data/{entry.path}"
                    if entry.kind == "h":
                        entry.link = f"{cache.key}/data/{entry.link}"
                    yield entry


def import_folders(store: Store, place: Place, source: BinaryIO) -> list[str]:
    """Bring caches back from a tar, over those of the same keys; returns the keys.

    The store must be held alone.

    Raises:
        UnsafeArchive: it is no archive of caches, or hostile.
    """
    root = store.cache_mounts
    root.mkdir(parents=True, exist_ok=True)
    made = temporary("import-", root)
    try:
        with spool(store.work, "import the caches") as tar:
            shutil.copyfileobj(decompressed(source), tar, 1 << 20)
            tar.seek(0)
            index = LayerIndex(_imported(tar))
            materialise(index.placed(), made, **on_disk(place))
        for folder in made.iterdir() if place.ids != "root" else ():
            note_below(table_of(folder / "data"), View([index]), f"{folder.name}/data")
        return [_adopt(root, folder) for folder in sorted(made.iterdir())]
    except OSError as e:
        raise StoreError(f"cannot import the caches: {e.strerror or e}") from e
    finally:
        with contextlib.suppress(OSError):
            remove_tree(made)


def _imported(tar: BinaryIO) -> Iterator[Entry]:
    for e, offset in read_layer(tar):
        key, _, rest = e.path.partition("/")
        first = rest.partition("/")[0]
        if not _KEY.fullmatch(key) or (rest and rest != _ABOUT and first != "data"):
            raise UnsafeArchive(f"not an archive of caches: it has {e.path[:100]!r}")
        if e.kind in "wo":
            continue
        if e.kind == "h" and not e.link.startswith(f"{key}/data/"):
            raise UnsafeArchive(f"{e.path[:100]!r} is a link out of its cache")
        if e.kind == "f" and e.size:
            e.content = Spooled(tar, offset)
        yield e


def _adopt(root: Path, folder: Path) -> str:
    """Put an extracted cache into its place."""
    about = folder / _ABOUT
    if about.is_symlink() or not about.is_file() or (folder / "data").is_symlink():
        raise InvalidDocument(f"the cache {folder.name} has no {_ABOUT}")
    with about.open("rb") as f:
        parse_object(f.read(1 << 16), _ABOUT).need_text("id")
    target = root / folder.name
    if target.exists():
        remove_tree(target)
    shutil.move(folder, target)
    return folder.name
