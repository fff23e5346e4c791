from __future__ import annotations

import json
from typing import Any

import pytest

from imagesmith.errors import InvalidDocument, Unsupported
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Index, Manifest, parse_document
from imagesmith.oci.names import Platform

D = {"mediaType": "x/y", "digest": f"sha256:{'a' * 64}", "size": 3}


def raw(**fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, **fields}).encode()


def test_bytes_are_kept_as_they_came() -> None:
    data = b' {"layers": [], "config": ' + json.dumps(D).encode() + b', "schemaVersion":2, "x": 1}\n'
    assert parse_document(data).raw == data
    assert parse_document(data).digest == digest_bytes(data)


def test_kind_is_told_by_type_then_by_content() -> None:
    assert isinstance(parse_document(raw(manifests=[])), Index)
    assert isinstance(parse_document(raw(config=D, layers=[])), Manifest)
    assert parse_document(raw(config=D, layers=[]), mt.DOCKER_MANIFEST).media_type == mt.DOCKER_MANIFEST
    assert parse_document(raw(config=D, layers=[]), "text/plain").media_type == mt.OCI_MANIFEST


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (raw(config=D, layers=[], manifests=[]), InvalidDocument),
        (raw(), InvalidDocument),
        (raw(mediaType=mt.OCI_INDEX, config=D, layers=[]), InvalidDocument),
        (raw(mediaType=mt.OCI_MANIFEST, manifests=[]), InvalidDocument),
        (raw(config={**D, "size": -1}), InvalidDocument),
        (raw(config={**D, "digest": "sha256:zz"}), InvalidDocument),
        (raw(config={**D, "size": 1.5}), InvalidDocument),
        (raw(manifests=[D] * 10_001), InvalidDocument),
        (json.dumps({"schemaVersion": 3, "manifests": []}).encode(), InvalidDocument),
        (json.dumps({"schemaVersion": 1, "fsLayers": []}).encode(), Unsupported),
        (raw(mediaType="application/vnd.docker.distribution.manifest.v1+prettyjws"), Unsupported),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_document(data)


def test_descriptor_is_written_in_gos_order_and_read_back() -> None:
    d = Descriptor(
        media_type="x/y", digest=digest_bytes(b"a"), size=1, annotations={"b": "1", "a": "2"},
        platform=Platform("linux", "arm", "v7"), urls=("http://u",), data="YQ==", artifact_type="t/t",
    )  # fmt: skip
    index = Index.build([d])
    assert list(d.to_json()) == [
        "mediaType",
        "digest",
        "size",
        "urls",
        "annotations",
        "data",
        "platform",
        "artifactType",
    ]
    assert Index.parse(index.raw).manifests == (d,)


def test_attestations_are_no_images() -> None:
    assert Descriptor(
        media_type=mt.OCI_MANIFEST, digest=digest_bytes(b""), size=0, platform=Platform("unknown", "unknown")
    ).is_attestation


@pytest.mark.parametrize(
    "media_type", [mt.OCI_INDEX, mt.OCI_MANIFEST, mt.OCI_CONFIG, mt.OCI_LAYER_GZIP, mt.OCI_LAYER_ZSTD]
)
def test_families_of_types_map_onto_each_other(media_type: str) -> None:
    assert mt.to_oci(mt.to_docker(media_type)) == media_type
    assert mt.to_docker(media_type) != media_type
