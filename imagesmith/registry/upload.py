"""Sending a blob: one PUT where it goes, in pieces where it must, on from where a cut left it.

Why: one PUT of the whole works with every registry; 413 tells of a proxy that allows less, then the blob goes
in pieces. After a cut the session is asked how much it has: registries that keep it go on there, the others
answer 404 and get a new session.
Spec: OCI distribution-spec 1.1, "Pushing Blobs" (end-4a, 5, 6, 13, 14).
Trust: Location may lead anywhere but from https to http; its query is kept to the byte, and another host gets
no credentials of ours.
"""

from __future__ import annotations

import logging
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from imagesmith.errors import DigestMismatch, NetworkFault, RegistryError
from imagesmith.oci.digest import Digest
from imagesmith.registry import quirks
from imagesmith.registry.client import Client
from imagesmith.registry.faults import onward
from imagesmith.registry.reply import Reply
from imagesmith.registry.transport import Body

__all__ = [
    "OCTETS",
    "BlobBody",
    "UploadSession",
    "begin",
    "cancel",
    "check_finished",
    "mount",
    "next_location",
    "put_last",
    "upload",
]

_log = logging.getLogger(__name__)

_ATTEMPTS = 5
#: Answers after which the session is looked at and the rest is sent again.
_AGAIN = frozenset({404, 408, 416, 429, 500, 502, 503, 504})
OCTETS = "application/octet-stream"

#: The blob's bytes from an offset on; made anew for each try.
BlobBody = Callable[[int], Iterable[bytes]]


@dataclass(slots=True, eq=False)
class UploadSession:
    """An upload session: its newest address, the accepted bytes, and the least size of a piece."""

    url: str
    offset: int = 0
    least: int = quirks.LEAST_CHUNK_BYTES


def mount(client: Client, digest: Digest, source: str) -> str | None:
    """Ask the registry to take a blob from another of its repositories.

    Returns the empty text if it did, the address of an upload session if it opened one instead, None if it
    wants neither.
    """
    query = urllib.parse.urlencode({"mount": str(digest), "from": source}, safe=":/")
    scopes = (*client.push_scope, f"repository:{source}:pull")
    reply = client.transport.send("POST", client.url(f"blobs/uploads/?{query}"), scopes=scopes)
    if reply.status == 201:
        return ""
    if reply.status == 202 and "location" in reply.headers:
        return next_location(client, reply)
    if quirks.mount_refused(reply.status):
        return None
    raise client.error(reply, f"@{digest}: mount")


def upload(client: Client, digest: Digest, size: int, body: BlobBody, session: str = "") -> None:
    """Send a blob of known digest and size.

    Args:
        client: the repository.
        digest: of the bytes.
        size: their number.
        body: gives them from an offset on.
        session: the address of an upload session that is open already.

    Raises:
        DigestMismatch: the registry got, or says it stored, other bytes.
        NetworkFault: the connection broke more often than it is tried.
    """
    source = _Source(body)
    chunk = 0
    state = UploadSession(session) if session else None
    for attempt in range(_ATTEMPTS):
        last = attempt == _ATTEMPTS - 1
        if state is None:
            state = begin(client, digest)
        try:
            reply = _rest(client, digest, size, source, state, chunk or size)
            if quirks.wants_chunks(reply.status) and not chunk:
                chunk, state = state.least, None
                _log.debug("%s@%s: too large for one request; sending pieces", client.name, digest)
                continue
            limit = quirks.chunk_limit(reply.said())
            if limit and limit != chunk:
                chunk = limit
            elif reply.status not in _AGAIN or last:
                check_finished(client, digest, reply)
                return
        except NetworkFault as e:
            if last or e is source.failure:
                raise
        client.transport.pause(attempt)
        state = _resumed(client, digest, state)
    raise RegistryError(f"{client.name}@{digest}: the upload did not end after {_ATTEMPTS} tries")


class _Source:
    """The blob's bytes in runs of asked lengths; goes on reading where it is, opens anew elsewhere."""

    def __init__(self, body: BlobBody) -> None:
        self._body = body
        self._data: Iterator[bytes] = iter(())
        self._left, self._at = b"", -1
        self.failure: BaseException | None = None

    def run(self, offset: int, length: int) -> Iterator[bytes]:
        """The bytes from `offset` on, `length` of them."""
        try:
            if self._at != offset:
                self._data, self._left, self._at = iter(self._body(offset)), b"", offset
            while length > 0:
                piece = self._left or next(self._data, b"")
                if not piece:
                    return
                self._left, piece = piece[length:], piece[:length]
                length -= len(piece)
                self._at += len(piece)
                yield piece
            if not self._left:
                self._left = next(self._data, b"")  # lets a verifying source look at its end
        except Exception as e:
            self.failure, self._at = e, -1
            raise


def begin(client: Client, digest: Digest | None = None) -> UploadSession:
    """Open a session for a blob; of no digest yet, it will be a sha256.

    Raises:
        RegistryError: the registry does not let us.
    """
    path = "blobs/uploads/"
    if digest is not None and digest.algorithm != "sha256":
        path += f"?digest-algorithm={digest.algorithm}"
    reply = client.transport.send("POST", client.url(path), scopes=client.push_scope)
    if reply.status != 202 or "location" not in reply.headers:
        raise client.error(reply, f"@{digest}: upload" if digest else ": upload")
    return UploadSession(next_location(client, reply), least=quirks.least_chunk(reply.headers))


def next_location(client: Client, reply: Reply) -> str:
    """The next address of a session; see `onward` for what it raises."""
    return onward(client.transport.base(), reply.url, reply.headers["location"])


def put_last(client: Client, digest: Digest, state: UploadSession, body: Body, length: int) -> Reply:
    """End a session with its last bytes; for a whole blob they are all of it."""
    url = state.url + ("&" if "?" in state.url else "?") + f"digest={digest}"
    headers = {"Content-Type": OCTETS, "Content-Length": str(length)}
    if state.offset and length:
        headers["Content-Range"] = f"{state.offset}-{state.offset + length - 1}"
    return client.transport.send(
        "PUT", url, scopes=client.push_scope, headers=headers, body=body, retry=False
    )


def check_finished(client: Client, digest: Digest, reply: Reply) -> None:
    """Check the answer to the last request.

    Raises:
        DigestMismatch: the registry got, or says it stored, other bytes.
        RegistryError: it refused the blob.
    """
    if not reply.ok:
        if "DIGEST_INVALID" in reply.codes():
            raise DigestMismatch(f"{client.name}@{digest}: the registry received other bytes{reply.said()}")
        raise client.error(reply, f"@{digest}")
    told = reply.headers.get("docker-content-digest", "")
    if told.startswith(f"{digest.algorithm}:") and told != str(digest):
        raise DigestMismatch(f"{client.name}@{digest}: the registry stored it as {told}")


def _rest(
    client: Client, digest: Digest, size: int, source: _Source, state: UploadSession, chunk: int
) -> Reply:
    """Send what is missing, `chunk` bytes a request, the last in the PUT (ECR refuses an empty one)."""
    while size - state.offset > chunk:
        start, end = state.offset, state.offset + chunk - 1
        headers = {"Content-Type": OCTETS, "Content-Length": str(chunk), "Content-Range": f"{start}-{end}"}
        reply = client.transport.send(
            "PATCH",
            state.url,
            scopes=client.push_scope,
            headers=headers,
            body=lambda at=start: source.run(at, chunk),  # type: ignore[misc]  # the default binds the loop's value
            retry=False,
        )
        if not quirks.patch_accepted(reply.status):
            return reply
        state.offset = end + 1
        if "location" in reply.headers:
            state.url = next_location(client, reply)
    rest = size - state.offset
    return put_last(client, digest, state, lambda: source.run(state.offset, rest), rest)


def _resumed(client: Client, digest: Digest, state: UploadSession | None) -> UploadSession | None:
    """The session as the registry has it after a cut; None to begin anew."""
    if state is None:
        return None
    reply = client.transport.send("GET", state.url, scopes=client.push_scope)
    if reply.status not in (200, 204):
        return None
    match = re.fullmatch(r"(?:bytes=)?0-(\d{1,18})", reply.headers.get("range", "").strip())
    if match is None:
        return None
    # `0-0` is one byte or none: nobody resumes for a byte.
    end = int(match[1])
    url = next_location(client, reply) if "location" in reply.headers else state.url
    found = UploadSession(url, end + 1 if end else 0, state.least)
    _log.debug("%s@%s: going on at byte %d", client.name, digest, found.offset)
    if not found.offset:
        cancel(client, found.url)
        return None
    return found


def cancel(client: Client, url: str) -> None:
    """Give a session up; what the registry says to that does not matter."""
    client.transport.send(
        "DELETE", url, scopes=client.push_scope, headers={"Content-Length": "0"}, retry=False
    )
