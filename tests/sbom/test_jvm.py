"""Java runtimes by the release at their root."""

from __future__ import annotations

import pytest

from tests.sbom.looking import purls, read_all

TEMURIN = b"""IMPLEMENTOR="Eclipse Adoptium"
IMPLEMENTOR_VERSION="Temurin-21.0.4+7"
JAVA_RUNTIME_VERSION="21.0.4+7-LTS"
JAVA_VERSION="21.0.4"
SOURCE=".:git:13710926b798"
BUILD_SOURCE_REPO="https://github.com/adoptium/temurin-build.git"
SOURCE_REPO="https://github.com/adoptium/jdk21u.git"
IMAGE_TYPE="JDK"
"""
AT = "opt/java/openjdk/release"


def test_a_build_of_openjdk() -> None:
    (package,), warnings = read_all({AT: TEMURIN})
    assert warnings == []
    assert package.purl == (
        "pkg:generic/oracle/openjdk@21.0.4%2B7-LTS?repository_url=https://github.com/adoptium/jdk21u.git"
    )
    assert package.supplier == "Organization: Eclipse Adoptium"


@pytest.mark.parametrize(
    ("rows", "path", "purl"),
    [
        (b'JAVA_VERSION="1.8.0_422"\nFULL_VERSION="1.8.0_422-b05"', AT, "oracle/openjdk@1.8.0_422-b05"),
        (b'JAVA_VERSION="17.0.1"\nFULL_VERSION="8.32.0"', AT, "oracle/openjdk@17.0.1"),
        (b'JAVA_VERSION="21"\nIMPLEMENTOR="Azul Systems, Inc."', AT, "azul/zulu@21"),
        (b'JAVA_VERSION="21"', "opt/zulu21/release", "azul/zulu@21"),
        (b'JAVA_VERSION="22"\nIMPLEMENTOR="Oracle Corporation"', AT, "oracle/jdk@22"),
        (b'JAVA_VERSION="8"\nIMPLEMENTOR="Oracle Corporation"\nIMAGE_TYPE="JRE"', AT, "oracle/jre@8"),
        (b"JAVA_VERSION=11\nIMPLEMENTOR=N/A", AT, "oracle/openjdk@11"),
    ],
)
def test_versions_and_makers(rows: bytes, path: str, purl: str) -> None:
    assert purls({path: rows}) == [f"pkg:generic/{purl}"]


@pytest.mark.parametrize("data", [b"", b"Origin: Debian\nLabel: Debian\n", b"\xff\0", b'IMPLEMENTOR="x"'])
def test_other_files_of_that_name(data: bytes) -> None:
    assert purls({"srv/debian/release": data, "release": data}) == []
