"""RUN --mount=type=cache: folders of the store that live on from build to build.

    cachemounts/<key>/data    the folder; `key` is a digest of namespace, id, first owner and mode, and seed
    cachemounts/<key>/about.json   what it is called; its time is that of the last use
    cachemounts/<key>/lock    flock: shared by those that share, exclusive for `locked` and `private`

Why flock: the kernel frees the lock of a killed build. `private` takes the first of <key>, <key>-1, ... that
nobody holds.
Spec: BuildKit's solver/llbsolver/mounts/mount.go (cacheRefs).
Trust: what is in a cache is hostile, and other steps that share it change it all the time. The folder for a
mount is held by a descriptor (fs/hold.py) from the moment at which it is found.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from imagesmith.concurrency import Cancel
from imagesmith.dockerfile import mounts as parsed
from imagesmith.errors import MissingSource, SandboxError, disk_fault
from imagesmith.fs.folders import temporary
from imagesmith.fs.hold import hold
from imagesmith.fs.jail import remove_tree
from imagesmith.fs.tree import Tree
from imagesmith.interfaces import Place
from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import digest_bytes
from imagesmith.store.store import Store
from imagesmith.values import frozen
from imagesmith.worker.scratch import copy_out
from imagesmith.worker.snapshot.ownership import XATTR, held, table_of
from imagesmith.worker.snapshot.ownertable import note_below

__all__ = ["CacheMounts", "Seed"]

_POLL_S = 0.1


@frozen
class Seed:
    """What a new cache starts with: its identity, and how to get its files."""

    identity: str
    tree: Callable[[], Tree]


class CacheMounts:
    """Hands out the cache folders of a store to one step, each once however often the step names it.

    A shared cache is locked too where nothing can be mounted, for there it is moved into the step's root.
    """

    def __init__(self, store: Store, cancel: Cancel, place: Place) -> None:
        self._root, self._cancel, self._place = store.cache_mounts, cancel, place
        self._exclusive = not place.mounts
        self._held: dict[str, Path] = {}

    def take(self, m: parsed.Mount, namespace: str, seed: Seed | None, stack: ExitStack) -> tuple[Path, int]:
        """The folder for a mount, made if it is new, and a descriptor of it; held until `stack` is undone.

        Raises:
            MissingSource: `source` is not in the cache.
            Cancelled: while it waited for a locked one.
        """
        from imagesmith.worker.cachefolders import note_use

        mode, uid, gid = 0o755 if m.mode is None else m.mode, m.uid or 0, m.gid or 0
        whole = m.source in ("", "/")
        first = [mode, uid, gid] if whole else []
        parts = [f"{namespace}/{m.id}", "" if seed is None else seed.identity, first]
        key = digest_bytes(dumps(parts)).hex[:32]
        folder = self._held.get(key)
        if folder is None:
            folder = self._held[key] = self._hold(key, m.sharing, stack)
        elif self._exclusive:
            raise SandboxError(f"the cache {m.id} cannot be at two places, for nothing can be mounted here")
        data = folder / "data"
        with contextlib.ExitStack() as making:
            lock = making.enter_context((folder / "making").open("ab"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_folder(data):
                self._make(data, m, seed, (mode, uid, gid))
            note_use(folder, m.id, namespace)
        source = "" if whole or seed is not None else m.source
        try:
            fd = hold(data, source)
            stack.callback(os.close, fd)
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise NotADirectoryError
        except OSError as e:  # in an empty cache it is not there, save for one that an earlier RUN made
            raise MissingSource(f'"/{source.strip("/")}": not found').about(source) from e
        return data / source.strip("/"), fd

    def _hold(self, key: str, sharing: str, stack: ExitStack) -> Path:
        """Lock the key's folder as the sharing asks."""
        n, shared = 0, sharing == "shared" and not self._exclusive
        while True:
            folder = self._root / (f"{key}-{n}" if n else key)
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / "lock").open("ab")
            try:
                fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                if sharing == "private":
                    n += 1
                else:
                    time.sleep(_POLL_S)
                self._cancel.check()
                continue
            stack.callback(lock.close)
            return folder

    def _make(self, data: Path, m: parsed.Mount, seed: Seed | None, owner: tuple[int, int, int]) -> None:
        """A new cache: a copy of the seed, or an empty folder."""
        made = temporary("new-", data.parent) / "data"
        try:
            if seed is None:
                made.mkdir()
                _give(made, owner)
            else:
                tree = seed.tree()
                at = tree.resolve(m.source or "/")
                e = tree.get(at) if at else None
                if at and (e is None or e.kind != "d"):
                    raise MissingSource(f'"/{m.source.strip("/")}": not found').about(m.source)
                copy_out(tree, at, made.parent, self._place, made.name)
                if self._place.ids != "root":
                    note_below(table_of(data), tree, at)
            made.rename(data)
        except OSError as e:
            doing = f"make the cache {m.id}"
            raise disk_fault(e, doing, data) or SandboxError(f"cannot {doing}: {e.strerror}") from e
        finally:
            with contextlib.suppress(OSError):
                remove_tree(made.parent)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _give(folder: Path, owner: tuple[int, int, int]) -> None:
    mode, uid, gid = owner
    if (uid, gid) != (0, 0):
        try:
            os.chown(folder, uid, gid)
        except OSError:  # an id that this process does not have is kept beside the folder
            with contextlib.suppress(OSError):
                os.chown(folder, min(uid, held()[0]), min(gid, held()[1]))
                os.setxattr(folder, XATTR, f"{uid}:{gid}:0{mode:o}".encode())
    folder.chmod(mode)
