""".NET's packages."""

from __future__ import annotations

import base64
import json

import pytest

from tests.sbom.looking import read_all

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
