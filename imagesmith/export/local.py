"""`-o type=local`: the root file system in a folder; of several platforms each in one below it.

Trust: the folder is the user's own word; what is written in it comes from the image and stays below it
(fs/placing.py).
"""

from __future__ import annotations

import os
from pathlib import Path

from imagesmith.errors import cannot_write
from imagesmith.events import Message
from imagesmith.export import rootfs
from imagesmith.export.job import Export
from imagesmith.export.options import FILES, Options
from imagesmith.fs.jail import remove_tree
from imagesmith.request import Output

__all__ = ["HOLDS_INDEX", "OPTIONS", "write"]

OPTIONS: Options = {**FILES, "mode": ("copy", "delete")}
HOLDS_INDEX = True


def write(output: Output, export: Export) -> None:
    """Write the files; with mode=delete what was in the folder goes first."""
    folder, roots = Path(output.dest), rootfs.roots_of(export, output)
    rootfs.check(roots)
    try:
        if output.options.get("mode") == "delete" and folder.is_dir():
            for child in folder.iterdir():
                if child.is_dir() and not child.is_symlink():
                    remove_tree(child)
                else:
                    child.unlink()
        with export.vertex.part("copying files"):
            rootfs.write_folder(
                roots,
                folder,
                lambda text: export.events(Message(text=f"local: {text}")),
            )
    except OSError as e:
        raise cannot_write(
            e, os.fsdecode(e.filename) if isinstance(e.filename, str | bytes) else folder
        ) from e
