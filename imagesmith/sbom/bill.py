"""What an SBOM says, before it is written in one format or another.

Why: SPDX and CycloneDX are two ways to write one thing (sbom/spdx.py, sbom/cyclonedx.py). Nothing in it is of
the clock or of chance: what is the same image gives the same document.

Who supplies a package that names nobody is still known: SPDX and CycloneDX mean the one that it was got from.
That is the distribution, for what its package manager installed; else who owns its name or its repository;
else who supplies the image.
Spec: SPDX 2.3, 7.5; CycloneDX 1.6, supplier; NTIA's minimum elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from imagesmith.oci.digest import Digest
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.sbom.attribution import Origin
from imagesmith.sbom.package import LONGEST, Package, clean
from imagesmith.values import field, frozen

__all__ = ["Bill", "is_address", "notes_of", "owners", "subject_of"]

#: Where the first part of a path is who owns what is below it.
_HOSTS = ("bitbucket.org", "codeberg.org", "github.com", "gitlab.com")
_OWNER = re.compile(rf"(?:git\+)?(?:https?|ssh|git)://(?:[^/@]*@)?(?:www\.)?({'|'.join(_HOSTS)})/([^/?#]+)/.")


@frozen(kw_only=True)
class Bill:
    """The packages of one thing.

    name        what it is called: an image's reference, a stage, a folder
    reference   the image's, where it has one
    digest      of the image's manifest; None for what is no image
    platform    of the image
    created     when it was made, RFC 3339 in whole seconds
    supplier    of the image itself; see Package
    packages    sorted
    origins     of packages by purl and path, where they are known
    release     the fields of os-release
    """

    name: str
    created: str
    packages: tuple[Package, ...]
    reference: ImageRef | None = None
    digest: Digest | None = None
    platform: Platform | None = None
    supplier: str = ""
    origins: Mapping[tuple[str, str], Origin] = field(default_factory=dict)
    release: Mapping[str, str] = field(default_factory=dict)

    def supplier_of(self, package: Package) -> str:
        """Who supplies a package: its own word, else what is known without; empty if nothing is."""
        distribution = clean(self.release.get("NAME", ""))[:LONGEST] if package.of_distribution else ""
        owner = distribution or _owner(package)
        return package.supplier or (f"Organization: {owner}" if owner else self.supplier)


def _owner(package: Package) -> str:
    """Who owns the name of a package, or its repository; empty if unknown."""
    parts = [part for part in package.namespace.split("/") if part]
    owner = ""
    match package.kind:
        case "golang":
            whole = [*parts, package.name]
            if whole[0] in _HOSTS and len(whole) > 1:
                owner = whole[1]
            else:
                owner = whole[0] if "." in whole[0] else ""
                owner = "The Go Authors" if whole[0] in ("cmd", "std", "stdlib") else owner
        case "npm" | "composer" | "maven":
            owner = parts[0].removeprefix("@") if parts else ""
    for address in (package.source, package.homepage):
        found = _OWNER.match(address)
        if found and not owner:
            owner = found[2]
    return owner


def subject_of(bill: Bill) -> str:
    """The package URL of what is described; empty for what is no image."""
    if bill.digest is None:
        return ""
    at = bill.reference
    return Package(
        kind="oci",
        name=at.repository.rpartition("/")[2] if at else "image",
        version=str(bill.digest),
        qualifiers={
            "arch": bill.platform.architecture if bill.platform else "",
            "repository_url": at.name if at else "",
            "tag": (at.tag or "") if at else "",
        },
    ).purl


def notes_of(origin: Origin) -> Iterator[tuple[str, str]]:
    """What there is to say of where a package came from: names and values."""
    if origin.diff_id is not None:
        yield "layerID", str(origin.diff_id)
    if origin.created_by:
        yield "createdBy", origin.created_by
    if origin.file:
        yield "dockerfile", f"{origin.file}:{origin.line}"


def owners(packages: Iterable[Package]) -> Iterator[tuple[Package, Package]]:
    """Packages of the distribution, each with a package of a language whose telling file it owns."""
    told: dict[str, list[Package]] = {}
    distribution = []
    for package in packages:
        if package.of_distribution:
            distribution.append(package)
        else:
            told.setdefault(package.path, []).append(package)
    for owner in distribution if told else ():
        for path in owner.files:
            for package in told.get(path, ()):
                yield owner, package


def is_address(text: str) -> bool:
    """True for an address that a document may name."""
    return re.fullmatch(r"(?:git\+)?https?://[A-Za-z0-9\[][!-;=?-~]*", text) is not None
