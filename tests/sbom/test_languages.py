"""Packages of languages as syft finds them: over files of real images, cut down to what is read of them.

fixtures/sbom/languages.tar.xz was made by tests/sbom/oracle.py with syft 1.18.1 of: syft's own binary,
esbuild 0.8 (Go 1.15), Debian's dockerd, skopeo and umoci, terraform, uvx; Django, Flask, Black, Jupyter and
others that pip installed, Debian's Python packages; some of the packages that npm installs for Next.js,
ESLint and webpack; the jars of Allure, the Closure compiler, Tabula, JPype and KoNLPy, and made ones
(nested, shaded, OSGi's, without a manifest); Debian's gems; Composer's lists in both forms.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from imagesmith.fs.entry import BytesContent, Entry
from imagesmith.fs.layerindex import LayerIndex
from imagesmith.fs.view import View
from imagesmith.sbom.package import Package
from imagesmith.sbom.reading import Files, packages_in
from tests.sbom.oracle import FOUND, found_by_syft
from tests.sbom.test_peers import program

FIXTURE = Path(__file__).parents[2] / "fixtures" / "sbom" / "languages.tar.xz"


def explained(purl: str, path: str) -> str:
    """Why we do not say what syft says; empty where we must."""
    if purl.startswith("pkg:golang/") and "@(devel)" in purl:
        return "no version: a module built in its folder, or replaced by one, which we call by its own path"
    return ""


DJANGO = "Django Software Foundation"
#: What syft does not find.
FURTHER = {
    "pkg:maven/nomanifest/nomanifest@1.0": "a jar without a manifest, by its file's name",
    "pkg:golang/github.com/docker/docker@v20.10.24%2Bdfsg1#cmd/dockerd": "the version is told to the linker",
}


@pytest.fixture(scope="module")
def found() -> tuple[dict[tuple[str, str], Package], set[tuple[str, str]], list[str]]:
    """Ours and theirs by purl and file; our warnings."""
    entries: list[Entry] = []
    theirs: set[tuple[str, str]] = set()
    with tarfile.open(FIXTURE) as tar:
        for info in tar:
            data = tar.extractfile(info).read()
            if info.name == FOUND:
                theirs = {(purl, path) for purl, path in json.loads(data)}
            else:
                entries.append(Entry(info.name, "f", info.mode, size=len(data), content=BytesContent(data)))
    warnings: list[str] = []
    ours = packages_in(Files(View([LayerIndex(entries)]), warn=warnings.append))
    return {(p.purl, p.path): p for p in ours}, theirs, warnings


def test_all_of_syfts_are_found(found):
    ours, theirs, _ = found
    assert len(theirs) > 1000
    assert sorted(row for row in theirs - set(ours) if not explained(*row)) == []


@pytest.mark.slow
def test_what_lies_in_the_fixture_is_still_what_syft_says(found, tmp_path):
    syft = program("syft")
    with tarfile.open(FIXTURE) as tar:
        for info in tar:
            file = tmp_path / info.name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(tar.extractfile(info).read())
            file.chmod(info.mode)
    theirs = {(purl, path) for purl, path, _ in found_by_syft(tmp_path, syft)}
    assert sorted(row for row in theirs - set(found[0]) if not explained(*row)) == []
    assert len(theirs) >= len(found[1]) - 30


def test_nothing_is_explained_away(found):
    ours, theirs, _ = found
    unsaid = [row for row in theirs - set(ours) if explained(*row)]
    assert len(unsaid) <= 30
    assert not [row for row in ours if explained(*row)]


def test_nothing_is_made_up(found):
    ours, theirs, _ = found
    more = {purl for purl, _ in set(ours) - theirs} - set(FURTHER)
    unversioned = {purl.replace("@(devel)", "") for purl, _ in theirs if "@(devel)" in purl}
    replaced = {
        purl for purl in more if purl.startswith("pkg:golang/github.com/hashicorp/terraform#internal/")
    }
    assert more - unversioned - replaced == set()
    assert set(FURTHER) <= {purl for purl, _ in ours}


def test_only_what_is_broken_is_warned_of(found):
    *_, warnings = found
    assert len(warnings) == 2
    assert all("broken-1.jar in it cannot be read: no zip archive" in text for text in warnings)


@pytest.mark.parametrize(
    ("purl", "field", "value"),
    [
        ("pkg:pypi/django@5.2.19", "licenses", ("BSD-3-Clause",)),
        ("pkg:pypi/django@5.2.19", "supplier", f"Organization: {DJANGO} (foundation@djangoproject.com)"),
        ("pkg:npm/webpack@", "licenses", ("MIT",)),
        ("pkg:npm/webpack@", "homepage", "https://github.com/webpack/webpack"),
        ("pkg:golang/stdlib@1.15", "name", "stdlib"),
        ("pkg:gem/nokogiri@1.15.4", "supplier", "Person: Mike Dalessio (nokogiri-talk@googlegroups.com)"),
        ("pkg:gem/nokogiri@1.15.4", "description", "Nokogiri (鋸) makes it easy"),
        ("pkg:composer/monolog/monolog@2.9.1", "supplier", "Person: Jordi Boggiano (j.boggiano@seld.be)"),
        ("pkg:maven/org.osgi.gamma/", "licenses", ("Apache-2.0",)),
    ],
)  # fmt: skip
def test_what_is_said_of_a_package(found, purl, field, value):
    said = {getattr(p, field) for (name, _), p in found[0].items() if name.startswith(purl)}
    assert value in said
