"""The blob endpoints: reading with ranges, uploads in every form, mounts, deletion.

Spec: OCI distribution-spec 1.1, Pulling blobs and Pushing blobs; also its single POST, sha512 sessions, the
416 for a final chunk out of order, and cancelling.
Trust: digests and ranges of requests are parsed here; a blob appears only after its digest was seen.
"""

from __future__ import annotations

import re

from imagesmith.embedded.answers import Failure, parse_digest, plain
from imagesmith.embedded.storage import NAME, Storage
from imagesmith.embedded.uploads import Upload, Uploads
from imagesmith.embedded.wire import FileBody, Request, Response
from imagesmith.oci.digest import Digest

__all__ = ["Blobs"]

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_CONTENT_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


class Blobs:
    """Answers requests for blobs and upload sessions."""

    def __init__(self, storage: Storage, uploads: Uploads) -> None:
        self._storage, self._uploads = storage, uploads

    # GET, HEAD, DELETE /v2/<name>/blobs/<digest>

    def get(self, request: Request, name: str, text: str) -> Response:
        """The bytes of a blob, or a range of them."""
        digest = parse_digest(text)
        found = self._storage.open(digest) if self._storage.has_blob(name, digest) else None
        if found is None:
            raise Failure(404, "BLOB_UNKNOWN", "blob unknown to registry", detail=str(digest))
        file, size = found
        headers = [
            ("Content-Type", "application/octet-stream"),
            ("Docker-Content-Digest", str(digest)),
            ("ETag", f'"{digest}"'),
            ("Cache-Control", "max-age=31536000"),
            ("Accept-Ranges", "bytes"),
        ]
        if request.headers.get("if-none-match", "").strip('"') == str(digest):
            file.close()
            return plain(304, *headers)
        wanted = request.headers.get("range") if request.method == "GET" else None
        try:
            part = _range(wanted, size) if wanted else None
        except Failure:
            file.close()
            raise
        if part is None:
            headers.append(("Content-Length", str(size)))
            return Response(200, headers, FileBody(file, 0, size))
        first, last = part
        headers.append(("Content-Range", f"bytes {first}-{last}/{size}"))
        headers.append(("Content-Length", str(last - first + 1)))
        return Response(206, headers, FileBody(file, first, last - first + 1))

    def delete(self, name: str, text: str) -> Response:
        """Take a blob from a repository; its bytes go with `registry gc`."""
        digest = parse_digest(text)
        if not self._storage.unlink_blob(name, digest):
            raise Failure(404, "BLOB_UNKNOWN", "blob unknown to registry", detail=str(digest))
        return plain(202)

    # POST /v2/<name>/blobs/uploads/

    def begin(self, request: Request, name: str, *, may_mount: bool) -> Response:
        """Mount a blob, take one that comes whole, or open a session."""
        if (mount := request.param("mount")) is not None:
            digest = parse_digest(mount)
            if may_mount and self._mount(name, digest, request.param("from")):
                return self._created(name, digest)
        algorithm = request.param("digest-algorithm") or "sha256"
        if algorithm not in ("sha256", "sha384", "sha512"):
            raise Failure(400, "DIGEST_INVALID", f"unsupported digest algorithm {algorithm[:50]!r}")
        whole = request.param("digest")
        if whole is None or mount is not None:
            upload = self._uploads.begin(name, algorithm)
            return plain(202, *_session(upload))
        digest = parse_digest(whole)
        upload = self._uploads.begin(name, digest.algorithm)
        try:
            upload.receive(request)
            return self._finish(upload, digest)
        finally:
            self._uploads.drop(upload)

    def _mount(self, name: str, digest: Digest, source: str | None) -> bool:
        """Give the repository another one's blob, or any one's where no source is named."""
        if source is None:
            there = self._storage.holder(digest)
        else:
            there = bool(NAME.fullmatch(source)) and self._storage.has_blob(source, digest)
        if there:
            self._storage.link_blob(name, digest)
        return there

    # GET, PATCH, PUT, DELETE /v2/<name>/blobs/uploads/<key>

    def session(self, request: Request, name: str, key: str) -> Response:
        """One request to an upload session."""
        with self._uploads.hold(name, key, request) as upload:
            if upload is None:
                raise Failure(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", detail=key[:64])
            try:
                return self._act(request, upload)
            except OSError:  # a full disk: the bytes that came so far must not keep it full
                self._uploads.drop(upload)
                raise

    def _act(self, request: Request, upload: Upload) -> Response:
        """One request to a session that is there."""
        if request.method == "PATCH":
            _check_place(request, upload)
            upload.receive(request)
            return plain(202, *_session(upload))
        if request.method == "PUT":
            return self._put(request, upload)
        if request.method == "DELETE":
            self._uploads.drop(upload)
            return plain(204)
        return plain(204, *_session(upload))

    def _put(self, request: Request, upload: Upload) -> Response:
        digest = parse_digest(request.param("digest") or "")
        _check_place(request, upload)
        mark = upload.mark()
        upload.receive(request)
        try:
            return self._finish(upload, digest)
        except Failure:
            upload.rewind(mark)  # the session lives on, as it was before this request
            raise

    def _finish(self, upload: Upload, digest: Digest) -> Response:
        if not upload.has(digest):
            raise Failure(
                400, "DIGEST_INVALID", "provided digest did not match uploaded content", detail=str(digest)
            )
        self._uploads.finish(upload, digest)
        return self._created(upload.name, digest)

    @staticmethod
    def _created(name: str, digest: Digest) -> Response:
        location = ("Location", f"/v2/{name}/blobs/{digest}")
        return plain(201, location, ("Docker-Content-Digest", str(digest)))


def _session(upload: Upload) -> list[tuple[str, str]]:
    return [
        ("Location", f"/v2/{upload.name}/blobs/uploads/{upload.key}"),
        ("Range", f"0-{max(0, upload.size - 1)}"),
        ("Docker-Upload-UUID", upload.key),
    ]


def _check_place(request: Request, upload: Upload) -> None:
    """Refuse a chunk that does not continue where the last one ended."""
    text = request.headers.get("content-range")
    if text is None:
        return
    match = _CONTENT_RANGE.fullmatch(text)
    if not match:
        raise Failure(400, "BLOB_UPLOAD_INVALID", "Content-Range must be FIRST-LAST", detail=text[:100])
    first, last = int(match[1]), int(match[2])
    if first != upload.size:
        raise Failure(
            416, "RANGE_INVALID", f"the next byte is {upload.size}, not {first}", headers=_session(upload)
        )
    length = request.body.length
    if last < first - 1 or (length is not None and length != last - first + 1):
        raise Failure(400, "SIZE_INVALID", "Content-Range and Content-Length differ", detail=text)


def _range(text: str, size: int) -> tuple[int, int] | None:
    """The first and last byte of a Range header; None where it is to be ignored.

    Raises:
        Failure: 416, no byte of the blob is in it.
    """
    match = _RANGE.fullmatch(text.strip())
    if not match or match[1] == match[2] == "":
        return None  # several ranges, or another unit: the whole blob is a right answer
    if not match[1]:
        count = min(int(match[2]), size)
        first, last = size - count, size - 1
    else:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
    if first > last:
        headers = [("Content-Range", f"bytes */{size}")]
        raise Failure(416, "RANGE_INVALID", "the range is not within the blob", headers=headers)
    return first, last
