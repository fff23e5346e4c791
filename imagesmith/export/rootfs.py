"""The file systems of finished images, as a tar or below a folder, without configs or layers.

Why: `-o type=local` and `type=tar` want the files that a container would see. They are read from the
layers through the view, so nothing has to be extracted first, and owners are right without privilege. Of
several platforms each is in a folder of its own (`linux_arm64`), or all in one with platform-split=false.
Trust: layers may be hostile; a folder is written through fs/jail.py, which never follows a link out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from imagesmith.errors import UsageError
from imagesmith.export.job import Export, is_split
from imagesmith.fs.entry import Entry, replace
from imagesmith.fs.materialise import materialise
from imagesmith.fs.view import View, flat
from imagesmith.layer.tarwrite import write_layer
from imagesmith.request import Output
from imagesmith.values import frozen

__all__ = ["Root", "check", "roots_of", "write_folder", "write_tar"]

_CHUNK = 1 << 20


@frozen
class Root:
    """The files of a platform's image, below a folder if that is not empty.

    With an epoch (seconds) all have its time.
    """

    view: View
    epoch: int | None = None
    platform: str = ""
    folder: str = ""

    def entries(self) -> Iterator[Entry]:
        """All of them in order, further names of one file as hard links."""
        if self.folder:
            yield Entry(self.folder, "d", 0o755, mtime_ns=self._time_ns(0))
        for e in flat(self.view):
            if not self.folder:
                yield e if self.epoch is None else replace(e, mtime_ns=self._time_ns(e.mtime_ns))
            elif e.path:
                link = f"{self.folder}/{e.link}" if e.kind == "h" else e.link
                path = f"{self.folder}/{e.path}"
                yield replace(e, path=path, link=link, mtime_ns=self._time_ns(e.mtime_ns))

    def _time_ns(self, own_ns: int) -> int:
        return own_ns if self.epoch is None else self.epoch * 1_000_000_000


def roots_of(export: Export, output: Output) -> list[Root]:
    """The file systems of what was built."""
    split = is_split(output, export.request)
    return [
        Root(
            platform=platform,
            folder=image.config.platform.as_name if split else "",
            view=export.files(platform),
            epoch=image.form.epoch,
        )
        for platform, image in export.built.images.items()
    ]


def check(roots: Sequence[Root]) -> None:
    """See before anything is written that nothing is overwritten.

    Raises:
        UsageError: two of them have different files of one name.
    """
    if len(roots) > 1 and not roots[0].folder:
        for _ in _together(roots):
            pass


def write_tar(roots: Sequence[Root], out: BinaryIO) -> None:
    """Write file systems as a tar.

    Raises:
        UsageError: two of them have different files of one name.
    """

    def sink(data: bytes) -> None:
        out.write(data)

    write_layer(_together(roots), sink)


def write_folder(roots: Sequence[Root], folder: Path, say: Callable[[str], None] | None = None) -> None:
    """Write file systems below a folder; files there are replaced, others stay.

    Owners are those of the current user; devices are left out and told to `say`.

    Raises:
        UsageError: two of them have different files of one name.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def plain() -> Iterator[Entry]:
        for e in _together(roots):
            if e.kind in "cb":
                if say is not None:
                    say(f"/{e.path}: a device, left out")
                continue
            yield e

    materialise(plain(), folder, form="merged", owners=False)


def _together(roots: Sequence[Root]) -> Iterator[Entry]:
    """The entries of all roots; what is the same in several once."""
    if len(roots) == 1 or roots[0].folder:
        for root in roots:
            yield from root.entries()
        return
    for n, root in enumerate(roots):
        for e in root.entries():
            before = next((r for r in roots[:n] if r.view.get(e.path) is not None), None)
            if before is None:
                yield e
            elif not _same(before.view, root.view, e.path):
                what = f"cannot overwrite {e.path} from {before.platform} with {root.platform}"
                raise UsageError(f"{what} when split option is disabled")


def _same(one: View, other: View, path: str) -> bool:
    """True if two views have the same at a path: directories, or files alike in kind, mode and content."""
    a, b = one.get(path), other.get(path)
    assert a is not None
    assert b is not None
    if (a.kind, b.kind) == ("d", "d"):
        return True
    if (a.kind, a.mode, a.size, a.link, a.rdev) != (b.kind, b.mode, b.size, b.link, b.rdev):
        return False
    return a.kind != "f" or _content(a) == _content(b)


def _content(e: Entry) -> str:
    """The digest of a file's content."""
    import hashlib

    if e.content is None:
        return ""
    seen, left = hashlib.sha256(), e.size
    with e.content.open() as f:
        while left and (data := f.read(min(_CHUNK, left))):
            seen.update(data)
            left -= len(data)
    return seen.hexdigest()
