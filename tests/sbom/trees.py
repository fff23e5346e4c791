"""Layers and views for tests of SBOMs, made of names and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imagesmith.fs.entry import BytesContent, Entry
from imagesmith.fs.view import LayerIndex, View
from imagesmith.sbom.package import Package
from imagesmith.sbom.reading import Files, packages_in

__all__ = ["RELEASE", "Told", "layer", "packages", "view"]

#: Of Debian 12.
RELEASE = b'PRETTY_NAME="Debian GNU/Linux 12"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'

Given = Mapping[str, "bytes | str | None"]


def layer(files: Given) -> LayerIndex:
    """A layer: bytes are a file, a text is where a link leads, None takes a name away."""
    return LayerIndex([_entry(path, given) for path, given in files.items()])


def _entry(path: str, given: bytes | str | None) -> Entry:
    if given is None:
        return Entry(path, "w")
    if isinstance(given, str):
        return Entry(path, "l", 0o777, link=given)
    return Entry(path, "f", size=len(given), content=BytesContent(given + b"not the file's"))


def view(*layers: Given) -> View:
    """A stack of layers, bottom first."""
    return View([layer(files) for files in layers])


class Told(list[str]):
    """What was warned of."""


def packages(*layers: Given, folder: Path | None = None, told: Told | None = None) -> list[Package]:
    """The packages of layers; a warning fails unless it is asked for."""
    said = Told()
    found = packages_in(Files(view(*layers), folder, said.append))
    if told is None:
        assert said == []
    else:
        told.extend(said)
    return found
