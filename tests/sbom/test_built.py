"""The SBOM that a build attaches holds every package that syft finds, and conforms to NTIA's minimum.

The images are made here, of files that installers wrote: of languages those of fixtures/sbom (see
test_languages.py), the database of rpm by rpm itself, the rest as the installers' own sources have it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Run, run
from tests.sbom import rpms, test_alpm, test_cran, test_dotnet, test_jvm, test_luarocks, test_pecl
from tests.sbom.pes import pe
from tests.sbom.test_apk import INSTALLED
from tests.sbom.test_apk import RELEASE as ALPINE
from tests.sbom.test_languages import FIXTURE
from tests.sbom.test_peers import conformant, purls, syft
from tests.sbom.test_programs import PROGRAMS
from tests.sbom.test_rpm import RELEASE as RHEL
from tests.support import need_program

__all__ = ["run"]

pytestmark = pytest.mark.slow

#: Without what is in all of them.
DOCKERFILES = {
    "languages": "ADD languages.tar.xz /\n",
    "apk": "COPY installed /lib/apk/db/\nCOPY os-release /etc/\n",
    "rpm": "COPY os-release /etc/\nCOPY sqlite /var/lib/rpm\nCOPY ndb /usr/lib/sysimage/rpm\n"
    "COPY bdb /usr/share/rpm\n",
    "installers": "COPY root /\n",
}

SPEC = """
Name: built-by-rpm
Version: 1.0
Release: 1
Summary: A package of an image
License: MIT
BuildArch: noarch
%description
It has nothing in it.
%files
"""


def rpm_databases(folder: Path) -> None:
    """One that rpm made, of a package that names no vendor; the other forms Debian's rpm does not write."""
    (folder / "a.spec").write_text(SPEC)
    building = [need_program("rpmbuild"), "-bb", "--quiet", f"--define=_topdir {folder}/built"]
    subprocess.run([*building, str(folder / "a.spec")], check=True)
    (built,) = folder.glob("built/RPMS/*/*.rpm")
    installing = [need_program("rpm"), f"--dbpath={folder}/sqlite", "--justdb", "--nodeps", "-i", str(built)]
    subprocess.run(installing, check=True)
    for form, name, data in (
        ("ndb", "Packages.db", rpms.ndb()),
        ("bdb", "Packages", rpms.berkeley(page=4096)),
    ):
        (folder / form).mkdir()
        (folder / form / name).write_bytes(data)


def installers() -> dict[str, bytes]:
    """What installers without a room of their own in the fixtures note, and programs without a package."""
    return {
        "etc/os-release": test_alpm.RELEASE,
        f"{test_alpm.AT}/desc": test_alpm.DESC.encode(),
        f"{test_alpm.AT}/files": test_alpm.FILES,
        "usr/lib/R/library/stringr/DESCRIPTION": test_cran.DESCRIPTION,
        test_luarocks.AT: test_luarocks.ROCKSPEC,
        test_pecl.AT: test_pecl.serialized(test_pecl.NOTE).encode(),
        "venv/lib/python3.11/site-packages/pip/_vendor/distlib/t64.exe": pe(test_dotnet.SAID),
        test_dotnet.AT: json.dumps(test_dotnet.TOLD).encode(),
        test_jvm.AT: test_jvm.TEMURIN,
        "app/package.json": b'{"name": "app", "private": true}',
        "app/node_modules/a/package.json": b'{"name": "@scope/a", "version": "1.0.0"}',
        "app/node_modules/a/node_modules/b/package.json": b'{"name": "b"}',
        "app/node_modules/a/test/c/package.json": b'{"name": "c", "version": "0.1.0"}',
        **{path: b"\x7fELF" + bytes(96) + text + bytes(100) for path, (text, _) in PROGRAMS.items()},
    }


def make_context(kind: str, folder: Path) -> None:
    folder.mkdir()
    vendor = "LABEL org.opencontainers.image.vendor=ACME\n"
    (folder / "Dockerfile").write_text(f"FROM scratch\n{vendor}{DOCKERFILES[kind]}")
    if kind == "languages":
        shutil.copy(FIXTURE, folder)
    elif kind == "apk":
        (folder / "installed").write_bytes(INSTALLED)
        (folder / "os-release").write_bytes(ALPINE)
    elif kind == "rpm":
        (folder / "os-release").write_bytes(RHEL)
        rpm_databases(folder)
    else:
        for path, data in installers().items():
            file = folder / "root" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            file.chmod(0o755)


def lacking_of(theirs: set[str], ours: set[str]) -> set[str]:
    """Purls of syft's that we do not have.

    To syft a Go module that was built in its own folder has the version `(devel)`, where we say that of its
    commit or of the linker, or none; and one that a folder stood in for has the folder's name, not its own.
    """
    unversioned = {re.sub("@[^#]*", "", purl) for purl in ours if purl.startswith("pkg:golang/")}
    lacking = {purl for purl in theirs - ours if not purl.startswith("pkg:golang/./")}
    return {purl for purl in lacking if purl.replace("@(devel)", "") not in unversioned}


@pytest.mark.parametrize("kind", DOCKERFILES)
def test_every_package_that_syft_finds_is_in_the_attached_sbom(kind: str, run: Run, tmp_path: Path) -> None:
    make_context(kind, tmp_path / "context")
    run("build", "-q", "--sbom=true", "-o", "type=oci,dest=built,tar=false", "context")
    document = json.loads(run("inspect", "--format", "{{json .SBOM}}", "oci:built"))["SPDX"]
    run("copy", "--platform", "linux/amd64", "oci:built", "oci:layout")
    theirs = set(syft(tmp_path / "layout"))
    assert len(theirs) > 2
    assert lacking_of(theirs, set(purls(document))) == set()

    (tmp_path / "app.spdx.json").write_text(json.dumps(document))
    said = conformant(tmp_path / "app.spdx.json")
    assert (said["validationMessages"], said["isNtiaConformant"]) == ([], True)
