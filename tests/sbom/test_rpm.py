"""rpm: packages of headers, Mariner's list, and a database that rpm itself wrote."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.sbom import rpms
from tests.sbom.trees import Told, packages
from tests.support import need_program

RELEASE = b'ID="rhel"\nVERSION_ID="9.2"\n'


@pytest.mark.parametrize("folder", ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"])
def test_packages(folder: str) -> None:
    found = packages({f"{folder}/Packages.db": rpms.ndb(), "etc/os-release": RELEASE})
    key, large, one, two = found
    assert [p.purl for p in found] == [
        "pkg:rpm/redhat/gpg-pubkey@abc-1?distro=rhel-9.2",
        "pkg:rpm/redhat/large@3.0-1.el9?arch=noarch&distro=rhel-9.2",
        "pkg:rpm/redhat/one@1.0-1.el9?arch=noarch&distro=rhel-9.2&upstream=one-1.0-1.el9.src.rpm",
        "pkg:rpm/redhat/two@2.0-1.el9?arch=noarch&distro=rhel-9.2&epoch=7",
    ]
    assert (one.supplier, two.supplier, large.supplier) == (
        "Organization: ACME",
        "Person: Jane Doe (jane@example.org)",
        "",
    )
    assert key.supplier == "Person: ACME 9 (key@example.org)"
    assert (one.licenses, two.licenses, large.licenses) == (("GPLv2+ and MIT",), ("ASL 2.0",), ())
    assert (one.homepage, one.description) == ("https://example.org/", "the first")
    assert len(large.files) == 800
    assert large.files[:2] == ("usr/file0", "etc/x/file1")


def test_list_of_mariner() -> None:
    line = b"bash\t5.1-1.cm2\t16\t16\tMicrosoft Corporation\t(none)\t1\tx86_64\t0\tbash-5.1-1.cm2.src.rpm\n"
    (found,) = packages({"var/lib/rpmmanifest/container-manifest-2": line + b"short\tline\n"})
    assert found.purl == "pkg:rpm/bash@5.1-1.cm2?arch=x86_64&upstream=bash-5.1-1.cm2.src.rpm"
    assert found.supplier == "Organization: Microsoft Corporation"


def test_damaged_header_costs_a_warning_and_itself_only() -> None:
    told = Told()
    headers = [rpms.HEADERS[0], b"\xff" * 40, b"", rpms.header({1000: "bad", 1003: 1})[:-2], rpms.HEADERS[1]]
    found = packages({"var/lib/rpm/Packages.db": rpms.ndb(headers)}, told=told)
    assert [p.name for p in found] == ["one", "two"]
    assert len(told) == 3


def test_numbers_that_lead_nowhere_are_no_files() -> None:
    header = rpms.header({1000: "a", 1001: "1", 1116: [9, 0, 0], 1117: ["x", "y"], 1118: ["/usr/"]})
    (found,) = packages({"var/lib/rpm/Packages.db": rpms.ndb([header])})
    assert found.files == ("usr/y",)


SPEC = """Name: real
Version: 1.2
Release: 3
Epoch: 4
Summary: made by rpm
License: GPLv2+
Vendor: ACME
BuildArch: noarch
%description
d
%install
mkdir -p %{buildroot}/usr/share/real
echo x > %{buildroot}/usr/share/real/file
%files
/usr/share/real
"""


@pytest.mark.slow
def test_what_rpm_itself_installed(tmp_path: Path) -> None:
    rpm, rpmbuild, rpmdb = need_program("rpm"), need_program("rpmbuild"), need_program("rpmdb")
    (tmp_path / "real.spec").write_text(SPEC)
    root = ["--root", str(tmp_path / "root"), "--dbpath", "/var/lib/rpm"]
    (tmp_path / "root/var/lib/rpm").mkdir(parents=True)
    for command in (
        [rpmbuild, "--quiet", "-bb", "--define", f"_topdir {tmp_path}/top", str(tmp_path / "real.spec")],
        [rpmdb, *root, "--initdb"],
        [rpm, *root, "-i", "--nodeps", "--force-debian", f"{tmp_path}/top/RPMS/noarch/real-1.2-3.noarch.rpm"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    form = "%{NAME} %{EPOCH} %{VERSION}-%{RELEASE} %{ARCH} %{LICENSE} %{VENDOR}\n[%{FILENAMES}\n]"
    said = subprocess.run(
        [rpm, *root, "-qa", "--qf", form], capture_output=True, text=True, check=True
    ).stdout
    folder = tmp_path / "root/var/lib/rpm"
    files = {f"var/lib/rpm/{p.name}": p.read_bytes() for p in folder.iterdir()}
    (found,) = packages(files, folder=tmp_path / "store")
    fields = [found.name, found.qualifiers["epoch"], found.version, found.qualifiers["arch"]]
    lines = [" ".join([*fields, *found.licenses, found.supplier.removeprefix("Organization: ")])]
    assert "".join(f"{line}\n" for line in [*lines, *(f"/{path}" for path in found.files)]) == said
