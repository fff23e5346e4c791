"""Gentoo's packages: Portage's database of what is installed.

Spec: PMS and Portage's vdb: a folder `CATEGORY/NAME-VERSION` a package, in it a file a field; `CONTENTS`
lists what it owns. purl type ebuild.
Trust: all of it comes from an image: sizes are bounded, fields are texts.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from imagesmith.errors import ImagesmithError
from imagesmith.sbom.package import Package
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_BYTES, _CONTENTS_BYTES = 1 << 16, 32 << 20
_WANTED = re.compile(
    r"(.*/|)var/db/pkg/([^/]+)/([\w+][\w+-]*)-"
    r"(\d+(?:\.\d+)*[a-z]?(?:_(?:pre|p|beta|alpha|rc)\d*)*(?:-r\d+)?)/CONTENTS"
)
#: A file or a link: what it is, its path, then a digest and a time, or where it leads and a time.
_OWNED = re.compile(r"(?:obj (.+) [0-9a-f]{32} \d+|sym (.+?) -> .+)")
_NO_NAMES = frozenset(("(", ")", "||"))


def wants(path: str) -> bool:
    """See reading.Reader."""
    return path.endswith("/CONTENTS") and _WANTED.fullmatch(path) is not None


def read(path: str, image: Files) -> Iterator[Package]:
    """See reading.Reader."""
    found = _WANTED.fullmatch(path)
    assert found is not None
    top, category, name, version = found.groups()
    lines = image.read(path, _CONTENTS_BYTES).decode("utf-8", "surrogateescape").splitlines()
    owned = (row[1] or row[2] for row in map(_OWNED.fullmatch, lines) if row)
    words = _field(path, "LICENSE", image).split()
    yield Package(
        kind="ebuild",
        namespace=category,
        name=name,
        version=version,
        licenses=tuple(word for word in words if word not in _NO_NAMES and not word.endswith("?")),
        homepage=next(iter(_field(path, "HOMEPAGE", image).split()), ""),
        description=_field(path, "DESCRIPTION", image).strip(),
        path=path,
        files=tuple(top + one.lstrip("/") for one in owned),
    )


def _field(path: str, name: str, image: Files) -> str:
    try:
        return image.read(f"{posixpath.dirname(path)}/{name}", _BYTES).decode("utf-8", "replace")
    except ImagesmithError:  # not every package has every field
        return ""
