"""What is fuzzed of SBOMs: files that tell of packages, one of them damaged, become documents that hold.

The first byte of an input says which file the rest is; beside it lie a release and a copyright file. Nothing
may be raised; the documents are JSON, name each package once, and licences that are known or explained.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

from imagesmith.errors import LimitExceeded
from imagesmith.sbom.licences import known
from imagesmith.sbom.making import sbom_of
from tests.sbom import rpms
from tests.sbom.test_apk import INSTALLED
from tests.sbom.test_damage import CASES, PROGRAM
from tests.sbom.test_dpkg import DEP5, STATUS
from tests.sbom.trees import RELEASE, view

__all__ = ["WORDS", "run", "seeds"]

#: By the first byte of an input.
PATHS = (
    "var/lib/dpkg/status",
    "var/lib/dpkg/status.d/trig",
    "lib/apk/db/installed",
    "var/lib/rpm/Packages.db",
    "var/lib/rpm/Packages",
    "var/lib/rpm/rpmdb.sqlite",
    "usr/share/doc/trig/copyright",
    "etc/os-release",
    "var/lib/rpmmanifest/container-manifest-2",
    *(path if path != PROGRAM else "usr/lib/libx.so" for _, path, _ in CASES.values()),
)
WORDS = (
    b"Package: ", b"Version: ", b"Source: ", b"Status: install ok installed", b"Maintainer: ", b"\n\n",
    b"License: ", b"Files: *", b"Format: x\n", b" and ", b" or ", b"(", b")", b", and ", b" with ", b"GPL-2+",
    b"/usr/share/common-licenses/", b"P:", b"V:", b"F:", b"R:", b"L:", b"ID=", b"VERSION_ID=", b'"',
    b"RpmP", b"Slot", b"BlbS", b"\0\0\0\x01", b"\x61\x15\x06\0", b"SQLite format 3\0", b"../", b"\t",
    b"\xed\xa0\x80", b"\x1b[0m", b"\xc2\x9b", b"<a@b.c>",
)  # fmt: skip


def seeds() -> tuple[bytes, ...]:
    """One whole file of each kind."""
    with tempfile.TemporaryDirectory() as folder:
        sqlite = rpms.sqlite(Path(folder) / "db", rpms.HEADERS[:1])["rpmdb.sqlite"]
    manifest = b"a\t1-2\t0\t0\tACME\t(none)\t1\tx86_64\t0\ta-1-2.src.rpm\n"
    few = rpms.HEADERS[:2]
    wholes = (STATUS, STATUS, INSTALLED, rpms.ndb(few), rpms.berkeley(few), sqlite, DEP5, RELEASE, manifest)
    languages = (whole for _, _, whole in CASES.values())
    return tuple(bytes([n]) + whole for n, whole in enumerate((*wholes, *languages)))


def run(data: bytes) -> None:
    """See above."""
    damaged = PATHS[data[0] % len(PATHS)] if data else PATHS[0]
    files = {
        "var/lib/dpkg/status": STATUS,
        "usr/share/doc/trig/copyright": DEP5,
        "etc/os-release": RELEASE,
        damaged: data[1:],
    }
    tree = view(files)
    with tempfile.TemporaryDirectory() as folder:
        try:
            spdx = json.load(io.BytesIO(sbom_of(tree, name="x", folder=Path(folder))))
            cyclonedx = json.load(
                io.BytesIO(sbom_of(tree, name="x", folder=Path(folder), format_="cyclonedx"))
            )
        except LimitExceeded:
            return
    ids = [p["SPDXID"] for p in spdx["packages"]]
    assert len(ids) == len(set(ids))
    references = [c["bom-ref"] for c in cyclonedx["components"]]
    assert len(references) == len(set(references))
    texts = {i["licenseId"] for i in spdx.get("hasExtractedLicensingInfos", ())}
    for package in spdx["packages"]:
        assert package["name"].isprintable()
        words = package["licenseDeclared"].replace("(", " ").replace(")", " ").split()
        licences = [w for before, w in zip(["", *words], words, strict=False) if before != "WITH"]
        for word in licences:
            assert word in ("AND", "OR", "WITH", "NOASSERTION") or word in texts or known(word), word
