"""Conda's packages."""

from __future__ import annotations

import json

import pytest

from tests.sbom.looking import read_all

AT = "opt/conda/conda-meta/zlib-1.2.13-h5eee18b_0.json"
URL = "https://conda.anaconda.org/conda-forge/linux-64/zlib-1.2.13-h5eee18b_0.conda"
NOTE = {
    "name": "zlib", "version": "1.2.13", "build": "h5eee18b_0", "subdir": "linux-64", "url": URL,
    "channel": "https://conda.anaconda.org/conda-forge/linux-64", "fn": "zlib-1.2.13-h5eee18b_0.conda",
    "license": "Zlib", "files": ["lib/libz.so", 7], "md5": "0" * 32, "sha256": None,
}  # fmt: skip


@pytest.mark.parametrize(
    "channel", ["conda-forge", "https://conda.anaconda.org/conda-forge", NOTE["channel"]]
)
def test_note(channel: str) -> None:
    (package,), warnings = read_all({AT: json.dumps({**NOTE, "channel": channel}).encode()})
    assert warnings == []
    assert package.purl == (
        "pkg:conda/zlib@1.2.13?build=h5eee18b_0&channel=conda-forge&subdir=linux-64&type=conda"
    )
    assert (package.licenses, package.supplier) == (("Zlib",), "Organization: conda-forge")
    assert (package.source, package.checksums) == (URL, {"MD5": "0" * 32})
    assert package.files == ("opt/conda/lib/libz.so",)


def test_little_is_enough() -> None:
    (package,), warnings = read_all({AT: b'{"name": "a", "files": {"b": 1}, "url": "x/a.tar.bz2"}'})
    assert (package.purl, package.supplier, warnings) == ("pkg:conda/a?type=tar.bz2", "", [])


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b'{"name": 7}', b"[" * 100_000])
def test_damage_is_a_warning(data: bytes) -> None:
    packages, warnings = read_all({AT: data})
    assert (packages, len(warnings)) == ([], 1)
