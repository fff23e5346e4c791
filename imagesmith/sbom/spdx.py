"""An SBOM as SPDX 2.3 in JSON.

Why: files of packages are left out: a core SBOM is valid without, and ten times as large with them. Where a
package came from is an annotation of it, in lines `layerID: …`, `createdBy: …`, `dockerfile: FILE:LINE`. The
namespace of the document is made of its content, so that equal images have equal documents. A version that
nobody knows is said to be UNKNOWN, as other generators do: NTIA wants gaps told, not left open.
Spec: SPDX 2.3, clauses 6 to 12; purl as external reference (annex F). NTIA's minimum elements.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Any

import imagesmith
from imagesmith.oci.codec import dumps
from imagesmith.sbom.bill import Bill, is_address, notes_of, owners, subject_of
from imagesmith.sbom.licences import Licences
from imagesmith.sbom.package import Package, clean

__all__ = ["write"]

_NOTHING = "NOASSERTION"
_DOCUMENT = "SPDXRef-DOCUMENT"
_CHECKSUMS = frozenset(("MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512"))


def write(bill: Bill) -> bytes:
    """The document."""
    licences = Licences()
    root = _root(bill)
    tool = f"Tool: imagesmith-{imagesmith.__version__}"
    ids = {(p.purl, p.path): _id_of(p) for p in bill.packages}
    relationships = [_related(_DOCUMENT, "DESCRIBES", root["SPDXID"])]
    relationships += [_related(root["SPDXID"], "CONTAINS", one) for one in ids.values()]
    for owner, package in owners(bill.packages):
        relationships.append(
            {
                **_related(ids[owner.purl, owner.path], "OTHER", ids[package.purl, package.path]),
                "comment": f"ownership-by-file-overlap: the package owns /{clean(package.path)}",
            }
        )
    document: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": clean(bill.name) or "image",
        "documentNamespace": "",
        "creationInfo": {"created": bill.created, "creators": [tool]},
        "packages": [root, *(_package(p, ids[p.purl, p.path], bill, licences, tool) for p in bill.packages)],
    }
    if licences.texts:
        document["hasExtractedLicensingInfos"] = [
            {"licenseId": name, "extractedText": text, "name": text.partition("\n")[0][:200]}
            for name, text in sorted(licences.texts.items())
        ]
    document["relationships"] = relationships
    document["documentNamespace"] = _namespace(document, bill)
    return dumps(document)


def _namespace(document: dict[str, Any], bill: Bill) -> str:
    seen = hashlib.sha256(dumps(document))
    seen.update(str(bill.digest or "").encode())
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", bill.name)[:100].strip("-") or "image"
    return f"https://spdx.org/spdxdocs/imagesmith/{name}-{uuid.uuid5(uuid.NAMESPACE_URL, seen.hexdigest())}"


def _root(bill: Bill) -> dict[str, Any]:
    """The package that stands for the image, which contains all others."""
    purl = subject_of(bill)
    out: dict[str, Any] = {
        "name": clean(bill.name) or "image",
        "SPDXID": "SPDXRef-Image",
        "versionInfo": str(bill.digest) if bill.digest is not None else "",
        "supplier": bill.supplier or _NOTHING,
        "downloadLocation": _NOTHING,
        "filesAnalyzed": False,
        "licenseConcluded": _NOTHING,
        "licenseDeclared": _NOTHING,
        "copyrightText": _NOTHING,
        "primaryPackagePurpose": "CONTAINER" if purl else "SOURCE",
    }
    if bill.digest is not None:
        checksum = {"algorithm": bill.digest.algorithm.upper(), "checksumValue": bill.digest.hex}
        out["checksums"] = [checksum]
        out["externalRefs"] = [_purl(purl)]
    else:
        del out["versionInfo"]
    return out


def _package(package: Package, own: str, bill: Bill, licences: Licences, tool: str) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": package.full_name,
        "SPDXID": own,
        "versionInfo": package.version_info or "UNKNOWN",
        "supplier": bill.supplier_of(package) or _NOTHING,
        "downloadLocation": package.source if is_address(package.source) else _NOTHING,
        "filesAnalyzed": False,
        "homepage": package.homepage,
        "sourceInfo": f"told by /{clean(package.path)}"
        + ("" if package.supplier else ", which names no supplier"),
        "licenseConcluded": _NOTHING,
        "licenseDeclared": licences.expression(package.licenses) or _NOTHING,
        "copyrightText": _NOTHING,
        "description": package.description,
    }
    if not is_address(package.homepage):
        del out["homepage"]
    if not package.description:
        del out["description"]
    checksums = sorted((k.upper().replace("-", ""), v) for k, v in package.checksums.items())
    found = [
        {"algorithm": k, "checksumValue": v.lower()}
        for k, v in checksums
        if k in _CHECKSUMS and re.fullmatch(r"[0-9a-fA-F]{32,128}", v)
    ]
    if found:
        out["checksums"] = found
    out["externalRefs"] = [_purl(package.purl)]
    origin = bill.origins.get((package.purl, package.path))
    said = "\n".join(f"{name}: {value}" for name, value in notes_of(origin)) if origin else ""
    if said:
        out["annotations"] = [
            {"annotationDate": bill.created, "annotationType": "OTHER", "annotator": tool, "comment": said}
        ]
    return out


def _id_of(package: Package) -> str:
    """An identifier that depends on the package alone."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", package.full_name)[:80].strip("-")
    seen = hashlib.sha256(f"{package.purl}\0{clean(package.path)}".encode()).hexdigest()[:16]
    return f"SPDXRef-Package-{package.kind}-{name}-{seen}"


def _purl(purl: str) -> dict[str, str]:
    return {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": purl,
    }


def _related(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
