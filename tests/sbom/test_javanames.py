"""The names of jars; test_languages.py compares with syft."""

from __future__ import annotations

import pytest

from imagesmith.sbom.javanames import (
    Manifest,
    file_name,
    group_of,
    manifest_of,
    name_of,
    pom_of,
    properties_of,
)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("some-package-4.0.1.jar", ("some-package", "4.0.1")),
        ("my-http2-server-5.jar", ("my-http2-server", "5")),
        ("commons-lang3-3.12.0-SNAPSHOT.jar", ("commons-lang3", "3.12.0-SNAPSHOT")),
        ("jetpack-build235-rc5.jar", ("jetpack", "build235-rc5")),
        ("ironman-r4-2009.jar", ("ironman", "r4-2009")),
        ("org.eclipse.osgi_3.18.500.v2022.jar", ("org.eclipse.osgi", "3.18.500.v2022")),
        ("plain.war", ("plain", "")),
        ("x", ("x", "")),
    ],
)
def test_names_of_files(file, expected):
    assert file_name(file) == expected


def test_a_manifest_of_several_sections():
    text = "\r\nManifest-Version: 1.0\r\nImplementation-Title: a very \r\n long title\r\nodd line\r\n\r\n"
    text += "Name: a/\r\nImplementation-Version: 9\r\n"
    found = manifest_of(text)
    assert found.main == {"Manifest-Version": "1.0", "Implementation-Title": "a verylong title"}
    assert found.version() == "9"
    assert manifest_of(" continued\r\n: x\r\n") == Manifest({})


@pytest.mark.parametrize(
    ("main", "group"),
    [
        ({"Bundle-SymbolicName": "org.osgi.x;singleton:=true"}, "org.osgi.x"),
        ({"Implementation-Vendor-Id": "com.beta", "Automatic-Module-Name": "com.a"}, "com.beta"),
        ({"Automatic-Module-Name": "com.beta.core"}, "com.beta.core"),
        ({"Implementation-Vendor": "The Authors"}, ""),
    ],
)
def test_groups(main, group):
    assert group_of(Manifest(main)) == group


def test_names_of_bundles():
    made = {"Created-By": "Apache Maven Bundle Plugin", "Bundle-SymbolicName": "org.acme.part;x:=1"}
    assert name_of(Manifest(made), "file") == "part"
    assert name_of(Manifest(made | {"Implementation-Vendor-Id": "org.acme.part;x:=1"}), "file") == "file"
    assert name_of(None, "com.acme.thing") == "thing"
    assert name_of(None, "org.eclipse.thing") == "org.eclipse.thing"
    assert name_of(Manifest({"Bundle-Name": "Named"}), "") == "Named"


def test_properties():
    assert properties_of("#c\n!d\na=1\nb : 2\nc\n = x\nversion=1.0 \n") == {
        "a": "1",
        "b": "2",
        "version": "1.0",
    }


def test_an_entity_is_refused():
    with pytest.raises(ValueError, match="document type"):
        pom_of(b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>')
