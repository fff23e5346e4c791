"""Images for tests of readers: a view of files in memory, or of a folder; nothing is packed or stored."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from imagesmith.fs.entry import BytesContent, Entry
from imagesmith.fs.layerindex import LayerIndex
from imagesmith.fs.view import View
from imagesmith.sbom.package import Package
from imagesmith.sbom.reading import Files, packages_in


class _OnDisk:
    """The content of a file of the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self):
        return self.path.open("rb")


def view_of(files: Mapping[str, bytes], mode: int = 0o755) -> View:
    """One layer that holds files."""
    return View(
        [
            LayerIndex(
                [
                    Entry(path, "f", mode, size=len(data), content=BytesContent(data) if data else None)
                    for path, data in files.items()
                ]
            )
        ]
    )


def view_of_folder(root: Path) -> View:
    """One layer that holds what a folder does."""
    entries = []
    for folder, folders, files in os.walk(root):
        for name in sorted(folders + files):
            path = Path(folder, name)
            link = str(path.readlink()) if path.is_symlink() else ""
            e = Entry.from_stat(str(path.relative_to(root)), path.lstat(), link)
            if e is not None:
                e.content = _OnDisk(path) if e.kind == "f" and e.size else None
                entries.append(e)
    return View([LayerIndex(entries)])


def read_all(files: Mapping[str, bytes], mode: int = 0o755) -> tuple[list[Package], list[str]]:
    """The packages in files, and the warnings."""
    warnings: list[str] = []
    return packages_in(Files(view_of(files, mode), warn=warnings.append)), warnings


def purls(files: Mapping[str, bytes], mode: int = 0o755) -> list[str]:
    """The purls of the packages in files, of which nothing may be wrong."""
    packages, warnings = read_all(files, mode)
    assert warnings == []
    return [package.purl for package in packages]
