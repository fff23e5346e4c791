"""SBOMs that a build attests: of its images, and of stages and contexts that ask for it."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from imagesmith.sbom.making import sbom_of
from imagesmith.store.store import Store
from tests.attest.conftest import EPOCH, Shelf
from tests.kitchen import Kitchen
from tests.registry.images import make_image

PACKAGE = "Metadata-Version: 2.1\nName: {0}\nVersion: {1}\nLicense: MIT\n"
FILE = """\
FROM scratch AS tools
COPY tools /lib
FROM scratch
COPY site /usr/lib/python3/dist-packages
COPY more /usr/lib/python3/dist-packages
"""


@pytest.fixture
def cook(kitchen: Kitchen) -> Kitchen:
    """A kitchen with some Python packages."""
    for folder, name, version in (("site", "alpha", "1.0"), ("more", "beta", "2.0"), ("tools", "gamma", "3")):
        where = f"{folder}/{name}-{version}.dist-info"
        kitchen.write({f"{where}/METADATA": PACKAGE.format(name, version), f"{where}/RECORD": ""})
    (kitchen.context / "Dockerfile").write_text(FILE)
    kitchen.age()
    return kitchen


def statements(shelf: Shelf, built: Any) -> dict[str, list[Any]]:
    """The statements about each image of a result, by platform."""
    return {
        platform: [shelf.json(layer["digest"]) for d in entries for layer in shelf.json(d.digest)["layers"]]
        for platform, entries in built.attestations.items()
    }


def names(document: Any) -> set[str]:
    """The packages that an SPDX document lists, by their addresses."""
    refs = [r["referenceLocator"] for p in document["packages"] for r in p.get("externalRefs", [])]
    return {r.partition("?")[0] for r in refs if r.startswith("pkg:pypi/")}


def test_sbom_lists_what_is_in_the_image_with_the_line_that_brought_it(cook: Kitchen, shelf: Shelf) -> None:
    built = cook.build(sbom=True, tags=["a:1"])
    [[statement]] = statements(shelf, built).values()
    assert statement["predicateType"] == "https://spdx.dev/Document"
    assert [s["digest"]["sha256"] for s in statement["subject"]] == [built.image.manifest.digest.hex]
    assert names(statement["predicate"]) == {"pkg:pypi/alpha@1.0", "pkg:pypi/beta@2.0"}
    said = {
        p["name"]: [a["comment"] for a in p.get("annotations", [])]
        for p in statement["predicate"]["packages"]
    }
    assert any(text.endswith("Dockerfile:4") for text in said["alpha"])
    assert any(text.endswith("Dockerfile:5") for text in said["beta"])


def test_a_base_of_two_stages_is_told_by_the_line_of_the_image_s_own(cook: Kitchen, shelf: Shelf) -> None:
    place = "usr/lib/python3/dist-packages/base-1.dist-info"
    with Store(cook.root) as store:
        make_image(
            store, "r.example/b:1", layers=({f"{place}/METADATA": PACKAGE.format("base", "1").encode()},)
        )
    built = cook.build(
        "FROM r.example/b:1 AS one\nCOPY more /m\nFROM r.example/b:1\nCOPY site /s\nCOPY --from=one /m /n\n",
        sbom=True, tags=["a:1"],
    )  # fmt: skip
    [[statement]] = statements(shelf, built).values()
    [package] = [p for p in statement["predicate"]["packages"] if p["name"] == "base"]
    assert [a["comment"].endswith("Dockerfile:3") for a in package["annotations"]] == [True]


def test_stage_and_context_that_ask_for_it_have_documents_of_their_own(cook: Kitchen, shelf: Shelf) -> None:
    text = FILE.replace("FROM scratch AS tools", "FROM scratch AS tools\nARG BUILDKIT_SBOM_SCAN_STAGE=true")
    text = "ARG BUILDKIT_SBOM_SCAN_CONTEXT=true\n" + text + "COPY --from=tools /lib/none* /\n"
    built = cook.build(text, sbom=True, provenance="mode=min", tags=["a:1"])
    [found] = statements(shelf, built).values()
    assert [s["predicateType"].rpartition("/")[2] for s in found] == ["Document"] * 3 + ["v1"]
    core, context, stage = (names(s["predicate"]) for s in found[:3])
    assert core == {"pkg:pypi/alpha@1.0", "pkg:pypi/beta@2.0"}
    assert stage == {"pkg:pypi/gamma@3"}
    assert context == core | stage


def test_stages_are_looked_at_once_for_all_outputs(cook: Kitchen, tmp_path: Path) -> None:
    text = FILE.replace("FROM scratch AS tools", "FROM scratch AS tools\nARG BUILDKIT_SBOM_SCAN_STAGE=true")
    outputs = [f"type=oci,dest={tmp_path}/o.tar", f"type=local,dest={tmp_path}/out", "type=image"]
    with patch("imagesmith.attest.bills.sbom_of", wraps=sbom_of) as made:
        cook.build(text + "COPY --from=tools /lib/none* /\n", sbom=True, tags=["a:1"], outputs=outputs)
    assert sorted(call.kwargs["name"] for call in made.call_args_list) == ["a:1", "a:1", "image", "tools"]
    assert (tmp_path / "out/sbom-tools.spdx.json").exists()


def test_each_platform_has_its_own_sbom_after_all_images(cook: Kitchen, shelf: Shelf) -> None:
    built = cook.build(sbom=True, platform="linux/arm64,linux/amd64", tags=["a:1"], build_args=EPOCH)
    assert [len(found) for found in statements(shelf, built).values()] == [1, 1]
    assert built.index is not None
    entries = shelf.json(built.index.digest)["manifests"]
    kinds = [e["platform"]["architecture"] for e in entries]
    assert kinds == ["arm64", "amd64", "unknown", "unknown"]
    images = [e["digest"] for e in entries[:2]]
    assert [e["annotations"]["vnd.docker.reference.digest"] for e in entries[2:]] == images


def test_cyclonedx_is_written_on_request(cook: Kitchen, shelf: Shelf) -> None:
    built = cook.build(sbom="format=cyclonedx", tags=["a:1"])
    [[statement]] = statements(shelf, built).values()
    assert statement["predicateType"] == "https://cyclonedx.org/bom"
    found = {c["purl"].partition("?")[0] for c in statement["predicate"]["components"]}
    assert {"pkg:pypi/alpha@1.0", "pkg:pypi/beta@2.0"} <= found


@pytest.mark.parametrize("together", [False, True])
def test_files_have_their_sboms_beside_them(cook: Kitchen, tmp_path: Path, together: bool) -> None:
    split = ",platform-split=false" if together else ""
    cook.build(
        sbom=True, provenance=True, platform="linux/arm64,linux/amd64", build_args=EPOCH,
        outputs=[f"type=local,dest={tmp_path}/l{split}", f"type=tar,dest={tmp_path}/t{split}"],
    )  # fmt: skip
    platforms = ("linux_arm64", "linux_amd64")
    expected = {
        f"{stem}.{p}.{end}" if together else f"{p}/{stem}.{end}"
        for stem, end in (("sbom.spdx", "json"), ("provenance", "json"))
        for p in platforms
    }
    there = {str(p.relative_to(tmp_path / "l")) for p in (tmp_path / "l").rglob("*.json")}
    assert there == expected
    with tarfile.open(tmp_path / "t") as tar:
        assert {n for n in tar.getnames() if n.endswith(".json")} == expected
    document = json.loads((tmp_path / "l" / min(expected)).read_text())
    assert document["subject"]


def test_sbom_is_the_same_wherever_it_is_made(cook: Kitchen, tmp_path: Path) -> None:
    words: dict[str, Any] = {
        "sbom": True, "provenance": "mode=max", "build_args": EPOCH, "tags": ["a:1"],
        "outputs": ["type=image,rewrite-timestamp=true"],  # folders are made now
    }  # fmt: skip
    first = cook.build(**words).digest
    cook.root = tmp_path / "other"
    assert cook.build(**words).digest == first
