"""Reading attestations: of every version and form that BuildKit has written, signed ones, hostile ones."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from imagesmith.attest import reading
from imagesmith.attest.manifest import ARTIFACT, attestation_of
from imagesmith.attest.reading import attached_to, shown_provenance, shown_sbom
from imagesmith.attest.statement import Claim, Subject
from imagesmith.errors import DigestMismatch, ImagesmithError, InvalidDocument, LimitExceeded, NotFound
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.mediatype import OCI_CONFIG, OCI_EMPTY
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import Platform
from imagesmith.store.store import Store
from imagesmith.transports.stored import StorePlace
from imagesmith.values import replace
from tests.registry.images import make_image

UNKNOWN = Platform("unknown", "unknown")
AMD64 = Platform("linux", "amd64")
#: What BuildKit 0.11 to 0.27 wrote: v0.2 in a statement of v0.1, in a manifest with an image's config.
OLD_PREDICATE = {
    "builder": {"id": ""},
    "buildType": "https://mobyproject.org/buildkit@v1",
    "materials": [{"uri": "pkg:docker/busybox@latest?platform=linux%2Famd64", "digest": {"sha256": "ab"}}],
    "invocation": {"configSource": {"entryPoint": "Dockerfile"}, "parameters": {"frontend": "dockerfile.v0"}},
    "metadata": {"buildInvocationID": "x"},
}
NEW_PREDICATE = {
    "buildDefinition": {
        "buildType": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
    },
    "runDetails": {"builder": {"id": ""}},
}
SPDX = "https://spdx.dev/Document"


class Shelf:
    """A store with images and what is attested of them."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.image = make_image(self.store)
        self.entries: list[Descriptor] = [self.image]

    def put(self, raw: bytes, media_type: str = "application/vnd.in-toto+json", **fields: Any) -> Descriptor:
        """A blob's descriptor."""
        return Descriptor(media_type=media_type, digest=self.store.blobs.put(raw), size=len(raw), **fields)

    def layer(
        self,
        predicate: object,
        kind: str = "https://slsa.dev/provenance/v0.2",
        *,
        about: Descriptor | None = None,
        version: str = "v0.1",
        media_type: str = "application/vnd.in-toto+json",
        signed: bool = False,
    ) -> Descriptor:
        """A statement as a layer."""
        subject = {"name": "pkg:docker/a", "digest": {"sha256": (about or self.image).digest.hex}}
        statement = {
            "_type": f"https://in-toto.io/Statement/{version}", "predicateType": kind, "subject": [subject],
            "predicate": predicate,
        }  # fmt: skip
        raw = json.dumps(statement).encode()
        if signed:
            envelope = {"payload": base64.b64encode(raw).decode(), "signatures": []}
            raw = json.dumps(envelope).encode()
        return self.put(raw, media_type, annotations={"in-toto.io/predicate-type": kind})

    def attach(
        self,
        *layers: Descriptor,
        about: Descriptor | None = None,
        prefix: str = "vnd",
        artifact: bool = False,
    ) -> None:
        """An attestation manifest in the index."""
        about = about or self.image
        config = self.put(b"{}", OCI_EMPTY if artifact else OCI_CONFIG)
        manifest = Manifest.build(
            config, layers, artifact_type=ARTIFACT if artifact else "", subject=about if artifact else None
        )
        self.store.blobs.put(manifest.raw)
        notes = {
            f"{prefix}.docker.reference.digest": str(about.digest),
            f"{prefix}.docker.reference.type": "attestation-manifest",
        }
        self.entries.append(replace(manifest.descriptor(UNKNOWN), artifact_type="", annotations=notes))

    def place(self) -> StorePlace:
        """The index as a source."""
        index = Index.build(self.entries)
        self.store.blobs.put(index.raw)
        return StorePlace(self.store, None, index.descriptor())


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "store")


@pytest.mark.parametrize("prefix", ["vnd", "com"])
def test_buildkits_old_form(shelf: Shelf, prefix: str) -> None:
    shelf.attach(shelf.layer(OLD_PREDICATE), prefix=prefix)
    assert shown_provenance(shelf.place()) == {"SLSA": OLD_PREDICATE}
    assert shown_sbom(shelf.place()) == {}


def test_buildkits_new_form_with_sboms(shelf: Shelf) -> None:
    kind = "https://slsa.dev/provenance/v1"
    layers = [shelf.layer({"name": n}, SPDX, version="v1") for n in ("core", "extra")]
    shelf.attach(*layers, shelf.layer(NEW_PREDICATE, kind, version="v1"), artifact=True)
    assert shown_provenance(shelf.place()) == {"SLSA": NEW_PREDICATE}
    assert shown_sbom(shelf.place()) == {"SPDX": {"name": "core"}, "AdditionalSPDXs": [{"name": "extra"}]}


def test_signed_statements_are_taken_out_of_their_envelope(shelf: Shelf) -> None:
    media_type = "application/vnd.in-toto.provenance+dsse"
    shelf.attach(shelf.layer(OLD_PREDICATE, media_type=media_type, signed=True))
    assert shown_provenance(shelf.place()) == {"SLSA": OLD_PREDICATE}


def test_cyclonedx_stands_beside_spdx(shelf: Shelf) -> None:
    shelf.attach(shelf.layer({"bomFormat": "CycloneDX"}, "https://cyclonedx.org/bom"))
    assert shown_sbom(shelf.place()) == {"CycloneDX": {"bomFormat": "CycloneDX"}}


def test_several_platforms_are_a_map(shelf: Shelf) -> None:
    arm = make_image(shelf.store, layers=({"c": b"arm"},), architecture="arm64")
    bare = make_image(shelf.store, layers=({"s": b"s390"},), architecture="s390x")
    shelf.entries += [arm, bare]
    shelf.attach(shelf.layer({"for": "amd64"}))
    shelf.attach(shelf.layer({"for": "arm64"}, about=arm), about=arm)
    place = shelf.place()
    assert shown_provenance(place) == {
        "linux/amd64": {"SLSA": {"for": "amd64"}}, "linux/arm64": {"SLSA": {"for": "arm64"}},
    }  # fmt: skip
    assert shown_provenance(place, Platform("linux", "arm64")) == {"SLSA": {"for": "arm64"}}
    assert shown_provenance(place, Platform("linux", "s390x")) == {}
    assert [a.platform for a in attached_to(place)] == ["linux/amd64", "linux/arm64", "linux/s390x"]


def test_what_we_write_is_read(shelf: Shelf) -> None:
    claims = [Claim("https://slsa.dev/provenance/v1", {"b": 2}), Claim(SPDX, {"s": 1})]
    for artifact in (True, False):
        made = attestation_of(shelf.image, claims, [Subject("n", shelf.image.digest.hex)], artifact=artifact)
        for blob in (*made.blobs, made.raw):
            shelf.store.blobs.put(blob)
        shelf.entries = [shelf.image, made.entry]
        assert shown_provenance(shelf.place()) == {"SLSA": {"b": 2}}
        assert shown_sbom(shelf.place()) == {"SPDX": {"s": 1}}


def test_an_image_without_anything(shelf: Shelf) -> None:
    assert shown_provenance(StorePlace(shelf.store, None, shelf.image)) == {}
    assert shown_provenance(shelf.place()) == {}


@pytest.mark.parametrize("part", ["attestation manifest", "statement"])
def test_what_is_listed_and_not_there_is_told(shelf: Shelf, part: str) -> None:
    arm = make_image(shelf.store, layers=({"c": b"arm"},), architecture="arm64")
    shelf.entries.append(arm)
    shelf.attach(shelf.layer(OLD_PREDICATE))
    said, lost = shelf.layer({"for": "arm64"}, about=arm), shelf.layer({"s": 1}, SPDX, about=arm)
    shelf.attach(said, lost, about=arm)
    place = shelf.place()
    gone = shelf.entries[-1] if part == "attestation manifest" else lost
    shelf.store.blobs.remove(gone.digest)
    for platform in (None, Platform("linux", "arm64")):
        with pytest.raises(
            NotFound, match=f"{part} {gone.digest} about linux/arm64 is listed, but not there"
        ):
            shown_sbom(place, platform)
    assert shown_provenance(place, AMD64) == {"SLSA": OLD_PREDICATE}
    if part == "statement":  # the other one is there
        assert shown_provenance(place, Platform("linux", "arm64")) == {"SLSA": {"for": "arm64"}}


def test_what_is_said_of_images_that_are_not_there_is_not_missed(shelf: Shelf) -> None:
    """A pull for one platform leaves an index that lists the others."""
    absent = replace(shelf.image, digest=digest_bytes(b"absent"), platform=Platform("linux", "arm64"))
    shelf.entries.append(absent)
    shelf.attach(shelf.layer(OLD_PREDICATE))
    shelf.attach(shelf.layer({}, about=absent), about=absent)
    place = shelf.place()
    shelf.store.blobs.remove(shelf.entries[-1].digest)
    assert shown_provenance(place) == {"SLSA": OLD_PREDICATE}


def test_layers_need_not_be_there(shelf: Shelf) -> None:
    """Those of a base may have gone from registry to registry."""
    shelf.attach(shelf.layer(OLD_PREDICATE))
    manifest = Manifest.parse(shelf.store.blobs.read(shelf.image.digest))
    shelf.store.blobs.remove(manifest.layers[0].digest)
    assert shown_provenance(shelf.place()) == {"SLSA": OLD_PREDICATE}


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"[]", "must be a JSON object"),
        (b"{", "not valid JSON"),
        (b"{}", "not an in-toto statement"),
        (b'{"_type":"https://in-toto.io/Statement/v9"}', "not an in-toto statement"),
        (b'{"_type":"https://in-toto.io/Statement/v1","subject":{}}', "subject must be a list"),
        (b'{"_type":"https://in-toto.io/Statement/v1","subject":[]}', "predicate is missing"),
        (b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicate":[]}', "must be an object"),
        (b'{"_type":"https://in-toto.io/Statement/v1","predicate":' + b"[" * 9000, "nested too deeply"),
        (b"\xff\x00", "not valid JSON"),
    ],
)
def test_what_is_no_statement_is_refused(shelf: Shelf, raw: bytes, problem: str) -> None:
    shelf.attach(shelf.put(raw, annotations={"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}))
    with pytest.raises(InvalidDocument, match=problem):
        shown_provenance(shelf.place())


def test_a_statement_about_another_image_is_refused(shelf: Shelf) -> None:
    other = make_image(shelf.store, layers=({"o": b"other"},))
    shelf.attach(shelf.layer(OLD_PREDICATE, about=other))
    with pytest.raises(InvalidDocument, match="is about another image"):
        shown_provenance(shelf.place())


def test_sizes_and_counts_are_bounded(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    note = {"in-toto.io/predicate-type": SPDX}
    shelf.attach(replace(shelf.put(b"{}", annotations=note), size=(40 << 20) + 1))
    with pytest.raises(LimitExceeded, match="more than 41943040"):
        shown_sbom(shelf.place())
    shelf.entries = [shelf.image]
    shelf.attach(*[shelf.layer({}, SPDX)] * 101)
    with pytest.raises(LimitExceeded, match="more than 100 statements"):
        shown_sbom(shelf.place())
    monkeypatch.setattr(reading, "_MOST_MANIFESTS", 1)
    with pytest.raises(InvalidDocument, match="more than 1 manifests"):
        shown_sbom(shelf.place())


def test_a_blob_that_is_another_is_refused(shelf: Shelf) -> None:
    note = {"in-toto.io/predicate-type": SPDX}
    layer = shelf.layer({}, SPDX)
    shelf.attach(replace(shelf.put(b"{}", annotations=note), size=1))
    with pytest.raises((InvalidDocument, DigestMismatch)):
        shown_sbom(shelf.place())
    shelf.entries = [shelf.image]
    shelf.attach(replace(layer, digest=digest_bytes(b"not there")))
    with pytest.raises(NotFound):
        shown_sbom(shelf.place())


def test_an_index_that_names_itself_ends(shelf: Shelf) -> None:
    inner = shelf.place().root()
    for _ in range(8):
        index = Index.build([inner])
        shelf.store.blobs.put(index.raw)
        inner = index.descriptor()
    with pytest.raises(ImagesmithError, match="nested too deeply"):
        shown_provenance(StorePlace(shelf.store, None, inner))
