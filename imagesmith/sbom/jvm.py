"""Java runtimes that no package manager installed: the `release` at the root of each.

Spec: JEP 223 and the fields that builds of OpenJDK write; vendor and product of the package URL are those by
which scanners of vulnerabilities know these runtimes.
Trust: hostile; the file is bounded.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from imagesmith.sbom.package import Package, supplier_of
from imagesmith.sbom.reading import Files

__all__ = ["UNOWNED", "read", "wants"]

#: See reading.Reader.
UNOWNED = True

_BYTES = 1 << 19
_ROW = re.compile(r'^([A-Z_]+)="?([^"\n]*)"?$', re.MULTILINE)


def wants(path: str) -> bool:
    """True for files named `release`."""
    return path.endswith("/release") or path == "release"


def read(path: str, image: Files) -> Iterator[Package]:
    """The runtime, if the file is one's."""
    e = image.stat(path)
    if e is None or e.size > _BYTES:
        return
    fields = dict(_ROW.findall(image.read(path, _BYTES).decode("utf-8", "replace")))
    version = _version(fields)
    if not version:
        return
    maker = fields.get("IMPLEMENTOR", "")
    vendor, product = _product(maker.lower().replace(" ", ""), path, _kind(fields, path, image))
    yield Package(
        kind="generic",
        namespace=vendor,
        name=product,
        version=version,
        qualifiers={"repository_url": fields.get("SOURCE_REPO") or fields.get("BUILD_SOURCE_REPO", "")},
        supplier=supplier_of(maker, organization=True) if maker != "N/A" else "",
        path=path,
    )


def _version(fields: dict[str, str]) -> str:
    """The longest that is said of this version; FULL_VERSION of some builds is of another product."""
    java, full = fields.get("JAVA_VERSION", ""), fields.get("FULL_VERSION", "")
    if fields.get("JAVA_RUNTIME_VERSION"):
        return fields["JAVA_RUNTIME_VERSION"]
    return full if full and java and full.partition(".")[0] == java.partition(".")[0] else java


def _kind(fields: dict[str, str], path: str, image: Files) -> str:
    compiler = posixpath.join(posixpath.dirname(path), "bin/javac")
    return "jre" if "jre" in fields.get("IMAGE_TYPE", "").lower() and not image.exists(compiler) else "jdk"


def _product(maker: str, path: str, kind: str) -> tuple[str, str]:
    if "azul" in maker or "zulu" in path:
        return "azul", "zulu"
    if "sun" in maker:
        return "sun", kind
    if "oracle" in maker or "oracle" in path:
        return "oracle", kind
    return "oracle", "openjdk"
