""".NET's packages."""

from __future__ import annotations

import base64
import json

import pytest

from tests.sbom.looking import purls, read_all
from tests.sbom.pes import pe

AT = "app/app.deps.json"
TOLD = {
    "libraries": {
        "app/1.0.0": {"type": "project", "sha512": ""},
        "Newtonsoft.Json/13.0.3": {
            "type": "package",
            "sha512": f"sha512-{base64.b64encode(bytes(64)).decode()}",
        },
        "Odd/1": 7,
    }
}


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
def test_deps(before: bytes) -> None:
    packages, warnings = read_all({AT: before + json.dumps(TOLD).encode()})
    assert warnings == []
    assert [p.purl for p in packages] == [
        "pkg:nuget/Newtonsoft.Json@13.0.3",
        "pkg:nuget/Odd@1",
        "pkg:nuget/app@1.0.0",
    ]
    json_net, _, app = packages
    assert json_net.source == "https://www.nuget.org/packages/Newtonsoft.Json/13.0.3"
    assert json_net.checksums == {"SHA512": "00" * 64}
    assert (app.source, app.checksums) == ("", {})


@pytest.mark.parametrize("sha512", ["sha512-!", "sha512-AAAA", "é"])
def test_what_is_no_digest_is_none(sha512: str) -> None:
    (package,), _ = read_all({AT: json.dumps({"libraries": {"a/1": {"sha512": sha512}}}).encode()})
    assert package.checksums == {}


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000])
def test_damage_is_a_warning(data: bytes) -> None:
    packages, warnings = read_all({AT: data})
    assert (packages, len(warnings)) == ([], 1)


SAID = {"ProductName": "Simple  Launcher", "FileVersion": "1.1.0.14", "ProductVersion": "1.1.0.14",
        "CompanyName": "Acme", "FileDescription": "It launches"}  # fmt: skip


def test_an_assembly() -> None:
    (package,), warnings = read_all({"app/a.dll": pe(SAID)})
    assert (package.purl, warnings) == ("pkg:nuget/Simple%20Launcher@1.1.0.14", [])
    assert package.supplier == "Organization: Acme"


@pytest.mark.parametrize(
    ("said", "purl"),
    [
        (
            {"CompanyName": "Microsoft Corporation", "FileDescription": "System.Text.Json"},
            "System.Text.Json@1.1.0.14",
        ),
        ({"ProductVersion": "8.0.1+a1b2", "FileVersion": "8.0.123.1"}, "Simple%20Launcher@8.0.123.1"),
        ({"ProductVersion": "3.2.1", "FileVersion": "3.2.0.9"}, "Simple%20Launcher@3.2.1"),
        ({"ProductVersion": "1.0.0-rc.1", "FileVersion": "1.0.0"}, "Simple%20Launcher@1.0.0"),
        ({"ProductVersion": "4.7.2 built by: X", "FileVersion": ""}, "Simple%20Launcher@4.7.2"),
        ({"ProductVersion": "1, 0, 0, 0", "FileVersion": "1.0"}, "Simple%20Launcher@1%2C%200%2C%200%2C%200"),
        ({"ProductVersion": "Release", "FileVersion": "2.5"}, "Simple%20Launcher@2.5"),
        ({"ProductName": "", "FileDescription": ""}, None),
        ({"ProductVersion": "", "FileVersion": ""}, None),
    ],
)
def test_which_texts_are_its_name_and_version(said: dict[str, str], purl: str | None) -> None:
    assert purls({"a.exe": pe({**SAID, **said})}) == ([f"pkg:nuget/{purl}"] if purl else [])


def test_other_files_of_that_name() -> None:
    assert purls({"a.dll": b"x" * 200, "b.exe": b"MZ"}) == []
    packages, warnings = read_all({"a.dll": b"MZ" + bytes(200)})
    assert (packages, len(warnings)) == ([], 1)
