"""Descriptors, manifests and indexes: read strictly, kept as the bytes they came as.

Why: a manifest's identity is its bytes. `raw` is what was read or what was written once; it is never made
anew from the fields.
Spec: OCI image-spec 1.1 (descriptor.md, manifest.md, image-index.md); Docker manifest v2 schema 2; the
artifact manifest of image-spec 1.1.0-rc.2, read as a manifest with an empty config.
Trust: the documents may come from a registry; sizes are capped by the reader, counts here.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from imagesmith.errors import InvalidDocument, Unsupported
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import Object, dumps, parse_object
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.names import Platform
from imagesmith.values import field, frozen, replace

__all__ = ["MAX_MANIFEST_BYTES", "Descriptor", "Index", "Manifest", "parse_document", "referrer_descriptor"]

#: Manifests and indexes above this are refused: every registry caps them at this or less.
MAX_MANIFEST_BYTES = 4 << 20
_MAX_DESCRIPTORS = 10_000
_EMPTY = b"{}"


@frozen(kw_only=True)
class Descriptor:
    """Names a blob or manifest: its type, digest and size in bytes."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    data: str = ""
    artifact_type: str = ""

    @classmethod
    def from_json(cls, o: Object) -> Descriptor:
        """Read a descriptor object.

        Raises:
            InvalidDocument: a field is missing or has the wrong type.
        """
        size = o.integer("size", -1)
        if size < 0:
            raise InvalidDocument(f"{o.path}: size must be a number of bytes")
        platform = o.obj("platform")
        try:
            digest = Digest.parse(o.need_text("digest"))
        except InvalidDocument as e:
            raise InvalidDocument(f"{o.path}: {e}") from e
        return cls(
            media_type=o.text("mediaType"),
            digest=digest,
            size=size,
            annotations=o.text_map("annotations"),
            platform=None if platform is None else _platform_of(platform),
            urls=o.texts("urls") or (),
            data=o.text("data"),
            artifact_type=o.text("artifactType"),
        )

    def to_json(self) -> dict[str, Any]:
        """The object, fields in the order of Go's struct."""
        out: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.urls:
            out["urls"] = list(self.urls)
        if self.annotations:
            out["annotations"] = dict(sorted(self.annotations.items()))
        if self.data:
            out["data"] = self.data
        if self.platform:
            out["platform"] = self.platform.to_json()
        if self.artifact_type:
            out["artifactType"] = self.artifact_type
        return out

    def embedded(self) -> bytes | None:
        """The content that the descriptor brings along (`data`), if it is what its digest says."""
        if not self.data or len(self.data) > 2 * MAX_MANIFEST_BYTES:
            return None
        try:
            raw = base64.b64decode(self.data, validate=True)
        except ValueError:
            return None
        return (
            raw if len(raw) == self.size and digest_bytes(raw, self.digest.algorithm) == self.digest else None
        )

    @property
    def key(self) -> tuple[str, Digest, int]:
        """What makes two descriptors name the same thing."""
        return self.media_type, self.digest, self.size

    @property
    def is_attestation(self) -> bool:
        """True for BuildKit's attestation manifests, which are no image for any platform."""
        return "vnd.docker.reference.type" in self.annotations or (
            self.platform is not None and self.platform.os == "unknown"
        )

    @property
    def about(self) -> str:
        """Of an attestation manifest that an index lists the digest of its image; else empty."""
        notes = self.annotations
        return notes.get("com.docker.reference.digest") or notes.get("vnd.docker.reference.digest", "")


def _platform_of(o: Object) -> Platform:
    return Platform.of(
        o.text("os"),
        o.text("architecture"),
        o.text("variant"),
        o.text("os.version"),
        o.texts("os.features") or (),
    )


@frozen(kw_only=True)
class Manifest:
    """The manifest of one image (or artifact). `raw` is its identity."""

    raw: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: bytes, media_type: str = "") -> Manifest:
        """Read manifest bytes; `media_type` is what the carrier said, used where the document is silent."""
        document = parse_document(raw, media_type)
        if not isinstance(document, Manifest):
            raise InvalidDocument(
                f"manifest {document.digest}: expected an image manifest, but found an index"
            )
        return document

    @classmethod
    def build(
        cls,
        config: Descriptor,
        layers: Sequence[Descriptor],
        *,
        media_type: str = mt.OCI_MANIFEST,
        subject: Descriptor | None = None,
        artifact_type: str = "",
        annotations: Mapping[str, str] | None = None,
    ) -> Manifest:
        """Write a manifest as BuildKit does: two blanks of indent, fields in the order of Go's struct."""
        out: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type}
        if artifact_type:
            out["artifactType"] = artifact_type
        out["config"] = config.to_json()
        out["layers"] = [d.to_json() for d in layers]
        if subject:
            out["subject"] = subject.to_json()
        if annotations:
            out["annotations"] = dict(sorted(annotations.items()))
        return cls.parse(dumps(out, indent=2))

    @property
    def digest(self) -> Digest:
        """The digest of the bytes."""
        return digest_bytes(self.raw)

    @property
    def parts(self) -> tuple[Descriptor, ...]:
        """The blobs that it names: the config, where it has one, and the layers."""
        return self.layers if self.media_type == mt.OCI_ARTIFACT else (self.config, *self.layers)

    def descriptor(self, platform: Platform | None = None) -> Descriptor:
        """The descriptor that names this manifest."""
        return Descriptor(
            media_type=self.media_type, digest=self.digest, size=len(self.raw), platform=platform,
            artifact_type=self.artifact_type,
        )  # fmt: skip


@frozen(kw_only=True)
class Index:
    """A list of manifests, one a platform. `raw` is its identity."""

    raw: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: bytes, media_type: str = "") -> Index:
        """Read index bytes."""
        document = parse_document(raw, media_type)
        if not isinstance(document, Index):
            raise InvalidDocument(
                f"manifest {document.digest}: expected an index, but found an image manifest"
            )
        return document

    @classmethod
    def build(
        cls,
        manifests: Sequence[Descriptor],
        *,
        media_type: str = mt.OCI_INDEX,
        subject: Descriptor | None = None,
        artifact_type: str = "",
        annotations: Mapping[str, str] | None = None,
        indent: int | None = 2,
    ) -> Index:
        """Write an index as BuildKit does."""
        out: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type}
        if artifact_type:
            out["artifactType"] = artifact_type
        out["manifests"] = [d.to_json() for d in manifests]
        if subject:
            out["subject"] = subject.to_json()
        if annotations:
            out["annotations"] = dict(sorted(annotations.items()))
        return cls.parse(dumps(out, indent=indent))

    @property
    def digest(self) -> Digest:
        """The digest of the bytes."""
        return digest_bytes(self.raw)

    def descriptor(self) -> Descriptor:
        """The descriptor that names this index."""
        return Descriptor(
            media_type=self.media_type,
            digest=self.digest,
            size=len(self.raw),
            artifact_type=self.artifact_type,
        )


def parse_document(raw: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index, whichever it is.

    Args:
        raw: the bytes.
        media_type: what the carrier said (Content-Type or descriptor); used where the document is silent.

    Raises:
        InvalidDocument: neither, both, or a field of the wrong type.
        Unsupported: Docker's schema 1.
    """
    o = parse_object(raw, f"manifest {digest_bytes(raw)}")
    version = o.integer("schemaVersion", 2)
    said = o.text("mediaType")
    kind = said or media_type
    if kind in mt.SCHEMA1_TYPES or version == 1:
        raise Unsupported(
            "the image is in Docker's manifest version 2, schema 1, which is no longer supported",
            hint="push it again with a current tool, then use it",
        )
    if version != 2:
        raise InvalidDocument(f"{o.path}: schemaVersion is {version}, expected 2")
    has_index, has_manifest = "manifests" in o.data, "layers" in o.data or "config" in o.data
    if kind == mt.OCI_ARTIFACT:
        if has_index or has_manifest:
            raise InvalidDocument(
                f"{o.path}: an artifact manifest has blobs, not config, layers or manifests"
            )
        return _artifact(o, raw)
    if has_index and has_manifest:
        raise InvalidDocument(f"{o.path}: both an index and an image manifest")
    if has_index or (kind in mt.INDEX_TYPES and not has_manifest):
        if kind in mt.MANIFEST_TYPES:
            raise InvalidDocument(f"{o.path}: mediaType {kind}, but it is an index")
        return _index(o, raw, kind if kind in mt.INDEX_TYPES else mt.OCI_INDEX)
    if not has_manifest:
        raise InvalidDocument(f"{o.path}: neither an image manifest nor an index")
    if kind in mt.INDEX_TYPES:
        raise InvalidDocument(f"{o.path}: mediaType {kind}, but it is an image manifest")
    return _manifest(o, raw, kind if kind in mt.MANIFEST_TYPES else mt.OCI_MANIFEST)


def referrer_descriptor(raw: bytes, media_type: str) -> Descriptor:
    """How a manifest with a subject is listed: with its artifact type and all its annotations."""
    document = parse_document(raw, media_type)
    kind = document.artifact_type
    if not kind and isinstance(document, Manifest):
        kind = document.config.media_type
    return replace(document.descriptor(), artifact_type=kind, annotations=dict(document.annotations))


def _descriptors(o: Object, key: str) -> tuple[Descriptor, ...]:
    items = o.objects(key)
    if len(items) > _MAX_DESCRIPTORS:
        raise InvalidDocument(f"{o.path}: {key} has more than {_MAX_DESCRIPTORS} entries")
    return tuple(Descriptor.from_json(i) for i in items)


def _subject(o: Object) -> Descriptor | None:
    subject = o.obj("subject")
    return None if subject is None else Descriptor.from_json(subject)


def _manifest(o: Object, raw: bytes, media_type: str) -> Manifest:
    return Manifest(
        raw=raw,
        media_type=media_type,
        config=Descriptor.from_json(o.need_obj("config")),
        layers=_descriptors(o, "layers"),
        subject=_subject(o),
        artifact_type=o.text("artifactType"),
        annotations=o.text_map("annotations"),
    )


def _artifact(o: Object, raw: bytes) -> Manifest:
    config = Descriptor(
        media_type=mt.OCI_EMPTY,
        digest=digest_bytes(_EMPTY),
        size=len(_EMPTY),
        data=base64.b64encode(_EMPTY).decode(),
    )
    return Manifest(
        raw=raw,
        media_type=mt.OCI_ARTIFACT,
        config=config,
        layers=_descriptors(o, "blobs"),
        subject=_subject(o),
        artifact_type=o.text("artifactType"),
        annotations=o.text_map("annotations"),
    )


def _index(o: Object, raw: bytes, media_type: str) -> Index:
    return Index(
        raw=raw,
        media_type=media_type,
        manifests=_descriptors(o, "manifests"),
        subject=_subject(o),
        artifact_type=o.text("artifactType"),
        annotations=o.text_map("annotations"),
    )
