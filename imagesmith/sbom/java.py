"""Java's packages: jar, war, ear and their like, and those that lie in them.

What a jar is, in this order: the pom.properties whose artifact its file is named for; its manifest, with the
file's name; the file's name alone. Each further pom.properties is a package that was shaded into it.
Why not extracted: a server's war holds hundreds of jars. The list of each archive is read, and of its files
those that name packages.
Spec: the JAR file specification (manifest); Maven's archiver (META-INF/maven/GROUP/ARTIFACT/pom.properties,
pom.xml); OSGi Core (Bundle-SymbolicName and its directives).
Trust: hostile. Archives are bounded in depth and number, and all that is unpacked of one file of the image
together (sbom/zips.py); a nested archive that is damaged is a warning.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from imagesmith.sbom.javanames import (
    Manifest,
    Pom,
    file_name,
    group_of,
    manifest_of,
    name_of,
    pom_of,
    properties_of,
)
from imagesmith.sbom.package import Package, supplier_of
from imagesmith.sbom.reading import Files
from imagesmith.sbom.zips import Budget, Row, Zip
from imagesmith.values import frozen

__all__ = ["read", "wants"]

_ARCHIVES = (".jar", ".war", ".ear", ".par", ".sar", ".nar", ".jpi", ".hpi", ".kar", ".lpkg")
_POM, _PROPERTIES, _MANIFEST = "/pom.xml", "/pom.properties", "META-INF/MANIFEST.MF"

_DEPTH, _MOST_ARCHIVES = 8, 5000
#: Of one nested archive that must be unpacked to be read, and of all that is unpacked.
_INNER_BYTES, _ALL_BYTES = 192 << 20, 1 << 30
_PROPERTIES_BYTES, _POM_BYTES, _MANIFEST_BYTES = 1 << 16, 2 << 20, 16 << 20
_MOST_POMS, _NAME_LENGTH = 10_000, 500


class _Reading:
    """What is shared by the archives in one file of the image."""

    def __init__(self, path: str, image: Files) -> None:
        self.path, self.image, self.archives = path, image, 0
        self.budget = Budget(min(_ALL_BYTES, image.left))
        self.hashing = _ALL_BYTES  # bytes

    def warn(self, text: str) -> None:
        self.image.warn(self.path, text)


@frozen
class _Archive:
    """An archive that is open, its file's name, and its digest."""

    name: str
    zip: Zip
    sha1: str
    reading: _Reading

    def bytes(self, row: Row, limit_bytes: int) -> bytes:
        """The bytes of a file in it."""
        return self.zip.content(row, limit_bytes, self.reading.budget)

    def text(self, row: Row, limit_bytes: int) -> str:
        """The text of a file in it."""
        return self.bytes(row, limit_bytes).decode("utf-8", "replace")


def wants(path: str) -> bool:
    """True for archives of Java by their names, in any case."""
    return path.lower().endswith(_ARCHIVES)


def _wanted(name: str) -> bool:
    return name.endswith(_ARCHIVES) or name.endswith((_PROPERTIES, _POM)) or name == _MANIFEST


def read(path: str, image: Files) -> Iterator[Package]:
    """The packages in an archive and in those that it holds."""
    e = image.stat(path)
    reading = _Reading(path, image)
    before = reading.budget.left
    with image.open(path) as file:
        try:
            yield from _inside(reading, path, file, e.size if e is not None else 0, 1)
        finally:
            image.spend(path, before - max(0, reading.budget.left))


def _inside(reading: _Reading, name: str, file: BinaryIO, size: int, depth: int) -> Iterator[Package]:
    reading.archives += 1
    opened = Zip(file, size, _wanted, reading.budget)
    sha1 = _sha1(file) if size <= reading.hashing else ""
    reading.hashing -= size
    yield from _packages(_Archive(name.rpartition("/")[2][-_NAME_LENGTH:], opened, sha1, reading))
    for row in opened.rows:
        if not row.name.endswith(_ARCHIVES):
            continue
        if depth >= _DEPTH or reading.archives >= _MOST_ARCHIVES:
            reading.warn("archives that lie too deep in it, or are too many, are passed over")
            return
        try:
            inner, length = opened.inner(row, _INNER_BYTES, reading.budget)
            yield from _inside(reading, row.name, inner, length, depth + 1)
        except (ValueError, zlib.error) as e:
            if reading.budget.left < 0:
                raise
            reading.warn(f"{row.name[:200]} in it cannot be read: {e}")


def _sha1(file: BinaryIO) -> str:
    """The digest by which Maven Central knows a jar."""
    file.seek(0)
    digest = hashlib.sha1()
    while data := file.read(1 << 18):
        digest.update(data)
    return digest.hexdigest()


def _packages(archive: _Archive) -> Iterator[Package]:
    """The package that an archive is, and those that were shaded into it."""
    rows = {row.name: row for row in archive.zip.rows}
    manifest = manifest_of(archive.text(rows[_MANIFEST], _MANIFEST_BYTES)) if _MANIFEST in rows else None
    if manifest is not None and "Weave-Classes" in manifest.main:  # named for what it is woven into
        return
    poms = _poms(archive, rows)
    stem, version = file_name(archive.name)
    own = _named(poms, stem)
    name = name_of(manifest, stem) if own is None else own.artifact
    own = own or next((pom for pom in poms if pom.artifact == name), None)
    if own is not None:
        yield _package(archive, own.group, own.artifact, own.version, manifest, own)
    elif name and (manifest is not None or (version and not poms)):
        said = version or (manifest.version() if manifest is not None else "")
        yield _package(archive, group_of(manifest) or name, name, said, manifest, None)
    for pom in poms:
        if pom is not own:
            yield _package(archive, pom.group, pom.artifact, pom.version, None, pom)


def _poms(archive: _Archive, rows: Mapping[str, Row]) -> list[Pom]:
    """What all pom.properties say, each with the pom.xml beside it; in the order of their paths."""
    out = []
    for path in sorted(name for name in rows if name.endswith(_PROPERTIES))[:_MOST_POMS]:
        said = properties_of(archive.text(rows[path], _PROPERTIES_BYTES))
        artifact, version = said.get("artifactId", ""), said.get("version", "")
        if not artifact or not version:
            continue
        beside = rows.get(path.removesuffix(_PROPERTIES) + _POM)
        more: Mapping[str, tuple[str, ...]] = {}
        if beside is not None:
            try:
                more = pom_of(archive.bytes(beside, _POM_BYTES))
            except (ValueError, zlib.error):  # its properties are enough
                if archive.reading.budget.left < 0:
                    raise
        group = said.get("groupId") or next(iter(more.get("groupId", more.get("parent/groupId", ()))), "")
        if not group and "." in artifact:
            group = artifact
        out.append(Pom(group or artifact, artifact, version, more))
    return out


def _named(poms: list[Pom], stem: str) -> Pom | None:
    """The pom that a file is named for: by its whole name if there is one, else by its beginning or end."""
    exact = [pom for pom in poms if pom.artifact == stem]
    if exact or not stem:
        return exact[0] if exact else None
    return next((p for p in poms if p.artifact.startswith(stem) or stem.endswith(p.artifact)), None)


def _package(
    archive: _Archive, group: str, name: str, version: str, manifest: Manifest | None, pom: Pom | None
) -> Package:
    said = pom.more if pom is not None else {}
    main = manifest.main if manifest is not None else {}
    vendor = next(iter(said.get("organization/name", ())), "")
    vendor = vendor or main.get("Implementation-Vendor") or main.get("Bundle-Vendor") or ""
    licenses = said.get("licenses/license/name", ())
    if not licenses and (stated := main.get("Bundle-License") or main.get("Plugin-License-Name")):
        licenses = tuple(part.partition(";")[0].strip() for part in re.split(r",\s*(?=\S)", stated))
    return Package(
        kind="maven",
        namespace=group,
        name=name,
        version=version,
        licenses=licenses,
        supplier=supplier_of(vendor, organization=True) or _developer(said),
        homepage=next(iter(said.get("url", ())), "") or main.get("Bundle-DocURL", ""),
        description=next(iter(said.get("description", ())), "") or main.get("Bundle-Description", ""),
        checksums={"SHA1": archive.sha1} if archive.sha1 and manifest is not None else {},
        path=archive.reading.path,
    )


def _developer(said: Mapping[str, tuple[str, ...]]) -> str:
    return supplier_of(next(iter(said.get("developers/developer/name", ())), ""))
