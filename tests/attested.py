"""Images with a provenance that a test writes: another builder's, an old one, or a forged one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagesmith.attest.manifest import attestation_of
from imagesmith.attest.statement import SLSA, Claim, Subject
from imagesmith.oci.codec import Object
from imagesmith.oci.model import Descriptor, Index, parse_document
from tests.support import PROJECT

REPRODUCE = PROJECT / "fixtures" / "conformance" / "reproduce"
TAG = "org.opencontainers.image.ref.name"


def buildkit_predicate(version: str, repository: str, commit: str) -> Any:
    """BuildKit's provenance of what it made of fixtures/conformance/reproduce, from a repository."""
    text = (PROJECT / f"fixtures/provenance/buildkit-{version}.json").read_text()
    return json.loads(text.replace("REPOSITORY", repository).replace("COMMIT", commit))


def attest(layout: Path, predicate: Mapping[str, object], version: str = "v1") -> None:
    """Have the one image of a layout be attested by this predicate alone, in an index with the tag 1."""

    def blob(digest: object) -> bytes:
        return (layout / "blobs" / str(digest).replace(":", "/")).read_bytes()

    entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    entry = next((e for e in entries if TAG in e.get("annotations", {})), entries[0])
    if "index" in entry["mediaType"]:
        entry = json.loads(blob(entry["digest"]))["manifests"][0]
    raw = blob(entry["digest"])
    platform = json.loads(blob(json.loads(raw)["config"]["digest"]))
    entry["platform"] = {key: platform[key] for key in ("architecture", "os")}
    image = Descriptor.from_json(Object(entry, "entry"))
    claim = Claim(f"{SLSA}{version}", predicate)
    made = attestation_of(parse_document(raw).descriptor(), [claim], [Subject("x", image.digest.hex)])
    index = Index.build([image, made.entry])
    for data in (*made.blobs, made.raw, index.raw):
        (layout / "blobs/sha256" / hashlib.sha256(data).hexdigest()).write_bytes(data)
    listed = {**index.descriptor().to_json(), "annotations": {TAG: "1"}}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}))
