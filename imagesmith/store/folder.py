"""The folder of a store: whose it is, who may enter it, and that nothing in it leads elsewhere.

Why: layers, snapshots and caches hold what images hold, set-user-ID programs among it, with the owners that
they name. Whoever may enter such a tree could run them, so where the store itself is open to others, which is
left as its owner made it, the folders of trees are not. A folder that others may write could be anybody's.
Trust: the folder may have been made by somebody else, or in a place that others write to. It is opened once,
and what lies directly in it may be no link. The names of images can be read without opening it as a store.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from imagesmith.errors import InvalidDocument, InvalidReference, StoreError
from imagesmith.oci.codec import parse_object
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef

__all__ = ["NAME", "claim", "images_in", "read_names"]

#: The annotation that has an image's whole name.
NAME = "io.containerd.image.name"

#: What holds trees, or parts of them.
_TREES = ("cachemounts", "ingest", "layers", "work")


def claim(root: Path) -> None:
    """Make the folder, or make sure that it can be used.

    Raises:
        StoreError: it cannot be made or opened, is somebody else's, or has links in it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise StoreError(f"cannot use the store at {root}: {e.strerror}") from e
    try:
        st = os.fstat(fd)
        if st.st_uid != os.geteuid():
            raise StoreError(
                f"the store at {root} belongs to another user (id {st.st_uid}); give --root another folder"
            )
        _close(fd, st)
        _refuse_links(fd, root)
    except OSError as e:
        raise StoreError(f"cannot use the store at {root}: {e.strerror}") from e
    finally:
        os.close(fd)


def _close(fd: int, st: os.stat_result) -> None:
    """Keep others from writing to the store, and from entering trees."""
    mode = stat.S_IMODE(st.st_mode)
    if not mode & 0o077:
        return
    try:
        if mode & 0o022:
            os.fchmod(fd, mode & ~0o022)
        for name in _TREES:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=fd)
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode) and found.st_mode & 0o077:
                os.chmod(name, 0o700, dir_fd=fd)
    except OSError as e:
        if e.errno != errno.EROFS:  # what is read only is used without trees
            raise


def _refuse_links(fd: int, root: Path) -> None:
    with os.scandir(fd) as entries:
        link = next((e.name for e in entries if e.is_symlink()), None)
    if link is not None:
        raise StoreError(
            f"{root / link} is a link, which a store may not have",
            hint="remove it, or give --root another folder",
        )


def images_in(root: Path) -> list[tuple[ImageRef, Descriptor]]:
    """The named images of a store's folder, by name, without opening it; none where there is no store.

    Raises:
        StoreError: the list is damaged.
    """
    out = []
    for d in read_names(root):
        with contextlib.suppress(InvalidReference):
            out.append((ImageRef.parse(d.annotations.get(NAME, "")), d))
    return sorted(out, key=lambda p: str(p[0]))


def read_names(root: Path) -> list[Descriptor]:
    """What has a name in a store's folder, in the order in which the names were given.

    Raises:
        StoreError: the list is damaged.
    """
    try:
        raw = (root / "index.json").read_bytes()
        return [Descriptor.from_json(o) for o in parse_object(raw, "index.json").objects("manifests")]
    except FileNotFoundError:
        return []
    except InvalidDocument as e:
        raise StoreError(f"{root / 'index.json'} is damaged: {e}") from e
