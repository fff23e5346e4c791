"""The routes of the distribution API, from a request to an answer.

Trust: a path is decoded once, matched against the alphabets of names, keys and references, and nothing else
of it is used. Faults of the disk become 5xx answers, never the end of the server.
"""

from __future__ import annotations

import errno
import logging
import re

from imagesmith.embedded.answers import Failure, error, failure_answer, plain
from imagesmith.embedded.auth import Access, Guard
from imagesmith.embedded.blobs import Blobs
from imagesmith.embedded.cache import PullThrough
from imagesmith.embedded.manifests import Manifests
from imagesmith.embedded.storage import NAME, Storage
from imagesmith.embedded.uploads import Uploads
from imagesmith.embedded.upstream import Upstream
from imagesmith.embedded.wire import Request, Response

__all__ = ["Api"]

_LOG = logging.getLogger(__name__)
_ROUTES = [
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("begin", r"/v2/(?P<name>.+)/blobs/uploads/?"),
        ("session", r"/v2/(?P<name>.+)/blobs/uploads/(?P<rest>[0-9a-zA-Z_=-]+)"),
        ("blob", r"/v2/(?P<name>.+)/blobs/(?P<rest>[^/]+)"),
        ("manifest", r"/v2/(?P<name>.+)/manifests/(?P<rest>[^/]+)"),
        ("tags", r"/v2/(?P<name>.+)/tags/list(?P<rest>)"),
        ("referrers", r"/v2/(?P<name>.+)/referrers/(?P<rest>[^/]+)"),
    )
]
_METHODS = {
    "begin": ("POST",),
    "session": ("GET", "HEAD", "PATCH", "PUT", "DELETE"),
    "blob": ("GET", "HEAD", "DELETE"),
    "manifest": ("GET", "HEAD", "PUT", "DELETE"),
    "tags": ("GET", "HEAD"),
    "referrers": ("GET", "HEAD"),
}
_VERSION = ("Docker-Distribution-API-Version", "registry/2.0")


class Api:
    """Answers the requests of a registry."""

    def __init__(
        self, storage: Storage, uploads: Uploads, guard: Guard, upstream: Upstream | None = None
    ) -> None:
        self._guard = guard
        self._blobs, self._manifests = Blobs(storage, uploads), Manifests(storage)
        self._cache = PullThrough(upstream, storage, uploads, self._manifests) if upstream else None

    def answer(self, request: Request) -> Response:
        """The answer to a request; the client's mistakes and the disk's faults are answers too."""
        try:
            response = self._route(request)
        except Failure as e:
            response = failure_answer(e)
        except OSError as e:
            response = _disk(e)
        response.headers.append(_VERSION)
        return response

    def refuse(self, status: int, message: str) -> Response:
        """The answer to what is no request."""
        return error(status, "UNKNOWN" if status >= 500 else "UNSUPPORTED", message)

    def _route(self, request: Request) -> Response:
        path, reads = request.path, request.method in ("GET", "HEAD")
        if own := self._guard.token(request):
            return own
        if path in ("/v2", "/v2/"):
            self._guard.check(request, ())
            return Response(200, [("Content-Type", "application/json")], b"{}") if reads else _not_allowed(())
        if path == "/v2/_catalog" and reads:
            self._guard.check(request, (Access("registry", "catalog", ("*",)),))
            return self._manifests.catalog(request)
        for kind, pattern in _ROUTES:
            if match := pattern.fullmatch(path):
                return self._dispatch(request, kind, match["name"], match.groupdict().get("rest") or "")
        if path == "/":
            return plain(200)
        raise Failure(404, "UNSUPPORTED", "there is nothing at this address")

    def _dispatch(self, request: Request, kind: str, name: str, rest: str) -> Response:
        method = request.method
        if not NAME.fullmatch(name):
            reads = method in ("GET", "HEAD")
            code = "NAME_UNKNOWN" if reads else "NAME_INVALID"
            raise Failure(404 if reads else 400, code, "invalid repository name", detail=name[:300])
        if method not in _METHODS[kind]:
            return _not_allowed(_METHODS[kind])
        actions: tuple[str, ...] = ("pull",)
        if kind in ("begin", "session") or method == "PUT":
            actions = ("pull", "push")
        elif method == "DELETE":
            actions = ("delete",)
        grant = self._guard.check(request, (Access("repository", name, actions),))
        if self._cache:
            return self._cached(self._cache, request, kind, name, rest)
        if kind == "begin":
            return self._blobs.begin(request, name, may_mount=grant.may_pull(request.param("from")))
        if kind == "session":
            return self._blobs.session(request, name, rest)
        if method == "PUT":
            return self._manifests.put(request, name, rest)
        if method == "DELETE":
            return self._blobs.delete(name, rest) if kind == "blob" else self._manifests.delete(name, rest)
        return self._read(request, kind, name, rest)

    def _read(self, request: Request, kind: str, name: str, rest: str) -> Response:
        """Answer from the folder."""
        if kind == "tags":
            return self._manifests.tags(request, name)
        if kind == "referrers":
            return self._manifests.referrers(request, name, rest)
        if kind == "blob":
            return self._blobs.get(request, name, rest)
        return self._manifests.get(request, name, rest)

    def _cached(self, cache: PullThrough, request: Request, kind: str, name: str, rest: str) -> Response:
        """Answer as a cache: reads only, from upstream what the folder lacks."""
        if request.method not in ("GET", "HEAD") or kind in ("begin", "session"):
            raise Failure(405, "UNSUPPORTED", "this registry is a cache: push to the one behind it")
        headers = cache.check_namespace(request)
        response: Response | None = None
        if kind == "manifest":
            cache.manifest(name, rest)
        elif kind == "blob":
            response = cache.blob(request, name, rest)
        else:
            response = cache.listing(request, name)
        response = response or self._read(request, kind, name, rest)
        response.headers += headers
        return response


def _not_allowed(methods: tuple[str, ...]) -> Response:
    response = error(405, "UNSUPPORTED", "the operation is unsupported")
    response.headers.append(("Allow", ", ".join(methods or ("GET", "HEAD"))))
    return response


def _disk(fault: OSError) -> Response:
    """The answer to a fault of the disk; the log has its path, the client has not."""
    _LOG.error("%s", fault)
    full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
    message = "no space left in the registry" if full else "the registry cannot read or write its folder"
    return error(507 if full else 500, "UNKNOWN", message)
