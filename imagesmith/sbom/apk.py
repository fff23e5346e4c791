"""Alpine packages: apk's database of what is installed.

Spec: Alpine's wiki, "Apk spec", installed database V2: a block a package, a letter a field; F names a folder,
R a file in it. apk-tools 3 keeps the same text below usr/lib/apk. purl type apk.
Trust: all of it comes from an image: sizes are bounded, fields are texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagesmith.sbom.distribution import distro_of, namespace_of
from imagesmith.sbom.package import Package, supplier_of

if TYPE_CHECKING:
    from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_DATABASE_BYTES = 128 << 20
_WANTED = re.compile(r"(?:^|/)lib/apk/db/installed$")
_ROW = re.compile(r"^([A-Za-z]):(.*)$", re.MULTILINE)


def wants(path: str) -> bool:
    """See reading.Reader."""
    return path.endswith("lib/apk/db/installed") and _WANTED.search(path) is not None


def read(path: str, image: Files) -> Iterator[Package]:
    """See reading.Reader."""
    text = image.read(path, _DATABASE_BYTES).decode("utf-8", "replace")
    top = re.sub(r"(^|/)usr/$", r"\1", path.removesuffix("lib/apk/db/installed"))
    namespace, distro = namespace_of(image.release) or "alpine", distro_of(image.release)
    for block in re.split(r"\n[ \t\r]*\n", text.replace("\r\n", "\n")):
        fields: dict[str, str] = {}
        files: list[str] = []
        folder = ""
        for letter, said in _ROW.findall(block):
            if letter == "F":
                folder = f"{top}{said}/" if said else top
            elif letter == "R":
                files.append(folder + said)
            else:
                fields.setdefault(letter, said.strip())
        name, origin = fields.get("P", ""), fields.get("o", "")
        if not name:
            continue
        yield Package(
            kind="apk",
            name=name,
            version=fields.get("V", ""),
            namespace=namespace,
            qualifiers={
                "arch": fields.get("A", ""),
                "distro": distro,
                "upstream": origin if origin != name else "",
            },
            licenses=(fields["L"],) if fields.get("L") else (),
            supplier=supplier_of(fields.get("m", "")),
            homepage=fields.get("U", ""),
            description=fields.get("T", ""),
            source=origin,
            path=path,
            files=tuple(files),
        )
