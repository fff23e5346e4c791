"""Gentoo's packages."""

from __future__ import annotations

import pytest

from imagesmith.sbom import portage
from tests.sbom.looking import read_all

AT = "var/db/pkg/app-misc/hello-world-2.10_p1-r1"
CONTENTS = b"dir /usr\nobj /usr/bin/a b " + b"0" * 32 + b" 164\nsym /usr/bin/c -> a b 164\n"


def test_database() -> None:
    files = {
        f"{AT}/CONTENTS": CONTENTS,
        f"{AT}/LICENSE": b"|| ( GPL-3+ MIT ) doc? ( FDL-1.3 )\n",
        f"{AT}/HOMEPAGE": b"https://example.org/ https://example.com/\n",
    }
    (package,), warnings = read_all(files)
    assert warnings == []
    assert (package.purl, package.full_name) == (
        "pkg:ebuild/app-misc/hello-world@2.10_p1-r1",
        "app-misc/hello-world",
    )
    assert package.licenses == ("GPL-3+", "MIT", "FDL-1.3")
    assert package.homepage == "https://example.org/"
    assert package.files == ("usr/bin/a b", "usr/bin/c")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("var/db/pkg/sys-libs/gtk+-3.0/CONTENTS", True), ("mnt/var/db/pkg/a/b-1.2.3a_rc4/CONTENTS", True),
        ("var/db/pkg/a/b/CONTENTS", False), ("var/db/pkg/b-1/CONTENTS", False),
        ("db/pkg/a/b-1/CONTENTS", False),
        ("var/db/pkg/a/b-1/LICENSE", False),
    ],
)  # fmt: skip
def test_paths(path: str, wanted: bool) -> None:
    assert portage.wants(path) is wanted
