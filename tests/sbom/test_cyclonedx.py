"""CycloneDX: the document's fields, and the rules of its schema that can be broken by what images say."""

from __future__ import annotations

import json
import re
from typing import Any

from imagesmith.oci.digest import digest_bytes
from imagesmith.sbom.bill import Bill
from imagesmith.sbom.cyclonedx import write
from imagesmith.sbom.package import Package, replace
from tests.sbom.test_spdx import DEB, JAR, NPM, ORIGIN, PYPI


def document(*packages: Package, **fields: Any) -> dict[str, Any]:
    bill = Bill(
        name="app:1", created="2024-01-01T00:00:00Z", packages=packages, digest=digest_bytes(b"m"),
        supplier="Person: Jane (jane@example.org)", **fields,
    )  # fmt: skip
    return dict(json.loads(write(bill)))


def test_document() -> None:
    found = document(DEB, release={"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian"})
    assert (found["bomFormat"], found["specVersion"], found["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found["serialNumber"])
    root = found["metadata"]["component"]
    assert (root["type"], root["name"], root["version"]) == ("container", "app:1", str(digest_bytes(b"m")))
    assert root["supplier"] == {"name": "Jane", "contact": [{"email": "jane@example.org"}]}
    assert found["components"][-1] == {
        "type": "operating-system", "bom-ref": "os:debian@12", "name": "debian", "version": "12",
        "description": "Debian",
    }  # fmt: skip
    assert found["dependencies"] == [
        {"ref": root["bom-ref"], "dependsOn": [c["bom-ref"] for c in found["components"]]}
    ]


def test_component() -> None:
    (component,) = document(DEB, origins={(DEB.purl, DEB.path): ORIGIN})["components"]
    assert component == {
        "type": "library",
        "bom-ref": DEB.purl,
        "supplier": {"name": "Jane", "contact": [{"email": "jane@example.org"}]},
        "name": "python3-foo",
        "version": "1:2-1",
        "description": "a <b>",
        "licenses": [{"expression": "GPL-2.0-or-later AND LicenseRef-BSD"}],
        "purl": DEB.purl,
        "externalReferences": [{"type": "website", "url": "https://example.org/"}],
        "properties": [
            {"name": "imagesmith:path", "value": "/var/lib/dpkg/status"},
            {"name": "imagesmith:layer:diff_id", "value": f"sha256:{'1' * 64}"},
            {"name": "imagesmith:layer:created_by", "value": "RUN apt-get install foo"},
            {"name": "imagesmith:dockerfile", "value": "Dockerfile:3"},
        ],
    }


def test_licence_is_an_identifier_a_name_or_an_expression() -> None:
    def licence(*declared: str) -> Any:
        (component,) = document(replace(PYPI, licenses=declared))["components"]
        return component.get("licenses")

    assert licence("mit") == [{"license": {"id": "MIT"}}]
    assert licence("My own!") == [{"license": {"name": "My own!"}}]
    assert licence("MIT or ISC") == [{"expression": "MIT OR ISC"}]
    assert licence() is None


def test_groups_hashes_and_addresses() -> None:
    npm, jar = document(NPM, JAR)["components"]
    assert (npm["group"], npm["name"]) == ("@acme", "left")
    assert "version" not in npm
    assert npm["hashes"] == [{"alg": "SHA-1", "content": "ab" * 20}]
    assert jar["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert jar["externalReferences"] == [{"type": "distribution", "url": "https://example.org/x.jar"}]


def test_references_are_unique() -> None:
    found = document(PYPI, replace(PYPI, path="elsewhere"), replace(PYPI, path="third"))["components"]
    assert len({c["bom-ref"] for c in found}) == 3
