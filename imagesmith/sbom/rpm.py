"""RPM packages: what rpm's database holds, in any of its three forms, and Mariner's list in place of one.

Why: keys that rpm trusts are packages named gpg-pubkey in its database; `rpm -qa` lists them, and so do we.
Spec: rpm's docs/manual/format_header.md (a header: an index of tags, then their data) and tags.md; purl type
rpm: the epoch is a qualifier, the name of the source package is `upstream`.
Trust: all of it comes from an image: sizes and counts are bounded, places are checked by slicing only.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from imagesmith.errors import InvalidDocument
from imagesmith.sbom.distribution import distro_of, namespace_of
from imagesmith.sbom.package import Package, supplier_of
from imagesmith.sbom.rpmdatabases import headers

if TYPE_CHECKING:
    from imagesmith.sbom.reading import Files

__all__ = ["brief", "read", "wants"]

_WANTED = re.compile(
    r"(?:^|/)(?:(?:var/lib|usr/share|usr/lib/sysimage)/rpm/(?:Packages|Packages\.db|rpmdb\.sqlite)"
    r"|var/lib/rpmmanifest/container-manifest-2)$"
)
_MANIFEST_BYTES = 16 << 20
#: Entries of a header's index, and names of the files of one package.
_MOST_TAGS, _MOST_FILES = 1 << 16, 200_000

_NAME, _VERSION, _RELEASE, _EPOCH, _SUMMARY, _VENDOR, _LICENCE = 1000, 1001, 1002, 1003, 1004, 1011, 1014
_PACKAGER, _URL, _ARCH, _SOURCE = 1015, 1020, 1022, 1044
_DIRECTORIES, _BASES, _DIRECTORY_NAMES = 1116, 1117, 1118
_TEXTS = frozenset((_NAME, _VERSION, _RELEASE, _SUMMARY, _VENDOR, _LICENCE, _PACKAGER, _URL, _ARCH, _SOURCE))
_INT32, _STRINGS = 4, (6, 8, 9)


def wants(path: str) -> bool:
    """See reading.Reader."""
    return "/rpm" in path and _WANTED.search(path) is not None


def brief(path: str, image: Files) -> Iterator[Package]:
    """The packages without their files."""
    return _packages(path, image, files=False)


def read(path: str, image: Files) -> Iterator[Package]:
    """See reading.Reader."""
    return _packages(path, image, files=True)


def _packages(path: str, image: Files, *, files: bool) -> Iterator[Package]:
    if path.endswith("container-manifest-2"):
        yield from _manifest(path, image)
        return
    top = re.sub(r"(^|/)(var/lib|usr/share|usr/lib/sysimage)/rpm/[^/]+$", r"\1", path)
    for raw in headers(path, image):
        try:
            fields = _header(raw, files=files)
        except (InvalidDocument, struct.error) as e:
            image.warn(path, f"a package's header cannot be read: {e}")
            continue
        if fields.get(_NAME):
            yield _package(fields, path, image, top)


def _package(fields: Mapping[int, str | tuple[object, ...]], path: str, image: Files, top: str) -> Package:
    text = {tag: str(fields.get(tag, "")) for tag in _TEXTS}
    vendor = supplier_of(text[_VENDOR], organization=True)
    epoch = fields.get(_EPOCH)
    return Package(
        kind="rpm",
        name=text[_NAME],
        version=f"{text[_VERSION]}-{text[_RELEASE]}" if text[_RELEASE] else text[_VERSION],
        namespace=namespace_of(image.release),
        qualifiers={
            "arch": text[_ARCH],
            "distro": distro_of(image.release),
            "epoch": str(epoch[0]) if isinstance(epoch, tuple) and epoch else "",
            "upstream": text[_SOURCE],
        },
        licenses=(text[_LICENCE],) if text[_LICENCE] else (),
        supplier=vendor or supplier_of(text[_PACKAGER]),
        homepage=text[_URL],
        description=text[_SUMMARY],
        source=text[_SOURCE],
        path=path,
        files=tuple(_files(fields, top)),
    )


def _files(fields: Mapping[int, str | tuple[object, ...]], top: str) -> Iterator[str]:
    folders, names = fields.get(_DIRECTORY_NAMES, ()), fields.get(_BASES, ())
    for number, name in zip(fields.get(_DIRECTORIES, ()), names, strict=False):
        if isinstance(number, int) and number < len(folders):
            yield f"{top}{folders[number]}{name}".replace("//", "/").removeprefix("/")


def _header(raw: bytes, *, files: bool) -> dict[int, str | tuple[object, ...]]:
    """The fields of a header that are wanted.

    Raises:
        InvalidDocument: it is damaged.
    """
    count, length = struct.unpack_from(">II", raw)
    begin = 8 + 16 * count
    if count > _MOST_TAGS or len(raw) < begin + length:
        raise InvalidDocument(f"{count} tags and {length} bytes of data in {len(raw)} bytes")
    data = raw[begin : begin + length]
    out: dict[int, str | tuple[object, ...]] = {}
    for tag, kind, offset, many in struct.iter_unpack(">IIII", raw[8:begin]):
        if tag in _TEXTS and kind in _STRINGS:
            out[tag] = _strings(data, offset, 1)[0]
        elif kind == _INT32 and (tag == _EPOCH or (files and tag == _DIRECTORIES)):
            if many > _MOST_FILES:
                raise InvalidDocument(f"{many} values of tag {tag}")
            out[tag] = struct.unpack_from(f">{many}I", data, offset)
        elif files and tag in (_BASES, _DIRECTORY_NAMES) and kind in _STRINGS:
            if many > _MOST_FILES:
                raise InvalidDocument(f"{many} values of tag {tag}")
            out[tag] = tuple(_strings(data, offset, many))
    return out


def _strings(data: bytes, offset: int, count: int) -> list[str]:
    """So many texts, each ended by a zero byte."""
    out = []
    for _ in range(count):
        end = data.find(b"\0", offset)
        if end < 0:
            raise InvalidDocument("a text without an end")
        out.append(data[offset:end].decode("utf-8", "surrogateescape"))
        offset = end + 1
    return out


def _manifest(path: str, image: Files) -> Iterator[Package]:
    """Mariner's list for images without a database: a line a package, ten fields with tabs between."""
    for line in image.read(path, _MANIFEST_BYTES).decode("utf-8", "replace").splitlines():
        fields = line.split("\t")
        if len(fields) < 10:
            continue
        name, version, _, _, vendor, _, _, arch, epoch, source = fields[:10]
        yield Package(
            kind="rpm",
            name=name,
            version=version,
            namespace=namespace_of(image.release),
            qualifiers={
                "arch": arch,
                "distro": distro_of(image.release),
                "epoch": epoch if epoch.isdigit() and epoch != "0" else "",
                "upstream": source,
            },
            supplier=supplier_of(vendor, organization=True),
            source=source,
            path=path,
        )
