"""The distribution API of one repository: a method an endpoint, with checked answers.

Why: what a method returns is already what it claims: a manifest's bytes fit their digest and type, a listing
holds tags. Sending blobs has a state machine of its own, in upload.py.
Spec: OCI distribution-spec 1.1 (end-1 to end-14), and Docker's `_catalog`.
Trust: every header and body comes from the registry.
"""

from __future__ import annotations

import contextlib
import re
import urllib.parse
from collections.abc import Iterator

from imagesmith.errors import DigestMismatch, IntegrityError, InvalidDocument, RegistryError, Unsupported
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import Object, parse_object
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.model import MAX_MANIFEST_BYTES, Descriptor, Index
from imagesmith.registry import quirks
from imagesmith.registry.answers import Answer
from imagesmith.registry.bodies import capped, is_packed, pieces, unpacked
from imagesmith.registry.reply import Reply, error_of, need_object
from imagesmith.registry.transport import Transport
from imagesmith.values import frozen

__all__ = ["ACCEPT_MANIFESTS", "Client", "Fetched", "catalog"]

#: Every type, exactly named: the reference registry answers 404 to an OCI manifest under a wildcard, Quay
#: converts to schema 1 where only Docker's types are listed.
ACCEPT_MANIFESTS = ", ".join(
    [mt.DOCKER_MANIFEST, mt.DOCKER_INDEX, mt.OCI_MANIFEST, mt.OCI_INDEX, mt.OCI_ARTIFACT, "*/*"]
)
#: Registries may accept larger manifests than we build; these are read up to this size.
_MOST_MANIFEST_BYTES = 2 * MAX_MANIFEST_BYTES


@frozen
class Fetched:
    """A manifest or index as it came, verified."""

    raw: bytes
    media_type: str
    digest: Digest

    def descriptor(self) -> Descriptor:
        """The descriptor that names it."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.raw))


class Client:
    """One repository behind one endpoint."""

    def __init__(self, transport: Transport, repository: str, shown: str = "") -> None:
        """`shown` is the name for messages where it is not the endpoint's."""
        self.transport, self.repository = transport, repository
        self.name = shown or f"{transport.endpoint.host}/{repository}"
        self.pull_scope = (f"repository:{repository}:pull",)
        self.push_scope = (f"repository:{repository}:pull,push",)
        self.delete_scope = (f"repository:{repository}:delete,pull",)

    def url(self, path: str) -> str:
        """The address of a path below the repository."""
        url = f"{self.transport.base()}/{self.repository}/{path}"
        namespace = self.transport.endpoint.namespace
        if namespace:
            url += ("&" if "?" in path else "?") + urllib.parse.urlencode({"ns": namespace})
        return url

    def error(self, reply: Reply, what: str = "") -> RegistryError:
        """The error for an answer."""
        home = self.transport.endpoint
        return error_of(reply, f"{self.name}{what}", home.registry or home.host, home.host)

    # --- manifests -----------------------------------------------------------------------------

    def head_manifest(self, reference: str) -> Descriptor | None:
        """The descriptor of a tag or digest without its content; None where the registry does not tell all.

        Raises:
            NotFound: there is no such manifest.
            RegistryError: the registry refused or failed.
        """
        headers = {"Accept": ACCEPT_MANIFESTS}
        reply = self.transport.send(
            "HEAD", self.url(f"manifests/{reference}"), scopes=self.pull_scope, headers=headers
        )
        if reply.status == 404:
            raise self.error(reply, _suffix(reference))
        if not reply.ok:
            return None  # 405 on some; others lose the reason, which a GET will tell
        try:
            digest = Digest.parse(reply.headers.get("docker-content-digest", ""))
            size = int(reply.headers.get("content-length", ""))
        except (InvalidDocument, ValueError):
            return None
        kind = reply.content_type()
        if kind not in mt.MANIFEST_TYPES | mt.INDEX_TYPES:
            return None
        return Descriptor(media_type=kind, digest=digest, size=size)

    def get_manifest(self, reference: str) -> Fetched:
        """A manifest or index by tag or digest.

        Raises:
            NotFound: there is none.
            DigestMismatch: the content is not that of the digest asked for or announced.
        """
        headers = {"Accept": ACCEPT_MANIFESTS}
        what = _suffix(reference)
        reply = self.transport.send(
            "GET",
            self.url(f"manifests/{reference}"),
            scopes=self.pull_scope,
            headers=headers,
            cap=_MOST_MANIFEST_BYTES,
        )
        if not reply.ok:
            raise self.error(reply, what)
        digest = self._checked(reply, reference)
        try:
            said = parse_object(reply.body, f"{self.name}{what}").text("mediaType")
        except InvalidDocument as e:
            told = error_of(reply, f"{self.name}{what}", self.transport.endpoint.host)
            raise InvalidDocument(told.message if reply.is_page() else str(e), hint=told.hint) from e
        header = reply.content_type()
        known = mt.MANIFEST_TYPES | mt.INDEX_TYPES | mt.SCHEMA1_TYPES
        if said and header in known and header != said:
            raise InvalidDocument(f"{self.name}{what}: sent as {header}, but says that it is {said}")
        kind = said or (header if header in known else "")
        return Fetched(reply.body, kind or _guess(reply.body, f"{self.name}{what}"), digest)

    def _checked(self, reply: Reply, reference: str) -> Digest:
        wanted = reference if ":" in reference else reply.headers.get("docker-content-digest", "")
        algorithm = wanted.partition(":")[0] if wanted else "sha256"
        if algorithm not in ("sha256", "sha384", "sha512"):
            algorithm, wanted = "sha256", ""
        digest = digest_bytes(reply.body, algorithm)
        if wanted and wanted != str(digest):
            raise DigestMismatch(
                f"{self.name}{_suffix(reference)}: the content has digest {digest}, not {wanted}"
            )
        return digest

    def put_manifest(self, reference: str, raw: bytes, media_type: str) -> Reply:
        """Store a manifest under a tag or its digest; the answer's `OCI-Subject` may be of use.

        Raises:
            DigestMismatch: the registry says that it stored something else.
        """
        headers = {"Content-Type": media_type, "Content-Length": str(len(raw))}
        reply = self.transport.send(
            "PUT",
            self.url(f"manifests/{reference}"),
            scopes=self.push_scope,
            headers=headers,
            body=lambda: [raw],
        )
        if not reply.ok:
            raise self._put_refused(reply, reference, media_type)
        told = reply.headers.get("docker-content-digest", "")
        if told.startswith("sha256:") and told != str(digest_bytes(raw)):
            raise DigestMismatch(f"{self.name}{_suffix(reference)}: the registry stored it as {told}")
        if not reply.is_proof(201) and not self._has_manifest(raw):
            raise self.error(reply, _suffix(reference))
        return reply

    def _has_manifest(self, raw: bytes) -> bool:
        """True if the registry surely has a manifest."""
        digest = digest_bytes(raw)
        try:
            found = self.head_manifest(str(digest))
            return digest == (found.digest if found else self.get_manifest(str(digest)).digest)
        except (RegistryError, IntegrityError):
            return False

    def _put_refused(self, reply: Reply, reference: str, media_type: str) -> RegistryError:
        e = self.error(reply, _suffix(reference))
        if quirks.is_immutable_tag(reply.said()):
            return RegistryError(e.message, status=reply.status, hint="the tag may not be moved; use another")
        if reply.status in (400, 415) and media_type in (mt.DOCKER_MANIFEST, mt.DOCKER_INDEX):
            return type(e)(
                e.message, status=reply.status, hint="perhaps it takes OCI types only: --format oci"
            )
        return e

    def delete_manifest(self, reference: str) -> None:
        """Delete a tag or a manifest.

        Raises:
            NotFound: there is none.
            Unsupported: the registry does not delete.
        """
        reply = self.transport.send(
            "DELETE",
            self.url(f"manifests/{reference}"),
            scopes=self.delete_scope,
            headers={"Content-Length": "0"},
        )
        if not reply.ok or (reply.status != 202 and reply.is_page()):
            raise self._delete_refused(reply, _suffix(reference))

    def _delete_refused(self, reply: Reply, what: str) -> RegistryError:
        if reply.status in (400, 405):
            return Unsupported(
                f"{self.name}{what}: the registry does not delete it{reply.said()}", status=reply.status
            )
        return self.error(reply, what)

    # --- blobs ---------------------------------------------------------------------------------

    def head_blob(self, digest: Digest, size: int = -1) -> int | None:
        """The size of a blob (bytes, -1 where it is not told), or None if the repository has not got it.

        A success without the blob's digest is believed where it is no page and not of another `size`.

        Raises:
            RegistryError: the registry failed; a refusal counts as absence.
        """
        reply = self.transport.send("HEAD", self.url(f"blobs/{digest}"), scopes=self.pull_scope)
        if reply.status in (401, 403, 404, 405):
            return None
        if not reply.ok:
            raise self.error(reply, f"@{digest}")
        length = reply.headers.get("content-length", "")
        told = reply.headers.get("docker-content-digest", "")
        found = int(length) if length.isdigit() and len(length) < 19 else -1
        if told.startswith(f"{digest.algorithm}:"):
            return found if told == str(digest) else None
        return None if reply.is_page() or (size >= 0 and found not in (size, -1)) else found

    @contextlib.contextmanager
    def get_blob(
        self, digest: Digest, offset: int = 0, size: int = -1
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The bytes of a blob from an offset on, as they arrive, unverified.

        Yields the offset at which they truly begin (0 where the registry ignores ranges, answers them
        wrongly, or packs what it sends) and the bytes. By `size` what was packed is told from what is as
        it is stored.

        Raises:
            NotFound: the repository has not got it.
        """
        url = self.url(f"blobs/{digest}")
        for start in dict.fromkeys((offset, 0)):
            headers = {"Range": f"bytes={start}-"} if start else {}
            with self.transport.open("GET", url, scopes=self.pull_scope, headers=headers) as r:
                if start and (r.status_code == 416 or (r.status_code == 206 and not _fits(r, start))):
                    continue
                if not r.is_success:
                    body = b"".join(_first(pieces(r), 64 << 10))
                    raise self.error(Reply(r.status_code, r.headers, body, r.url), f"@{digest}")
                told = Reply(r.status_code, r.headers, b"", r.url)
                if told.is_page() and r.headers.get("content-length", "") != str(size):
                    raise self.error(told, f"@{digest}")
                if r.status_code == 206:
                    yield start, pieces(r)
                elif is_packed(r, size):
                    yield 0, unpacked(pieces(r), f"{self.name}@{digest}")
                else:
                    yield 0, pieces(r)
                return

    def get_part(self, digest: Digest, offset: int, size: int) -> bytes | None:
        """So many bytes of a blob from an offset on, unverified; None where the registry gives no parts.

        Raises:
            NotFound: the repository has not got it.
        """
        url, headers = self.url(f"blobs/{digest}"), {"Range": f"bytes={offset}-{offset + size - 1}"}
        with self.transport.open("GET", url, scopes=self.pull_scope, headers=headers) as r:
            if r.is_success or r.status_code == 416:
                is_part = r.status_code == 206 and _fits(r, offset)
                data = b"".join(capped(r, size, url)) if is_part else b""
                return data if len(data) == size else None
            body = b"".join(_first(pieces(r), 64 << 10))
            raise self.error(Reply(r.status_code, r.headers, body, r.url), f"@{digest}")

    def delete_blob(self, digest: Digest) -> None:
        """Delete a blob.

        Raises:
            NotFound: there is none.
            Unsupported: the registry does not delete.
        """
        reply = self.transport.send(
            "DELETE", self.url(f"blobs/{digest}"), scopes=self.delete_scope, headers={"Content-Length": "0"}
        )
        if not reply.ok or (reply.status != 202 and reply.is_page()):
            raise self._delete_refused(reply, f"@{digest}")

    # --- listings ------------------------------------------------------------------------------

    def tags(self, most: int = 0) -> list[str]:
        """All tags, or about the first `most`, sorted.

        Raises:
            NotFound: there is no such repository.
        """
        from imagesmith.registry.paging import paged

        found: set[str] = set()
        query = f"tags/list?n={most}" if most else "tags/list"
        for reply in paged(self.transport, self.url(query), self.pull_scope):
            if not reply.ok:
                raise self.error(reply)
            found.update(quirks.usable_tags(need_object(reply, f"{self.name}: tags").get("tags")))
            if 0 < most <= len(found):
                break
        return sorted(found)

    def referrers(self, digest: Digest, artifact_type: str = "") -> list[Descriptor] | None:
        """What refers to a manifest, by the API alone; None where the registry has none.

        Raises:
            RegistryError: the registry failed.
        """
        from imagesmith.registry.paging import paged

        path = f"referrers/{digest}"
        if artifact_type:
            path += "?" + urllib.parse.urlencode({"artifactType": artifact_type})
        headers = {"Accept": mt.OCI_INDEX}
        found: list[Descriptor] = []
        for reply in paged(self.transport, self.url(path), self.pull_scope, headers):
            if reply.status == 429 or reply.status >= 500:
                raise self.error(reply, f"@{digest}: referrers")
            if not reply.ok or not self.transport.is_home(reply.url):
                return None
            page = _referrers_page(reply)
            if page is None:
                return None
            found += page
        return [d for d in found if not artifact_type or d.artifact_type == artifact_type]


def catalog(transport: Transport) -> list[str]:
    """The repositories of a registry, sorted.

    Raises:
        Unsupported: the registry does not list them.
    """
    from imagesmith.registry.paging import paged

    found: set[str] = set()
    for reply in paged(transport, f"{transport.base()}/_catalog", ("registry:catalog:*",)):
        if reply.status in (404, 405):
            raise Unsupported(f"{transport.endpoint.host}: the registry does not list its repositories")
        if not reply.ok:
            raise error_of(reply, f"{transport.endpoint.host}: catalog", transport.endpoint.registry)
        names = need_object(reply, f"{transport.endpoint.host}: catalog").get("repositories")
        found.update(n for n in names if isinstance(n, str)) if isinstance(names, list) else None
    return sorted(found)


def _referrers_page(reply: Reply) -> list[Descriptor] | None:
    """The entries of an index; None for what is no index, such as the page of a website."""
    if reply.content_type() not in (mt.OCI_INDEX, "application/json", "text/plain"):
        return None
    try:
        o: Object = parse_object(reply.body, "referrers")
        if o.text("mediaType", mt.OCI_INDEX) != mt.OCI_INDEX or "manifests" not in o.data:
            return None
        return list(Index.parse(reply.body, mt.OCI_INDEX).manifests) if o.data.get("manifests") else []
    except InvalidDocument:
        return None


def _fits(r: Answer, start: int) -> bool:
    """True if a part of a blob begins where it was asked to, and is as it is stored."""
    match = re.match(r"bytes (\d{1,18})-", r.headers.get("content-range", ""))
    return (match is None or int(match[1]) == start) and not is_packed(r, -1)


def _first(data: Iterator[bytes], most: int) -> Iterator[bytes]:
    for piece in data:
        yield piece
        most -= len(piece)
        if most <= 0:
            return


def _guess(raw: bytes, what: str) -> str:
    """The type of a manifest that neither header nor body name."""
    o = parse_object(raw, what)
    if o.integer("schemaVersion") == 1:
        return "application/vnd.docker.distribution.manifest.v1+json"
    return mt.OCI_INDEX if "manifests" in o.data else mt.OCI_MANIFEST


def _suffix(reference: str) -> str:
    return f"@{reference}" if ":" in reference else f":{reference}"
