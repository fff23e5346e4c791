"""Arch Linux packages: pacman's database of what is installed.

Spec: alpm's local database: a folder a package, in it `desc` and `files`, blocks of a name between percent
signs and a value a line. purl type alpm.
Trust: all of it comes from an image: sizes are bounded, fields are texts.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from imagesmith.sbom.distribution import distro_of, namespace_of
from imagesmith.sbom.package import Package, supplier_of
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_BYTES, _FILES_BYTES = 1 << 20, 32 << 20
_WANTED = re.compile(r"(.*/|)var/lib/pacman/local/[^/]+/desc")


def wants(path: str) -> bool:
    """See reading.Reader."""
    return path.endswith("/desc") and _WANTED.fullmatch(path) is not None


def read(path: str, image: Files) -> Iterator[Package]:
    """See reading.Reader."""
    fields = _fields(image.read(path, _BYTES))
    top, beside = path[: path.rindex("var/lib/pacman/")], f"{posixpath.dirname(path)}/files"
    owned = _fields(image.read(beside, _FILES_BYTES)).get("FILES", []) if image.exists(beside) else []

    def first(key: str) -> str:
        return next(iter(fields.get(key, ())), "")

    yield Package(
        kind="alpm",
        name=first("NAME"),
        version=first("VERSION"),
        namespace=namespace_of(image.release) or "arch",
        qualifiers={"arch": first("ARCH"), "distro": distro_of(image.release), "upstream": first("BASE")},
        licenses=tuple(fields.get("LICENSE", ())),
        supplier=supplier_of(first("PACKAGER")),
        homepage=first("URL"),
        description=first("DESC"),
        source=first("BASE"),
        path=path,
        files=tuple(top + name for name in owned if not name.endswith("/")),
    )


def _fields(raw: bytes) -> dict[str, list[str]]:
    """The values of blocks by their names."""
    out: dict[str, list[str]] = {}
    for block in re.split(r"\n{2,}", raw.decode("utf-8", "surrogateescape").replace("\r\n", "\n")):
        name, *values = block.strip("\n").split("\n")
        if found := re.fullmatch(r"%([A-Z0-9]+)%", name):
            out[found[1]] = values
    return out
