"""Statements, their subjects, and package URLs as BuildKit writes them."""

from __future__ import annotations

import hashlib

import pytest

from imagesmith.attest.statement import (
    Claim,
    Subject,
    purl_of,
    statement,
    subjects_of_files,
    subjects_of_image,
)
from imagesmith.fs.entry import BytesContent, Entry
from imagesmith.fs.view import LayerIndex, View
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.names import ImageRef, Platform

AMD64, ARM = Platform("linux", "amd64"), Platform("linux", "arm", "v7")
PIN = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("name", "platform", "purl"),
    [
        ("busybox", AMD64, "pkg:docker/busybox@latest?platform=linux%2Famd64"),
        ("docker.io/library/alpine:3.20", None, "pkg:docker/alpine@3.20"),
        ("moby/buildkit:v1", ARM, "pkg:docker/moby/buildkit@v1?platform=linux%2Farm%2Fv7"),
        ("127.0.0.1:5000/a/b/c:t", AMD64, "pkg:docker/127.0.0.1%3A5000/a/b/c@t?platform=linux%2Famd64"),
        (f"ghcr.io/o/n@{PIN}", AMD64, f"pkg:docker/ghcr.io/o/n?digest={PIN}&platform=linux%2Famd64"),
        (f"ghcr.io/o/n:1@{PIN}", None, f"pkg:docker/ghcr.io/o/n@1?digest={PIN}"),
    ],
)
def test_package_url_of_an_image(name: str, platform: Platform | None, purl: str) -> None:
    assert purl_of(ImageRef.parse(name), platform) == purl


def test_statement_is_compact_in_this_order() -> None:
    claim = Claim("https://slsa.dev/provenance/v1", {"b": 1, "a": "<&>"})
    raw = statement(claim, [Subject("x", "00")])
    assert raw == (
        b'{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1",'
        b'"subject":[{"name":"x","digest":{"sha256":"00"}}],"predicate":{"b":1,"a":"\\u003c\\u0026\\u003e"}}'
    )
    assert b'"subject":[],' in statement(claim, [])


def test_image_is_a_subject_under_each_of_its_names() -> None:
    digest = digest_bytes(b"m")
    found = subjects_of_image([ImageRef.parse("a:1"), ImageRef.parse("b")], AMD64, digest)
    assert [s.name.split("?")[0] for s in found] == ["pkg:docker/a@1", "pkg:docker/b@latest"]
    assert {s.sha256 for s in found} == {digest.hex}
    assert subjects_of_image([], AMD64, digest) == []


def test_regular_files_are_subjects_under_all_their_names() -> None:
    data = BytesContent(b"data")
    entries = [
        Entry("d", "d", 0o755), Entry("d/a", "f", size=4, content=data), Entry("d/b", "h", link="d/a"),
        Entry("empty", "f"), Entry("l", "l", link="d/a"), Entry("p", "p"),
    ]  # fmt: skip
    found = subjects_of_files(View([LayerIndex(entries)]))
    of_data = hashlib.sha256(b"data").hexdigest()
    assert [(s.name, s.sha256) for s in found] == [
        ("d/a", of_data), ("d/b", of_data), ("empty", hashlib.sha256().hexdigest()),
    ]  # fmt: skip
