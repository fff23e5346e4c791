"""sbom: the packages of an image in any place, in either format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagesmith.cli.main import main
from imagesmith.store.store import Store
from tests.cli.conftest import Run
from tests.registry.images import make_image

STATUS = b"Package: a\nVersion: 1\nArchitecture: all\nMaintainer: Jane <jane@example.org>\n\n"
LAYERS = (
    {"var/lib/dpkg/status": STATUS, "etc/os-release": b"ID=debian\nVERSION_ID=12\n"},
    {"var/lib/dpkg/status": STATUS + STATUS.replace(b": a\n", b": b\n"), "x": b"x"},
)


@pytest.fixture
def debian(tmp_path: Path) -> str:
    with Store(tmp_path / "store") as store:
        return str(make_image(store, "deb:1", LAYERS).digest)


def test_spdx_tells_which_layer_brought_a_package(run: Run, debian: str) -> None:
    document = json.loads(run("sbom", "deb:1"))
    root, a, b = document["packages"]
    assert (document["name"], root["versionInfo"]) == ("deb:1", debian)
    assert [p["externalRefs"][0]["referenceLocator"] for p in (a, b)] == [
        "pkg:deb/debian/a@1?arch=all&distro=debian-12",
        "pkg:deb/debian/b@1?arch=all&distro=debian-12",
    ]
    said = [p["annotations"][0]["comment"].splitlines()[1] for p in (a, b)]
    assert said == ["createdBy: layer 0", "createdBy: layer 1"]


def test_every_place_gives_the_same_packages(run: Run, debian: str, host: str, tmp_path: Path) -> None:
    name = f"{host}/t/deb:1"
    run("push", "deb:1", name)
    run("copy", "store:deb:1", "oci:layout:1")
    run("save", "deb:1", "-o", "docker.tar")
    run("save", "--format", "oci", "deb:1", "-o", "oci.tar")
    here = json.loads(run("sbom", "store:deb:1"))["packages"][1:]
    assert len(here) == 2
    for place in (
        name,
        f"docker://{name}",
        "oci:layout:1",
        "oci-archive:oci.tar",
        "docker-archive:docker.tar",
    ):
        assert json.loads(run("sbom", "--root", "other", place))["packages"][1:] == here


def test_cyclonedx_into_a_file_with_a_supplier(run: Run, debian: str, tmp_path: Path) -> None:
    assert run("sbom", "deb:1", "--format", "cyclonedx", "--supplier", "ACME", "-o", "bom.json") == ""
    document = json.loads((tmp_path / "bom.json").read_bytes())
    assert document["metadata"]["component"]["supplier"] == {"name": "ACME"}
    assert [c["name"] for c in document["components"]] == ["a", "b", "debian"]


def test_platform_of_an_index(run: Run, index: str) -> None:
    root = json.loads(run("sbom", "--platform", "linux/arm64", "multi:1"))["packages"][0]
    assert "arch=arm64" in root["externalRefs"][0]["referenceLocator"]
    assert "no match for platform" in run("sbom", "--platform", "linux/s390x", "multi:1", status=7)


def test_what_cannot_be_read_is_a_warning(
    run: Run, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with Store(tmp_path / "store") as store:
        make_image(store, "bad:1", ({"var/lib/rpm/Packages.db": b"damaged"},))
    run("sbom", "bad:1", "-o", "bad.json")
    assert len(json.loads((tmp_path / "bad.json").read_bytes())["packages"]) == 1
    assert main(["sbom", "bad:1", "-o", "bad.json"]) == 0
    assert (
        b"warning: /var/lib/rpm/Packages.db: cannot be read as a list of packages: "
        in capfdbinary.readouterr().err
    )


def test_missing_image_and_wrong_words(run: Run) -> None:
    assert "invalid choice" in run("sbom", "--format", "text", "deb:1", status=2)
    run("sbom", "oci:nowhere", status=7)
