"""A registry with an image and an index in it, a key, and ways to put there what is no good signature."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imagesmith.embedded.registry import Registry
from imagesmith.image.artifact import artifact_of
from imagesmith.image.edited import Edited
from imagesmith.interfaces import ImageSource
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import ImageRef
from imagesmith.registry.repository import Repository
from imagesmith.store.store import Store
from imagesmith.transports.beside import Beside
from imagesmith.transports.cosigntags import companion_tag
from imagesmith.transports.names import PlaceName
from imagesmith.transports.transfer import Session
from imagesmith.trust.bundle import BUNDLE
from imagesmith.trust.companions import layers_at, with_layer
from imagesmith.trust.dsse import Envelope
from imagesmith.trust.finding import ENVELOPE
from imagesmith.trust.keys import PrivateKey, generate
from imagesmith.trust.signing import FORMS, Made, Signing, sign
from imagesmith.trust.simplesigning import PAYLOAD, SimpleSignature, with_signature
from imagesmith.trust.verifying import Asked, Findings, verify
from tests.registry.conftest import serve_docker
from tests.registry.images import make_image, make_index

IN_TOTO = "application/vnd.in-toto+json"
TIME_S = 1_764_000_000


@dataclass
class Shop:
    """A repository, and who signs there."""

    store: Store
    session: Session
    host: str
    image: Descriptor
    index: Descriptor
    key: PrivateKey

    @property
    def place(self) -> PlaceName:
        return PlaceName(kind="registry", image=ImageRef.parse(f"{self.host}/team/app:1"))

    @property
    def source(self) -> Repository:
        """The repository, as somebody sees it who has asked it nothing yet."""
        assert self.place.image is not None
        with Session(self.store) as fresh:
            return fresh.repository(self.place.image)

    @property
    def beside(self) -> Beside:
        return Beside(self.place, self.session, self.store)

    @property
    def children(self) -> list[Descriptor]:
        """The images of the index."""
        return list(Index.parse(self.source.document(self.index)).manifests)

    def signing(self, **fields: Any) -> Signing:
        return Signing(**{"key": self.key, "reference": f"{self.host}/team/app", "time_s": TIME_S, **fields})

    def sign(self, d: Descriptor, **fields: Any) -> list[Made]:
        """Sign in both forms, or as the fields say."""
        return sign(self.source, d, self.beside, self.store.blobs, self.signing(**{"forms": FORMS, **fields}))

    def verify(self, d: Descriptor, **fields: Any) -> Findings:
        return verify(self.source, d.digest, Asked(**{"keys": [self.key.public], **fields}))

    def bundles(self, d: Descriptor) -> list[bytes]:
        """The bundles beside a manifest."""
        found = []
        for one in self.source.referrers(d.digest):
            (layer,) = Manifest.parse(self.source.document(one)).layers
            found.append(self.source.document(layer))
        return found

    def put_bundle(self, d: Descriptor, bundle: bytes, **annotations: str) -> None:
        """Put bytes beside a manifest as a bundle."""
        made = artifact_of(bundle, self.store.blobs, artifact_type=BUNDLE, subject=d, annotations=annotations)
        self.beside.put(made)

    def put_statement(
        self,
        d: Descriptor,
        payload: bytes,
        kind: str = IN_TOTO,
        key: PrivateKey | None = None,
        **changes: Any,
    ) -> None:
        """Sign any bytes, and put them beside a manifest as a bundle; the changes are of its JSON."""
        self.put_bundle(d, json.dumps(self.bundle(payload, kind, key) | changes).encode())

    def bundle(self, payload: bytes, kind: str = IN_TOTO, key: PrivateKey | None = None) -> dict[str, Any]:
        key = key or self.key
        signature = key.sign(Envelope(payload, kind, ()).message)
        return {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": key.public.hint}},
            "dsseEnvelope": Envelope(payload, kind, (("", signature),)).to_json(),
        }

    def put_simple(
        self, d: Descriptor, payload: bytes, signature: bytes | None = None, **annotations: str
    ) -> None:
        """Put a payload under the tag of a manifest's signatures, signed unless a signature is given."""
        signature = self.key.sign(payload, sha256=True) if signature is None else signature
        made = with_signature(
            self.source, d.digest, SimpleSignature(payload, signature, annotations), self.store.blobs
        )
        self.beside.put(made, companion_tag(d.digest, ".sig"))

    def put_attestation(self, d: Descriptor, raw: bytes) -> None:
        """Put bytes under the tag of a manifest's attestations."""
        made = with_layer(self.source, d.digest, ".att", raw, ENVELOPE, {}, self.store.blobs)
        self.beside.put(made, companion_tag(d.digest, ".att"))

    def put_tag(self, digest: Digest, raw: bytes, d: Descriptor, suffix: str = ".sig") -> None:
        """Let the tag of a manifest's signatures stand for a document that is there."""
        made = Edited("test", self.store.blobs)
        made.rest(self.source)
        made.add(raw)
        made.set_root(d)
        self.beside.put(made, companion_tag(digest, suffix))


def signatures_at(source: ImageSource, digest: Digest) -> list[SimpleSignature]:
    """The signatures under the tag of a manifest."""
    return [SimpleSignature.at(source, d) for _, d in layers_at(source, digest, ".sig", PAYLOAD)]


def statement(d: Descriptor, **changes: Any) -> bytes:
    """A signature's statement about a manifest, with changes of its JSON."""
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": d.digest.hex}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    } | changes
    return json.dumps({k: v for k, v in document.items() if v is not ...}).encode()


def flipped(data: bytes | str) -> str:
    """Base64 with one bit changed in the middle of what it stands for."""
    raw = bytearray(base64.b64decode(data))
    raw[len(raw) // 2] ^= 1
    return base64.b64encode(raw).decode()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


@pytest.fixture(params=["embedded"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A registry with the referrers API; Debian's, without, where a test asks for it."""
    if request.param == "docker":
        with serve_docker(tmp_path / "docker") as served:
            yield served.host
    else:
        with Registry(tmp_path / "registry") as registry:
            yield registry.host


@pytest.fixture
def shop(store: Store, host: str) -> Iterator[Shop]:
    with Session(store) as session:
        name = ImageRef.parse(f"{host}/team/app:1")
        image = session.push(name, make_image(store))
        index = session.push(name.with_tag("2"), make_index(store))
        yield Shop(store, session, host, image, index, generate("ecdsa-p256", "signer.pub"))
