"""Programs that are known by what they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

import pytest

from imagesmith.sbom import parts, programs, reading
from imagesmith.sbom.package import Package
from tests.sbom.looking import purls, read_all
from tests.sbom.trees import packages

#: Texts that such programs have, beside their paths.
PROGRAMS = {
    "usr/local/bin/node": (b"\0node.js/v22.9.0\0", "node@22.9.0"),
    "opt/old/node": (b"\0v4.9.1\0", "node@4.9.1"),
    "usr/local/bin/python3.12": (b"\x003.12.4\0", "python@3.12.4"),
    "usr/local/lib/libpython3.11.so.1.0": (b"\x003.9.1\0\x003.11.2rc1\0", "python@3.11.2rc1"),
    "usr/local/go/bin/go": (b"go1.22.3\0", "go@1.22.3"),
    "usr/local/bin/redis-server": (b" 7.0.14buildkitsandbox-1702957741000000000", "redis@7.0.14"),
    "usr/lib/postgresql/16/bin/postgres": (b"\0PostgreSQL 16.3 on x86", "postgresql@16.3"),
    "usr/sbin/nginx": (b"\0nginx version: openresty/1.21.4.1", "nginx@1.21.4"),
    "usr/local/apache2/bin/httpd": (b"Apache/2.4.59 (Unix)", "httpd@2.4.59"),
    "bin/busybox": (b"BusyBox v1.36.1 (2024)", "busybox@1.36.1"),
    "opt/bash": (b"@(#)Bash version 5.2.15(1) release GNU", "bash@5.2.15"),
    "usr/local/bin/php": (b"X-Powered-By: PHP/8.3.7", "php-cli@8.3.7"),
    "usr/local/sbin/php-fpm": (b"X-Powered-By: PHP/8.4.0RC1", "php-fpm@8.4.0RC1"),
    "usr/local/bin/ruby": (b"ruby 3.3.1 (2024-04-23 revision", "ruby@3.3.1"),
    "usr/bin/mysql": (b"x\x008.0.37\0\0\0mysql_real_esc", "mysql@8.0.37"),
    "usr/bin/mariadb": (b"10.6.15-MariaDB", "mariadb@10.6.15"),
    "usr/local/bin/haproxy": (b"version 2.9.7-5742051, released 2024", "haproxy@2.9.7"),
    "opt/java/bin/java": (b"\0openjdk\0java\x000.0\x0011.0.17+8-LTS\0", "java/jre@11.0.17%2B8-LTS"),
}


@pytest.mark.parametrize("path", PROGRAMS)
def test_each_is_known_by_its_name_and_its_text(path: str) -> None:
    text, purl = PROGRAMS[path]
    assert purls({path: bytes(100) + text + bytes(100)}) == [f"pkg:generic/{purl}"]
    assert purls({path: bytes(300), str(PurePath(path).with_name("else")): text}) == []


@pytest.mark.parametrize("before", [0, 1, 900, 1023, 1024, 5000])
def test_text_is_found_wherever_pieces_of_the_file_end(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_PIECE_BYTES", 1024)
    assert purls({"bin/node": b"x" * before + b"node.js/v22.9.0" + b"y" * 3000}) == [
        "pkg:generic/node@22.9.0"
    ]


def test_first_pattern_that_finds_anything_counts() -> None:
    late = {"bin/redis-server": b"Redis version 2.8.23" + bytes(9) + b" 7.0.1buildkitsandbox-17"}
    assert purls(late) == ["pkg:generic/redis@7.0.1"]


def test_java_with_a_release_is_told_of_once() -> None:
    java = PROGRAMS["opt/java/bin/java"][0]
    found = purls({"opt/java/bin/java": java, "opt/java/release": b'JAVA_VERSION="11.0.17"\n'})
    assert found == ["pkg:generic/oracle/openjdk@11.0.17"]


STATUS = b"Package: bash\nStatus: install ok installed\nVersion: 5.2-3\nArchitecture: amd64\n\n"


def debian(owned: bytes) -> Mapping[str, bytes]:
    return {
        "var/lib/dpkg/status": STATUS,
        "var/lib/dpkg/info/bash.list": b"/.\n/usr\n" + owned,
        "usr/bin/bash": PROGRAMS["opt/bash"][0],
    }


def kinds(found: list[Package]) -> list[str]:
    return [package.kind for package in found]


def test_file_of_a_package_of_the_distribution_is_told_of_once() -> None:
    assert kinds(read_all(debian(b"/usr/bin/bash\n"))[0]) == ["deb"]
    assert kinds(read_all(debian(b"/bin/sh\n"))[0]) == ["deb", "generic"]


def test_package_may_name_its_file_through_a_link_of_a_folder() -> None:
    assert kinds(packages({**debian(b"/bin/bash\n"), "bin": "usr/bin"})) == ["deb"]


def test_huge_file_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_MOST_BYTES", 10)
    assert purls({"opt/bash": PROGRAMS["opt/bash"][0]}) == []


def test_all_that_is_searched_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_ALL_BYTES", 60)
    found, warnings = read_all({f"{n}/bash": PROGRAMS["opt/bash"][0] for n in range(3)})
    assert [p.path for p in found] == ["0/bash"]
    assert len(warnings) == 2
