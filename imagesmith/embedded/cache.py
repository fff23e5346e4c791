"""Pull-through: what the folder lacks is fetched from another registry, served and kept.

Why: a build farm, or a machine that is offline now and then, pulls each layer once. Tags are asked for
upstream every time (a HEAD), and answered from the folder while upstream cannot be reached.
Spec: OCI distribution-spec, Registry Proxying (`ns`, `OCI-Namespace`).
Trust: nothing is kept before its digest was seen, and the last bytes of a blob are held back until then, so
a client never holds a whole wrong blob. Two who ask for the same missing blob fetch it twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from urllib.parse import quote, urlencode

from imagesmith.embedded.answers import Failure, parse_digest
from imagesmith.embedded.manifests import MANIFEST_BYTES, Manifests, parse_reference
from imagesmith.embedded.storage import Storage
from imagesmith.embedded.uploads import Uploads
from imagesmith.embedded.upstream import Answer, Upstream
from imagesmith.embedded.wire import CHUNK, Request, Response
from imagesmith.errors import InvalidDocument, NetworkFault
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.mediatype import INDEX_TYPES, MANIFEST_TYPES

__all__ = ["PullThrough"]

_LOG = logging.getLogger(__name__)
_ACCEPT = ", ".join(sorted(MANIFEST_TYPES | INDEX_TYPES))
_LIST_BYTES = 8 << 20


class PullThrough:
    """Brings what a read asks for from upstream into the folder."""

    def __init__(self, upstream: Upstream, storage: Storage, uploads: Uploads, manifests: Manifests) -> None:
        self._upstream, self._storage = upstream, storage
        self._uploads, self._manifests = uploads, manifests

    def check_namespace(self, request: Request) -> list[tuple[str, str]]:
        """The headers that acknowledge `?ns=`.

        Raises:
            Failure: 404, another registry's content is wanted.
        """
        wanted = request.param("ns")
        if wanted is None:
            return []
        hosts = {self._upstream.host}
        if self._upstream.host.endswith("docker.io"):
            hosts |= {"docker.io", "index.docker.io", "registry-1.docker.io"}
        if wanted not in hosts:
            raise Failure(
                404, "NAME_UNKNOWN", f"this is a cache of {self._upstream.host}", detail=wanted[:300]
            )
        return [("OCI-Namespace", wanted)]

    def manifest(self, name: str, reference: str) -> None:
        """Bring a manifest, if upstream has it and the folder has not.

        Raises:
            Failure: 502, upstream cannot be asked and the folder does not have it either.
        """
        target = parse_reference(reference)
        known = self._storage.manifest(name, target)
        if isinstance(target, Digest) and known:
            return
        path = f"/v2/{name}/manifests/{reference}"
        try:
            if known:
                head = self._ask(name, path, method="HEAD")
                head.close()
                if head.status == 200 and head.header("Docker-Content-Digest") == str(known.digest):
                    return
            answer = self._ask(name, path)
            raw, status = answer.read(MANIFEST_BYTES), answer.status
            if status == 200:
                self._keep(name, target, raw, answer)
            elif status != 404:
                raise NetworkFault(f"{self._upstream.host} answers {status} for {name}")
            elif known and isinstance(target, str):
                self._storage.delete_tag(name, target)
        except NetworkFault as e:
            if not known:
                raise Failure(502, "UNAVAILABLE", e.message) from e
            _LOG.warning("%s; serving what is here", e.message)

    def _keep(self, name: str, target: str | Digest, raw: bytes, answer: Answer) -> None:
        media_type = answer.header("Content-Type").partition(";")[0].strip()
        digest = digest_bytes(raw, target.algorithm if isinstance(target, Digest) else "sha256")
        told = str(target) if isinstance(target, Digest) else answer.header("Docker-Content-Digest")
        if told.startswith(f"{digest.algorithm}:") and told != str(digest):
            raise NetworkFault(f"{self._upstream.host} answers for {told} with {digest}")
        try:
            self._manifests.keep(name, raw, digest, media_type, whole=False)
        except InvalidDocument as e:
            raise NetworkFault(f"{self._upstream.host} answers for {name} with no manifest: {e}") from e
        if isinstance(target, str):
            self._storage.put_tag(name, target, digest)

    def blob(self, request: Request, name: str, text: str) -> Response | None:
        """The answer with a blob that is fetched now; None where the folder can answer.

        Raises:
            Failure: 404 as upstream; 502, upstream cannot be asked.
        """
        digest = parse_digest(text)
        if self._storage.has_blob(name, digest):
            return None
        try:
            answer = self._ask(name, f"/v2/{name}/blobs/{digest}", method=request.method)
        except NetworkFault as e:
            raise Failure(502, "UNAVAILABLE", e.message) from e
        size = answer.size
        if answer.status != 200 or size is None:
            answer.close()
            if answer.status == 404:
                return None
            raise Failure(502, "UNAVAILABLE", f"{self._upstream.host} answers {answer.status} for a blob")
        headers = [
            ("Content-Type", "application/octet-stream"),
            ("Docker-Content-Digest", str(digest)),
            ("Content-Length", str(size)),
        ]
        if request.method == "HEAD":
            answer.close()
            return Response(200, headers)
        pieces = self._fetch(answer, name, digest, size)
        if "range" not in request.headers:
            return Response(200, headers, pieces)
        try:
            for _ in pieces:
                pass
        except NetworkFault as e:
            raise Failure(502, "UNAVAILABLE", e.message) from e
        return None

    def _fetch(self, answer: Answer, name: str, digest: Digest, size: int) -> Iterator[bytes]:
        """Pass a blob on while it is written; the last piece only once it is verified and kept."""
        held = b""
        upload = self._uploads.begin(name, digest.algorithm)  # here: a client that has gone asks for no piece
        try:
            view = memoryview(bytearray(CHUNK))
            while got := answer.readinto(view):
                upload.append(view[:got])
                if held:
                    yield held
                held = bytes(view[:got])
            if upload.size != size or not upload.has(digest):
                raise NetworkFault(f"{self._upstream.host} sent other bytes for {digest}")
            self._uploads.finish(upload, digest)
            if held:
                yield held
        finally:
            answer.close()
            self._uploads.drop(upload)

    def listing(self, request: Request, name: str) -> Response | None:
        """Tags or referrers as upstream lists them; None where it cannot, and the folder answers."""
        try:
            query = urlencode([(key, value) for key, value in request.query if key != "ns"])
            path = quote(request.path, safe="/:")
            answer = self._ask(name, f"{path}?{query}" if query else path)
            raw, status = answer.read(_LIST_BYTES), answer.status
        except NetworkFault as e:
            _LOG.warning("%s; listing what is here", e.message)
            return None
        if status != 200:
            return None
        headers = [("Content-Type", answer.header("Content-Type") or "application/json")]
        link = answer.header("Link").replace(f"<{self._upstream.url}/", "</")
        headers += [(key, value) for key, value in (("Link", link),) if value.startswith("</v2/")]
        if applied := answer.header("OCI-Filters-Applied"):
            headers.append(("OCI-Filters-Applied", applied))
        return Response(200, headers, raw)

    def _ask(self, name: str, path: str, method: str = "GET") -> Answer:
        accept = _ACCEPT if "/manifests/" in path else "*/*"
        return self._upstream.get(path, f"repository:{name}:pull", method=method, accept=accept)
