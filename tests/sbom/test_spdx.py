"""SPDX: the document's fields, and what holds for every one."""

from __future__ import annotations

import json
import re
from typing import Any

from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.sbom.attribution import Origin
from imagesmith.sbom.bill import Bill
from imagesmith.sbom.package import Package
from imagesmith.sbom.spdx import write

DEB = Package(
    kind="deb", name="python3-foo", version="1:2-1", namespace="debian", qualifiers={"arch": "all"},
    licenses=("GPL-2+", "BSD"), supplier="Person: Jane (jane@example.org)", homepage="https://example.org/",
    description="a <b>", source="foo", path="var/lib/dpkg/status", files=("usr/lib/foo.dist-info/METADATA",),
)  # fmt: skip
PYPI = Package(
    kind="pypi", name="foo", version="2", path="usr/lib/foo.dist-info/METADATA", homepage="ftp://x y"
)
NPM = Package(kind="npm", name="left", namespace="@acme", version="", checksums={"SHA1": "AB" * 20, "X": "1"})
JAR = Package(
    kind="maven", name="x", namespace="com.acme", version="1", source="https://example.org/x.jar",
    checksums={"sha-256": "ab" * 32, "MD5": "not hex"},
)  # fmt: skip
ORIGIN = Origin(
    layer=1,
    diff_id=Digest("sha256", "1" * 64),
    created_by="RUN apt-get install foo",
    file="Dockerfile",
    line=3,
)


def document(*packages: Package, origins: Any = None) -> dict[str, Any]:
    bill = Bill(
        name="registry.example.com/app:1", created="2024-01-01T00:00:00Z", packages=packages,
        digest=digest_bytes(b"m"), supplier="Organization: ACME", origins=origins or {},
    )  # fmt: skip
    return dict(json.loads(write(bill)))


def test_document() -> None:
    found = document(DEB)
    assert found["spdxVersion"] == "SPDX-2.3"
    assert found["dataLicense"] == "CC0-1.0"
    assert found["SPDXID"] == "SPDXRef-DOCUMENT"
    assert found["creationInfo"]["created"] == "2024-01-01T00:00:00Z"
    assert re.fullmatch(
        r"https://spdx\.org/spdxdocs/imagesmith/registry\.example\.com-app-1-[0-9a-f-]{36}",
        found["documentNamespace"],
    )
    root = found["packages"][0]
    assert root["versionInfo"] == str(digest_bytes(b"m"))
    assert root["supplier"] == "Organization: ACME"
    assert found["relationships"][0] == {
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": root["SPDXID"],
    }


def test_package() -> None:
    found = document(DEB, origins={(DEB.purl, DEB.path): ORIGIN})
    package = found["packages"][1]
    own = package.pop("SPDXID")
    assert re.fullmatch(r"SPDXRef-Package-deb-python3-foo-[0-9a-f]{16}", own)
    notes = package.pop("annotations")
    assert package == {
        "name": "python3-foo",
        "versionInfo": "1:2-1",
        "supplier": "Person: Jane (jane@example.org)",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "homepage": "https://example.org/",
        "sourceInfo": "told by /var/lib/dpkg/status",
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "GPL-2.0-or-later AND LicenseRef-BSD",
        "copyrightText": "NOASSERTION",
        "description": "a <b>",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": "pkg:deb/debian/python3-foo@1:2-1?arch=all",
            }
        ],
    }
    assert found["hasExtractedLicensingInfos"] == [
        {"licenseId": "LicenseRef-BSD", "extractedText": "BSD", "name": "BSD"}
    ]
    assert [n["comment"] for n in notes] == [
        f"layerID: sha256:{'1' * 64}\ncreatedBy: RUN apt-get install foo\ndockerfile: Dockerfile:3"
    ]
    assert found["relationships"][1] == {
        "spdxElementId": "SPDXRef-Image",
        "relationshipType": "CONTAINS",
        "relatedSpdxElement": own,
    }


def test_what_is_not_known_is_left_out_or_told() -> None:
    _, npm, jar, pypi = document(NPM, JAR, PYPI)["packages"]
    assert npm["name"] == "@acme/left"
    assert npm["versionInfo"] == "UNKNOWN"
    assert npm["checksums"] == [{"algorithm": "SHA1", "checksumValue": "ab" * 20}]
    assert jar["checksums"] == [{"algorithm": "SHA256", "checksumValue": "ab" * 32}]
    assert jar["downloadLocation"] == "https://example.org/x.jar"
    assert (npm["supplier"], jar["supplier"], pypi["supplier"]) == (
        "Organization: acme",
        "Organization: com.acme",
        "Organization: ACME",
    )
    assert pypi["sourceInfo"].endswith(", which names no supplier")
    assert "homepage" not in pypi
    assert "annotations" not in pypi


def test_package_of_a_language_that_a_distributions_package_owns() -> None:
    found = document(DEB, PYPI)
    ids = [p["SPDXID"] for p in found["packages"]]
    (overlap,) = [r for r in found["relationships"] if r["relationshipType"] == "OTHER"]
    assert (overlap["spdxElementId"], overlap["relatedSpdxElement"]) == (ids[1], ids[2])


def test_identifiers_are_unique() -> None:
    others = [Package(kind="npm", name=n, version="1", path=p) for n in ("a_b", "a-b", "a/b") for p in "xy"]
    ids = [p["SPDXID"] for p in document(*others)["packages"]]
    assert len(set(ids)) == len(ids) == 7
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", i) for i in ids)


def test_image_without_packages() -> None:
    assert len(document()["packages"]) == 1
