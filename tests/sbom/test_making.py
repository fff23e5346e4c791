"""The one door: what is equal gives equal bytes, and who supplies an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagesmith.context.local import LocalTree
from imagesmith.errors import UsageError
from imagesmith.oci.config import ImageConfig, Runtime
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.sbom.making import FORMATS, sbom_of
from imagesmith.sbom.package import LONGEST
from tests.sbom.trees import RELEASE, view

DIGEST = digest_bytes(b"manifest")
STATUS = b"Package: a\nVersion: 1\nArchitecture: all\n\nPackage: b\nVersion: 2\nArchitecture: all\n"
TREE = {"var/lib/dpkg/status": STATUS, "etc/os-release": RELEASE}


def config(**labels: str) -> ImageConfig:
    return ImageConfig(
        platform=Platform("linux", "arm64"),
        created="2024-05-06T07:08:09.123456789+02:00",
        author="Jane Doe <jane@example.org>",
        runtime=Runtime(labels={key.replace("_", "."): value for key, value in labels.items()}),
    )


def made(**fields: Any) -> dict[str, Any]:
    given = {"name": "app:1", "digest": DIGEST, "config": config(), **fields}
    return dict(json.loads(sbom_of(view(TREE), **given)))


@pytest.mark.parametrize("format_", FORMATS)
def test_equal_images_have_equal_documents_and_others_other_names(format_: str) -> None:
    key = {"spdx": "documentNamespace", "cyclonedx": "serialNumber"}[format_]
    one, two = made(format_=format_), made(format_=format_)
    assert one == two
    others = [
        made(format_=format_, digest=digest_bytes(b"other")),
        made(format_=format_, epoch=7),
        made(format_=format_, name="b"),
        made(format_=format_, supplier="X"),
    ]
    assert len({document[key] for document in [one, *others]}) == 5


def test_time_is_the_epoch_or_the_images() -> None:
    assert made()["creationInfo"]["created"] == "2024-05-06T05:08:09Z"
    assert made(epoch=0)["creationInfo"]["created"] == "1970-01-01T00:00:00Z"
    for bad in ("", "yesterday", "0000-00-00T00:00:00Z"):
        odd = ImageConfig(platform=Platform("linux", "amd64"), created=bad)
        assert made(config=odd)["creationInfo"]["created"] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("fields", "supplier"),
    [
        ({}, "Person: Jane Doe (jane@example.org)"),
        ({"config": config(maintainer="Joe <joe@example.org>")}, "Person: Joe (joe@example.org)"),
        (
            {"config": config(maintainer="Joe", org_opencontainers_image_vendor="ACME")},
            "Organization: ACME",
        ),
        ({"annotations": {"org.opencontainers.image.vendor": "Other"}}, "Organization: Other"),
        ({"supplier": "Mine"}, "Organization: Mine"),
        ({"supplier": "Person: Me (me@example.org)"}, "Person: Me (me@example.org)"),
        ({"config": None}, "NOASSERTION"),
    ],
)
def test_supplier(fields: dict[str, Any], supplier: str) -> None:
    assert made(**fields)["packages"][0]["supplier"] == supplier


def test_hostile_labels_are_cut() -> None:
    found = made(config=config(maintainer="x\x1b\ud800" * 5000))["packages"][0]["supplier"]
    assert len(found) <= LONGEST + 20
    assert found.isprintable()


def test_purl_of_the_image() -> None:
    def purl(**fields: Any) -> str:
        (found,) = made(**fields)["packages"][0]["externalRefs"]
        return str(found["referenceLocator"])

    ref = ImageRef.parse("registry.example.com:5000/team/app:1.2")
    assert purl(reference=ref) == (
        f"pkg:oci/app@{DIGEST}?arch=arm64&repository_url=registry.example.com:5000/team/app&tag=1.2"
    )
    assert purl() == f"pkg:oci/image@{DIGEST}?arch=arm64"


def test_tree_that_is_no_image() -> None:
    document = made(digest=None, config=None, name="sbom-context")
    root = document["packages"][0]
    assert (root["name"], root["primaryPackagePurpose"]) == ("sbom-context", "SOURCE")
    assert "versionInfo" not in root
    assert [p["name"] for p in document["packages"][1:]] == ["a", "b"]


def test_context_is_a_tree_like_any_other(tmp_path: Path) -> None:
    for path, data in TREE.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    (tmp_path / "var/lib/dpkg/info").symlink_to("/nowhere")
    document = json.loads(sbom_of(LocalTree(tmp_path), name="sbom-context", epoch=0))
    assert [p["name"] for p in document["packages"]] == ["sbom-context", "a", "b"]


def test_other_formats_are_refused() -> None:
    with pytest.raises(UsageError):
        made(format_="text")
