"""Attestation manifests and their index, byte for byte in the forms that were seen of BuildKit."""

from __future__ import annotations

import json

from imagesmith.attest.manifest import attestation_of
from imagesmith.attest.statement import Claim, Subject, statement
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.mediatype import OCI_MANIFEST
from imagesmith.oci.model import Descriptor, Manifest

IMAGE = Descriptor(media_type=OCI_MANIFEST, digest=digest_bytes(b"image"), size=854)
SLSA = Claim("https://slsa.dev/provenance/v1", {"buildDefinition": {}})
SBOM = Claim("https://spdx.dev/Document", {"spdxVersion": "SPDX-2.3"})
SUBJECTS = [Subject("pkg:docker/a@1", IMAGE.digest.hex)]

#: As BuildKit 0.32 writes it: indent, order of keys, the empty config with its data.
NEW = """{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.manifest.v1+json",
  "artifactType": "application/vnd.docker.attestation.manifest.v1+json",
  "config": {
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    "size": 2,
    "data": "e30="
  },
  "layers": [
    {
      "mediaType": "application/vnd.in-toto+json",
      "digest": "STATEMENT",
      "size": SIZE,
      "annotations": {
        "in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"
      }
    }
  ],
  "subject": {
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "digest": "IMAGE",
    "size": 854
  }
}"""


def test_artifact_form() -> None:
    made = attestation_of(IMAGE, [SLSA], SUBJECTS)
    raw = statement(SLSA, SUBJECTS)
    text = NEW.replace("STATEMENT", str(digest_bytes(raw))).replace("SIZE", str(len(raw)))
    assert made.raw.decode() == text.replace("IMAGE", str(IMAGE.digest))
    assert made.blobs == (b"{}", raw)


def test_old_form_is_an_image_whose_layers_are_statements() -> None:
    made = attestation_of(IMAGE, [SLSA], SUBJECTS, artifact=False)
    document = json.loads(made.raw)
    assert list(document) == ["schemaVersion", "mediaType", "config", "layers"]
    config, raw = made.blobs
    assert document["config"] == {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": str(digest_bytes(config)), "size": len(config),
    }  # fmt: skip
    assert config.decode() == (
        '{"architecture":"unknown","os":"unknown","config":{},'
        f'"rootfs":{{"type":"layers","diff_ids":["{digest_bytes(raw)}"]}}}}'
    )


def test_entry_says_which_image_it_is_about() -> None:
    made = attestation_of(IMAGE, [SLSA], SUBJECTS)
    assert list(made.entry.to_json().items()) == [
        ("mediaType", OCI_MANIFEST),
        ("digest", str(digest_bytes(made.raw))),
        ("size", len(made.raw)),
        ("annotations", {
            "vnd.docker.reference.digest": str(IMAGE.digest),
            "vnd.docker.reference.type": "attestation-manifest",
        }),
        ("platform", {"architecture": "unknown", "os": "unknown"}),
    ]  # fmt: skip
    assert made.entry.is_attestation


def test_sboms_come_before_provenance() -> None:
    extra = Claim("https://spdx.dev/Document", {"name": "extra"})
    made = attestation_of(IMAGE, [SLSA, SBOM, extra], SUBJECTS)
    kinds = [d.annotations["in-toto.io/predicate-type"] for d in Manifest.parse(made.raw).layers]
    assert kinds == [SBOM.kind, SBOM.kind, SLSA.kind]
    predicates = [json.loads(raw)["predicate"] for raw in made.blobs[1:]]
    assert predicates == [SBOM.predicate, extra.predicate, SLSA.predicate]
