"""Other programs read the same images and our documents: syft, ntia-conformance-checker, SPDX's own tools.

Syft finds no package that we do not, and says the same purl of it. Programs: `pip install '.[peers]'`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import pytest

from imagesmith.store.store import Store
from tests.cli.conftest import Run, run
from tests.registry.images import make_image
from tests.sbom import rpms
from tests.sbom.test_apk import INSTALLED
from tests.sbom.test_apk import RELEASE as ALPINE
from tests.sbom.test_rpm import RELEASE as RHEL
from tests.support import lacking

__all__ = ["run"]

pytestmark = pytest.mark.slow


def program(name: str) -> str:
    """A program beside this Python, or on PATH."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if found is None:
        lacking(f"{name} is not installed")
        raise AssertionError
    return found


def syft(layout: Path) -> dict[str, Any]:
    """The purls that syft finds in an image, and what it says of each."""
    command = [program("syft"), "scan", "-q", f"oci-dir:{layout}", "-o", "spdx-json"]
    env = {**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    done = subprocess.run(command, capture_output=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return purls(json.loads(done.stdout))


def purls(document: Mapping[str, Any]) -> dict[str, Any]:
    """The packages of an SPDX document by their purls, the image itself left out."""
    return {
        ref["referenceLocator"]: package
        for package in document["packages"]
        for ref in package.get("externalRefs", ())
        if ref["referenceType"] == "purl" and package.get("primaryPackagePurpose") != "CONTAINER"
    }


def conformant(file: Path) -> dict[str, Any]:
    """What ntia-conformance-checker says; it validates the document as SPDX, too."""
    out = file.with_suffix(".ntia")
    command = [program("ntia-checker"), str(file), "--output", "json", "--output-file", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert out.exists(), done.stdout + done.stderr
    return dict(json.loads(out.read_text()))


def debian() -> dict[str, bytes]:
    """What this machine's dpkg has on itself, with the copyright files."""
    status = Path("/var/lib/dpkg/status")
    if not status.exists():
        lacking("no Debian")
    docs = Path("/usr/share/doc").glob("*/copyright")
    files = [status, Path("/usr/lib/os-release"), *(p for p in docs if p.is_file())]
    return {
        "etc/os-release": Path("/etc/os-release").read_bytes(),
        **{str(p)[1:]: p.read_bytes() for p in files},
    }


def alpine() -> dict[str, bytes]:
    return {"lib/apk/db/installed": INSTALLED, "etc/os-release": ALPINE}


def rpm(form: str, folder: Path) -> dict[str, bytes]:
    if form == "sqlite":
        folder.mkdir(exist_ok=True)
        return {
            "var/lib/rpm/rpmdb.sqlite": rpms.sqlite(folder / "db")["rpmdb.sqlite"],
            "etc/os-release": RHEL,
        }
    name, made = ("Packages.db", rpms.ndb()) if form == "ndb" else ("Packages", rpms.berkeley(page=4096))
    return {f"var/lib/rpm/{name}": made, "etc/os-release": RHEL}


def distroless() -> dict[str, bytes]:
    stanza = b"Package: %s\nVersion: 1-2\nArchitecture: amd64\nMaintainer: Jane <jane@example.org>\n"
    folder = "var/lib/dpkg/status.d"
    return {
        "etc/os-release": b"ID=debian\nVERSION_ID=12\n",
        **{f"{folder}/{name}": stanza % name.encode() for name in ("base", "libc6")},
        f"{folder}/base.md5sums": b"0123456789abcdef0123456789abcdef  etc/x\n",
    }


@pytest.mark.parametrize("kind", ["debian", "distroless", "alpine", "sqlite", "ndb", "bdb"])
def test_peers_agree(kind: str, run: Run, tmp_path: Path) -> None:
    match kind:
        case "debian":
            files = debian()
        case "distroless":
            files = distroless()
        case "alpine":
            files = alpine()
        case _:
            files = rpm(kind, tmp_path / "made")
    with Store(tmp_path / "store") as store:
        folders = {f"{folder}/": b"" for path in files for folder in map(str, PurePath(path).parents[:-1])}
        make_image(store, "app:1", (dict(sorted((folders | files).items())),))
    run("copy", "store:app:1", "oci:layout:1")
    run("sbom", "app:1", "--supplier", "ACME", "-o", "app.spdx.json")
    ours = purls(json.loads((tmp_path / "app.spdx.json").read_bytes()))
    theirs = syft(tmp_path / "layout")
    assert len(ours) > 1
    assert set(ours) == set(theirs)
    said = conformant(tmp_path / "app.spdx.json")
    assert said["validationMessages"] == []
    assert said["isNtiaConformant"] is True
