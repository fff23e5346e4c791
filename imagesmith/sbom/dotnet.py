""".NET's packages: what an application was published with, as its `deps.json` has it.

Spec: docs/design/features/runtime-configuration-file.md of dotnet/runtime: `libraries`, a row `NAME/VERSION`
each, with its type. purl type nuget.
Trust: hostile; the file is bounded, every value may be of any type.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator

from imagesmith.sbom.package import Package, text_in
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_BYTES = 32 << 20
_SHA512_BYTES = 64


def wants(path: str) -> bool:
    """See reading.Reader."""
    return path.endswith(".deps.json")


def read(path: str, image: Files) -> Iterator[Package]:
    """The application and the packages that were published with it."""
    told = json.loads(image.read(path, _BYTES).decode("utf-8", "replace").removeprefix("\ufeff"))
    libraries = told.get("libraries") if isinstance(told, dict) else None
    for row, about in libraries.items() if isinstance(libraries, dict) else ():
        name, _, version = row.partition("/")
        yield Package(
            kind="nuget",
            name=name,
            version=version,
            source=f"https://www.nuget.org/packages/{name}/{version}"
            if text_in(about, "type") == "package"
            else "",
            checksums=_checksums(text_in(about, "sha512")),
            path=path,
        )


def _checksums(said: str) -> dict[str, str]:
    """Of a package's archive: `sha512-` and the digest in base64."""
    try:
        digest = base64.b64decode(said.removeprefix("sha512-"), validate=True)
    except (binascii.Error, ValueError):
        return {}
    return {"SHA512": digest.hex()} if len(digest) == _SHA512_BYTES else {}
