"""The file system of a finished image, as a tar or below a folder, without config or layers.

Why: `-o type=local` and `type=tar` want the files that a container would see. They are read from the
layers through the view, so nothing has to be extracted first, and owners are right without privilege.
Trust: layers may be hostile; a folder is written through fs/jail.py, which never follows a link out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from imagesmith.fs.entry import Entry, replace
from imagesmith.fs.materialise import materialise
from imagesmith.fs.view import View, flat
from imagesmith.layer.tarwrite import write_layer

__all__ = ["write_folder", "write_tar"]


def write_tar(view: View, out: BinaryIO, epoch: int | None) -> None:
    """Write the root filesystem as a tar."""

    def sink(data: bytes) -> None:
        out.write(data)

    write_layer(_entries(view, epoch), sink)


def write_folder(
    view: View, folder: Path, epoch: int | None, say: Callable[[str], None] | None = None
) -> None:
    """Write the root filesystem below a folder; files there are replaced, others stay.

    Owners are those of the current user; devices are left out and told to `say`.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def plain() -> Iterator[Entry]:
        for e in _entries(view, epoch):
            if e.kind in "cb":
                if say is not None:
                    say(f"/{e.path}: a device, left out")
                continue
            yield e

    materialise(plain(), folder, form="merged", owners=False)


def _entries(view: View, epoch: int | None) -> Iterator[Entry]:
    """All entries of a view in order, names of one file as hard links; with an epoch (s) every time is it."""
    for e in flat(view):
        yield e if epoch is None else replace(e, mtime_ns=epoch * 1_000_000_000)
