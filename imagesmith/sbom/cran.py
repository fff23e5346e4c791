"""R's packages: the DESCRIPTION of each that is installed.

Spec: Writing R Extensions, 1.1.1, The DESCRIPTION file. purl type cran.
Trust: hostile; the file is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagesmith.sbom.package import Package, supplier_of
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_BYTES = 1 << 20
_FIELD = re.compile(r"^([A-Za-z0-9@.-]+):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)
#: What stands beside the name of a licence: `MIT + file LICENSE`, `GPL-2 | GPL-3`.
_FILE = re.compile(r"\s*(?:\+\s*)?file\s+LICEN[CS]E\s*", re.IGNORECASE)


def wants(path: str) -> bool:
    """True for the DESCRIPTION of what lies in a library of R."""
    return path.endswith("/DESCRIPTION")


def read(path: str, image: Files) -> Iterator[Package]:
    """The package, if the file describes one of R."""
    text = image.read(path, _BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    fields = {key: re.sub(r"\s+", " ", value).strip() for key, value in _FIELD.findall(text)}
    if not fields.get("Package") or not fields.get("Version"):
        return  # a file of that name that is something else
    licence = _FILE.sub("", fields.get("License", "")).replace(" | ", " OR ")
    yield Package(
        kind="cran",
        name=fields["Package"],
        version=fields["Version"],
        licenses=(licence,) if licence else (),
        supplier=supplier_of(fields.get("Maintainer", "") or fields.get("Author", "")),
        homepage=re.split(r"[,\s]", fields.get("URL", ""))[0],
        description=fields.get("Title", ""),
        path=path,
    )
