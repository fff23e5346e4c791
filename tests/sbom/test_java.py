"""Jars, and jars in jars. How jars are named is compared with syft in test_languages.py."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest

from imagesmith.sbom import java
from tests.sbom.jars import jar, pom
from tests.sbom.looking import purls, read_all

ALPHA = jar(pom("org.acme", "alpha", "1.2"))


def test_a_jar_and_its_digest():
    (package,), warnings = read_all({"app/alpha-1.2.jar": ALPHA})
    assert (package.purl, package.path) == ("pkg:maven/org.acme/alpha@1.2", "app/alpha-1.2.jar")
    assert package.checksums == {"SHA1": hashlib.sha1(ALPHA).hexdigest()}
    assert warnings == []


def test_what_was_shaded_into_a_jar():
    data = jar(pom("g", "one", "1") | pom("g", "two", "2") | pom("g", "own", "3"))
    assert purls({"own-3.jar": data}) == ["pkg:maven/g/one@1", "pkg:maven/g/own@3", "pkg:maven/g/two@2"]


def test_the_pom_beside_says_more():
    xml = """<project xmlns="http://maven.apache.org/POM/4.0.0"><parent><groupId>org.parent</groupId></parent>
    <artifactId>beta</artifactId><version>${revision}</version><url>https://beta.example</url>
    <description>A
       library</description><organization><name>Beta Inc.</name></organization>
    <licenses><license><name>MIT</name></license><license><name>Apache-2.0</name></license></licenses></project>"""
    files = pom("org.parent", "beta", "2", xml)
    files["META-INF/maven/org.parent/beta/pom.properties"] = "artifactId=beta\nversion=2\n"
    (package,), _ = read_all({"beta.jar": jar(files)})
    assert package.purl == "pkg:maven/org.parent/beta@2"
    assert package.licenses == ("MIT", "Apache-2.0")
    assert (package.homepage, package.description) == ("https://beta.example", "A library")
    assert package.supplier == "Organization: Beta Inc."


@pytest.mark.parametrize(
    "xml",
    ["<project><a>", '<!DOCTYPE p [<!ENTITY a "b">]><project><url>&a;</url></project>', "\0"],
)
def test_a_pom_that_is_damaged_or_dangerous_is_not_needed(xml):
    (package,), warnings = read_all({"beta.jar": jar(pom("g", "beta", "2", xml))})
    assert (package.purl, package.homepage, warnings) == ("pkg:maven/g/beta@2", "", [])


@pytest.mark.parametrize("stored", [True, False])
def test_archives_in_archives(stored):
    war = jar({"WEB-INF/lib/alpha.jar": ALPHA}, stored=stored, manifest="Implementation-Version: 7\r\n")
    ear = jar(
        {"shop.war": war, "lib/beta-3.jar": jar({}, manifest="Automatic-Module-Name: com.beta\r\n")},
        stored=stored,
    )
    packages, warnings = read_all({"opt/all.ear": ear})
    assert {p.purl for p in packages} == {
        "pkg:maven/all/all", "pkg:maven/shop/shop@7", "pkg:maven/com.beta/beta@3",
        "pkg:maven/org.acme/alpha@1.2",
    }  # fmt: skip
    assert {p.path for p in packages} == {"opt/all.ear"}
    assert warnings == []


def test_archives_that_lie_too_deep():
    data = ALPHA
    for _ in range(20):
        data = jar({"x.jar": data}, stored=True)
    packages, warnings = read_all({"deep.jar": data})
    assert warnings == ["/deep.jar: archives that lie too deep in it, or are too many, are passed over"]
    assert "pkg:maven/org.acme/alpha@1.2" not in {p.purl for p in packages}


def test_one_archive_in_many_rows(monkeypatch):
    monkeypatch.setattr(java, "_MOST_ARCHIVES", 50)
    inner = jar({f"{n}.jar": ALPHA for n in range(20)}, stored=True)
    packages, warnings = read_all({"a.jar": jar({f"{n}.jar": inner for n in range(20)}, stored=True)})
    assert set(warnings) == {"/a.jar: archives that lie too deep in it, or are too many, are passed over"}
    assert "pkg:maven/org.acme/alpha@1.2" in {p.purl for p in packages}


def test_a_damaged_archive_in_another():
    packages, warnings = read_all({"a.war": jar({"b.jar": b"x" * 50, "c.jar": ALPHA})})
    assert "pkg:maven/org.acme/alpha@1.2" in {p.purl for p in packages}
    assert warnings == ["/a.war: b.jar in it cannot be read: no zip archive"]


def test_bombs_are_not_unpacked(monkeypatch):
    monkeypatch.setattr(java, "_INNER_BYTES", 4 << 20)
    bomb = jar({"big.jar": bytes(64 << 20), "alpha.jar": ALPHA})
    tracemalloc.start()
    try:
        packages, warnings = read_all({"a.war": bomb})
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert warnings == [
        "/a.war: big.jar in it cannot be read: 'big.jar' of 67108864 bytes, more than 4194304"
    ]
    assert "pkg:maven/org.acme/alpha@1.2" in {p.purl for p in packages}


def test_all_that_is_unpacked_is_bounded(monkeypatch):
    monkeypatch.setattr(java, "_ALL_BYTES", 1 << 20)
    packages, warnings = read_all({"a.war": jar({f"{n}.jar": bytes(300_000) for n in range(10)})})
    assert [p.purl for p in packages] == ["pkg:maven/a/a"]
    assert warnings[-1] == "/a.war: cannot be read as a list of packages: archives that unpack to too much"
    assert len(warnings) == 4


def test_what_is_woven_into_others_is_not_named_for_them():
    assert purls({"spring-4.jar": jar({}, manifest="Weave-Classes: a\r\n")}) == []
