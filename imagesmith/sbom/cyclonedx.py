"""An SBOM as CycloneDX 1.6 in JSON.

Why: what SPDX says in annotations are properties here, `imagesmith:layer:…`; the distribution is a component
of its own, as scanners of vulnerabilities look for it. The serial number is made of the content.
Spec: CycloneDX 1.6 (ECMA-424).
"""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Any

import imagesmith
from imagesmith.oci.codec import dumps
from imagesmith.sbom.bill import Bill, is_address, notes_of, subject_of
from imagesmith.sbom.licences import Licences
from imagesmith.sbom.package import Package, clean

__all__ = ["write"]

_HASHES = {"MD5": "MD5", "SHA1": "SHA-1", "SHA256": "SHA-256", "SHA384": "SHA-384", "SHA512": "SHA-512"}
_NOTES = {
    "layerID": "imagesmith:layer:diff_id",
    "createdBy": "imagesmith:layer:created_by",
    "dockerfile": "imagesmith:dockerfile",
}  # fmt: skip


def write(bill: Bill) -> bytes:
    """The document."""
    licences = Licences()
    purl = subject_of(bill)
    root: dict[str, Any] = {
        "type": "container" if purl else "file",
        "bom-ref": purl or "root",
        "name": clean(bill.name) or "image",
    }
    if bill.digest is not None:
        root |= {"version": str(bill.digest), "purl": purl}
        if bill.digest.algorithm.upper() in _HASHES:
            root["hashes"] = [{"alg": _HASHES[bill.digest.algorithm.upper()], "content": bill.digest.hex}]
    if bill.supplier:
        root["supplier"] = _supplier(bill.supplier)
    taken = {root["bom-ref"]}
    components = [_component(package, bill, licences, taken) for package in bill.packages]
    if bill.release.get("ID"):
        components.append(_distribution(bill))
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "",
        "version": 1,
        "metadata": {
            "timestamp": bill.created,
            "tools": {
                "components": [
                    {"type": "application", "name": "imagesmith", "version": imagesmith.__version__}
                ]
            },
            "component": root,
        },
        "components": components,
        "dependencies": [{"ref": root["bom-ref"], "dependsOn": [c["bom-ref"] for c in components]}],
    }
    seen = hashlib.sha256(dumps(document)).hexdigest()
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, seen)}"
    return dumps(document)


def _component(package: Package, bill: Bill, licences: Licences, taken: set[str]) -> dict[str, Any]:
    ref = package.purl
    if ref in taken:  # the same package in several places
        ref += f"#{hashlib.sha256(clean(package.path).encode()).hexdigest()[:16]}"
    taken.add(ref)
    out: dict[str, Any] = {"type": "library", "bom-ref": ref}
    supplier = bill.supplier_of(package)
    if supplier:
        out["supplier"] = _supplier(supplier)
    if package.namespace and not package.of_distribution and package.kind != "golang":
        out |= {"group": package.namespace, "name": package.name}
    else:
        out["name"] = package.full_name
    if package.version:
        out["version"] = package.version_info
    if package.description:
        out["description"] = package.description
    hashes = [
        {"alg": _HASHES[name], "content": value.lower()}
        for given, value in sorted(package.checksums.items())
        if (name := given.upper().replace("-", "")) in _HASHES and re.fullmatch(r"[0-9a-fA-F]{32,128}", value)
    ]
    if hashes:
        out["hashes"] = hashes
    expression = licences.expression(package.licenses)
    if expression:
        out["licenses"] = [_licence(expression, licences)]
    out["purl"] = package.purl
    addresses = (("website", package.homepage), ("distribution", package.source))
    references = [{"type": kind, "url": url} for kind, url in addresses if is_address(url)]
    if references:
        out["externalReferences"] = references
    origin = bill.origins.get((package.purl, package.path))
    notes = [{"name": _NOTES[name], "value": value} for name, value in notes_of(origin)] if origin else []
    out["properties"] = [{"name": "imagesmith:path", "value": f"/{clean(package.path)}"}, *notes]
    return out


def _licence(expression: str, licences: Licences) -> dict[str, Any]:
    """A choice of licences as the schema has it: one name, or an expression."""
    if expression in licences.texts:
        return {"license": {"name": licences.texts[expression]}}
    if " " in expression or "LicenseRef-" in expression or expression.endswith("+"):
        return {"expression": expression}
    return {"license": {"id": expression}}


def _supplier(text: str) -> dict[str, Any]:
    """An entity of "Organization: NAME (MAIL)"."""
    name = text.partition(": ")[2]
    found = re.fullmatch(r"(.*) \((\S+@\S+)\)", name)
    return {"name": found[1], "contact": [{"email": found[2]}]} if found else {"name": name}


def _distribution(bill: Bill) -> dict[str, Any]:
    release = {key: clean(value)[:200] for key, value in bill.release.items()}
    out: dict[str, Any] = {
        "type": "operating-system",
        "bom-ref": f"os:{release['ID']}@{release.get('VERSION_ID', '')}",
        "name": release["ID"],
    }
    if release.get("VERSION_ID"):
        out["version"] = release["VERSION_ID"]
    if release.get("PRETTY_NAME"):
        out["description"] = release["PRETTY_NAME"]
    return out
