"""The manifest endpoints, tags, referrers and the catalogue.

Spec: OCI distribution-spec 1.1, Pulling and Pushing manifests, Listing Tags, Listing Referrers, Deletion;
`?tag=` and `OCI-Tag` from its next version; `_catalog` from Docker's API.
Trust: a manifest is at most 4 MiB and kept byte by byte; it is parsed to check it, never written anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from imagesmith.embedded.answers import Failure, json_answer, next_link, page, parse_digest, plain
from imagesmith.embedded.storage import TAG, Storage
from imagesmith.embedded.wire import FileBody, Request, Response
from imagesmith.errors import InvalidDocument
from imagesmith.oci.codec import Object, dumps, parse_object
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.mediatype import INDEX_TYPES, MANIFEST_TYPES, OCI_ARTIFACT, OCI_INDEX, is_nondistributable

__all__ = ["MANIFEST_BYTES", "Manifests", "parse_reference"]

MANIFEST_BYTES = 4 << 20
REFERRERS_BYTES = 3 << 20  # of descriptors on one page: clients read at most 4 MiB


class Manifests:
    """Answers requests for manifests and for what is known of them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get(self, request: Request, name: str, reference: str) -> Response:
        """A manifest by tag or digest, as it was pushed."""
        found = self._storage.manifest(name, parse_reference(reference))
        opened = found and self._storage.open(found.digest)
        if not found or not opened:
            raise Failure(404, "MANIFEST_UNKNOWN", "manifest unknown", detail=f"{name} {reference}"[:300])
        file, size = opened
        headers = [
            ("Content-Type", found.media_type),
            ("Docker-Content-Digest", str(found.digest)),
            ("ETag", f'"{found.digest}"'),
        ]
        if request.headers.get("if-none-match", "").strip('"') == str(found.digest):
            file.close()
            return plain(304, *headers)
        headers.append(("Content-Length", str(size)))
        return Response(200, headers, FileBody(file, 0, size))

    def put(self, request: Request, name: str, reference: str) -> Response:
        """Check a manifest, keep it and point tags at it."""
        target = parse_reference(reference, pushing=True)
        length = request.body.length
        if length is not None and length > MANIFEST_BYTES:
            raise Failure(413, "SIZE_INVALID", f"manifests are at most {MANIFEST_BYTES} bytes")
        raw = request.body.read(MANIFEST_BYTES)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip()
        tags = [value for key, value in request.query if key == "tag"] if isinstance(target, Digest) else []
        for tag in tags:
            parse_reference(tag, pushing=True)
        digest = digest_bytes(raw, target.algorithm if isinstance(target, Digest) else "sha256")
        if isinstance(target, Digest) and target != digest:
            raise Failure(400, "DIGEST_INVALID", f"the manifest's digest is {digest}", detail=str(target))
        try:
            subject = self.keep(name, raw, digest, media_type)
        except InvalidDocument as e:
            raise Failure(400, "MANIFEST_INVALID", e.message) from e
        headers = [
            ("Location", f"/v2/{name}/manifests/{digest}"),
            ("Docker-Content-Digest", str(digest)),
        ]
        if subject:
            headers.append(("OCI-Subject", str(subject)))
        for tag in tags if isinstance(target, Digest) else [target]:
            self._storage.put_tag(name, tag, digest)
        if tags:
            headers.append(("OCI-Tag", ", ".join(tags)))
        return plain(201, *headers)

    def keep(
        self, name: str, raw: bytes, digest: Digest, media_type: str, *, whole: bool = True
    ) -> Digest | None:
        """Check a manifest and keep it; returns its subject.

        Args:
            whole: its parts must be there.

        Raises:
            InvalidDocument: it is no manifest of this type.
            Failure: 400, parts are missing.
        """
        document = parse_object(raw, "manifest")
        wanted = _parts(document, media_type)
        missing = [str(d) for d in wanted if whole and not self._has(name, d, media_type)]
        if missing:
            raise Failure(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", detail=missing)
        about = document.obj("subject")
        subject = Digest.parse(about.need_text("digest")) if about else None
        entry = _referrer(document, raw, digest, media_type)
        self._storage.put_manifest(name, digest, raw, media_type)
        if subject:
            self._storage.put_referrer(name, subject, digest, entry)
        return subject

    def _has(self, name: str, digest: Digest, media_type: str) -> bool:
        if media_type in INDEX_TYPES:
            return self._storage.manifest(name, digest) is not None
        return self._storage.has_blob(name, digest)

    def delete(self, name: str, reference: str) -> Response:
        """Forget a tag, or a manifest with all its tags."""
        target = parse_reference(reference)
        done = (
            self._storage.delete_manifest(name, target)
            if isinstance(target, Digest)
            else self._storage.delete_tag(name, target)
        )
        if not done:
            raise Failure(404, "MANIFEST_UNKNOWN", "manifest unknown", detail=f"{name} {reference}"[:300])
        return plain(202)

    def tags(self, request: Request, name: str) -> Response:
        """The tags of a repository, in pages."""
        known = self._storage.tags(name)
        if known is None:
            raise Failure(404, "NAME_UNKNOWN", "repository name not known to registry", detail=name)
        tags, more = page(known, request.param("n"), request.param("last"))
        response = json_answer({"name": name, "tags": tags})
        if more:
            response.headers.append(next_link(f"/v2/{name}/tags/list", last=tags[-1], n=str(len(tags))))
        return response

    def catalog(self, request: Request) -> Response:
        """The repositories, in pages."""
        names, more = page(self._storage.repositories(), request.param("n"), request.param("last"))
        response = json_answer({"repositories": names})
        if more:
            response.headers.append(next_link("/v2/_catalog", last=names[-1], n=str(len(names))))
        return response

    def referrers(self, request: Request, name: str, text: str) -> Response:
        """The manifests whose subject is a digest: an index, empty where there are none."""
        subject, wanted = parse_digest(text), request.param("artifactType")
        found: list[dict[str, object]] = []
        last, size, more = request.param("last") or "", 0, ""
        for key, raw in self._storage.referrers(name, subject):
            if key <= last:
                continue
            entry = parse_object(raw, f"referrer {key}").data
            if wanted and entry.get("artifactType") != wanted:
                continue
            if found and size + len(raw) > REFERRERS_BYTES:
                break
            found.append(entry)
            size, more = size + len(raw), key
        else:
            more = ""
        response = json_answer({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}, OCI_INDEX)
        fields = {"last": more}
        if wanted:
            response.headers.append(("OCI-Filters-Applied", "artifactType"))
            fields["artifactType"] = wanted
        if more:
            response.headers.append(next_link(f"/v2/{name}/referrers/{subject}", **fields))
        return response


def parse_reference(text: str, *, pushing: bool = False) -> str | Digest:
    """A tag or a digest of a path.

    Raises:
        Failure: 404 where no such tag can be, 400 where one is to be made.
    """
    if ":" in text:
        return parse_digest(text)
    if not TAG.fullmatch(text):
        if pushing:
            raise Failure(400, "TAG_INVALID", "manifest tag did not match the pattern of tags")
        raise Failure(404, "MANIFEST_UNKNOWN", "manifest unknown", detail=text[:200])
    return text


def _referrer(document: Object, raw: bytes, digest: Digest, media_type: str) -> bytes:
    """The descriptor by which the referrers API lists a manifest."""
    kind = document.text("artifactType")
    if not kind and media_type in MANIFEST_TYPES - {OCI_ARTIFACT}:
        kind = document.need_obj("config").text("mediaType")
    entry: dict[str, object] = {"mediaType": media_type, "digest": str(digest), "size": len(raw)}
    if annotations := document.text_map("annotations"):
        entry["annotations"] = annotations
    if kind:
        entry["artifactType"] = kind
    return dumps(entry)


def _parts(document: Object, media_type: str) -> list[Digest]:
    """What a manifest is made of and the registry must hold.

    Raises:
        InvalidDocument: it is no manifest of this type.
    """
    if media_type not in MANIFEST_TYPES | INDEX_TYPES:
        raise InvalidDocument(f"media type {media_type[:100]!r} is not supported")
    inner = document.text("mediaType")
    if inner and inner != media_type:
        raise InvalidDocument(f"mediaType is {inner[:100]!r}, the Content-Type {media_type!r}")
    if media_type == OCI_ARTIFACT:  # it has neither schemaVersion nor config
        return _needed(document.objects("blobs"))
    if document.integer("schemaVersion") != 2:
        raise InvalidDocument("schemaVersion must be 2")
    if media_type in INDEX_TYPES:
        if "layers" in document.data or "config" in document.data:
            raise InvalidDocument("an index has manifests, not config and layers")
        return [Digest.parse(d.need_text("digest")) for d in document.objects("manifests")]
    if "manifests" in document.data:
        raise InvalidDocument("a manifest has config and layers, not manifests")
    return _needed([document.need_obj("config"), *document.objects("layers")])


def _needed(parts: Sequence[Object]) -> list[Digest]:
    """The blobs among the parts that the registry must hold."""
    out = []
    for part in parts:
        digest = Digest.parse(part.need_text("digest"))
        if not is_nondistributable(part.text("mediaType")) and not part.texts("urls"):
            out.append(digest)
    return out
