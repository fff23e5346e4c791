""".NET's packages: what an application was published with, as its `deps.json` has it, and its assemblies.

Why assemblies, too: the runtime's own and those of older applications are in no `deps.json`. Each says what
it is in the version resource that every Windows file may have (sbom/pe.py); name and version are chosen from
it as scanners of vulnerabilities do.
Spec: docs/design/features/runtime-configuration-file.md of dotnet/runtime: `libraries`, a row `NAME/VERSION`
each, with its type. purl type nuget.
Trust: hostile; files are bounded, every value may be of any type.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping

from imagesmith.sbom import pe
from imagesmith.sbom.package import Package, supplier_of, text_in
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_BYTES = 32 << 20
_SHA512_BYTES = 64


def wants(path: str) -> bool:
    """See reading.Reader."""
    return path.endswith((".deps.json", ".dll", ".exe"))


def read(path: str, image: Files) -> Iterator[Package]:
    """The application and the packages that were published with it; or an assembly."""
    return _published(path, image) if path.endswith(".json") else _assembly(path, image)


def _published(path: str, image: Files) -> Iterator[Package]:
    told = json.loads(image.read(path, _BYTES).decode("utf-8", "replace").removeprefix("\ufeff"))
    libraries = told.get("libraries") if isinstance(told, dict) else None
    for row, about in libraries.items() if isinstance(libraries, dict) else ():
        name, _, version = row.partition("/")
        page = f"https://www.nuget.org/packages/{name}/{version}"
        yield Package(
            kind="nuget",
            name=name,
            version=version,
            source=page if text_in(about, "type") == "package" else "",
            checksums=_checksums(text_in(about, "sha512")),
            path=path,
        )


def _assembly(path: str, image: Files) -> Iterator[Package]:
    e = image.stat(path)
    if e is None or e.size < pe.LEAST_BYTES:
        return
    with image.open(path) as file:
        if file.read(len(pe.MAGIC)) != pe.MAGIC:
            return
        said = {key: _plain(value) for key, value in pe.version_texts(file, e.size).items()}
    name = next((said[key] for key in _names(said) if said.get(key)), "")
    version = _version(*(_numbers(said.get(key, "")) for key in ("ProductVersion", "FileVersion")))
    if name and version:
        yield Package(
            kind="nuget",
            name=name,
            version=version,
            supplier=supplier_of(said.get("CompanyName", ""), organization=True),
            description=said.get("Comments", ""),
            path=path,
        )


def _plain(text: str) -> str:
    return re.sub(r"[\s\xa0]+", " ", re.sub(r"[\0-\x1f]", "", re.sub(r"[\s\xa0]+", " ", text))).strip()


def _names(said: Mapping[str, str]) -> tuple[str, ...]:
    """Fields that may have the name: Microsoft's product is Windows or .NET as a whole."""
    names = ("FileDescription", "InternalName", "OriginalFilename")
    makers = (said.get("CompanyName", ""), said.get("ProductName", ""))
    own = any("microsoft" in maker.lower() for maker in makers)
    return (*names, "ProductName") if own else ("ProductName", *names)


def _numbers(said: str) -> str:
    """The words of a version that have digits, from the first on: `4.7.2 built by: X` is 4.7.2."""
    out: list[str] = []
    for word in said.split():
        if re.search(r"\d", " ".join(out)) and not re.search(r"\d", word):
            break
        out.append(word)
    return " ".join(out)


def _version(product: str, file: str) -> str:
    """The later of two, if they can be compared; else the one with more parts."""
    ours, theirs = _compared(product), _compared(file)
    if ours is not None and theirs is not None and ours != theirs:
        return max((ours, product), (theirs, file))[1]
    if ours is not None and theirs is None:
        return product
    parts, digits = re.compile(r"[.,]+").findall, re.compile(r"\d").search
    if digits(product) and len(parts(product)) >= len(parts(file)):
        return product
    if digits(file) and parts(file):
        return file
    return next((said for said in (product, file) if digits(said)), product)


def _compared(said: str) -> tuple[tuple[int, ...], bool, str] | None:
    """What orders a version: its numbers, that it is no early one, and what it is called as such."""
    found = re.fullmatch(
        r"v?(\d{1,18}(?:\.\d{1,18}){0,20})(?:-?([0-9A-Za-z.~-]+))?(?:\+[0-9A-Za-z.~-]+)?", said
    )
    if found is None:
        return None
    numbers = [int(part) for part in found[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), found[2] is None, found[2] or ""


def _checksums(said: str) -> dict[str, str]:
    """Of a package's archive: `sha512-` and the digest in base64."""
    try:
        digest = base64.b64decode(said.removeprefix("sha512-"), validate=True)
    except (binascii.Error, ValueError):
        return {}
    return {"SHA512": digest.hex()} if len(digest) == _SHA512_BYTES else {}
