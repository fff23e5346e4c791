"""Sending a blob: one PUT where it goes, in pieces where it must, on from where a cut left it.

Why: one PUT of the whole works with every registry; 413 tells of a proxy that allows less, then the blob goes
in pieces. After a cut the session is asked how much it has: registries that keep it go on there, the others
answer 404 and get a new session.
Spec: OCI distribution-spec 1.1, "Pushing Blobs" (end-4a, 5, 6, 13, 14).
Trust: Location may lead anywhere but from https to http; its query is kept to the byte, and another host gets
no credentials of ours.
"""

from __future__ import annotations

import contextlib
import logging
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator

from imagesmith.errors import DigestMismatch, NetworkFault, RegistryError
from imagesmith.oci.digest import Digest
from imagesmith.registry import quirks
from imagesmith.registry.client import Client
from imagesmith.registry.faults import AGAIN, onward
from imagesmith.registry.reply import Reply
from imagesmith.registry.transport import Body
from imagesmith.values import record

__all__ = [
    "OCTETS",
    "BlobBody",
    "UploadSession",
    "begin",
    "cancel",
    "check_finished",
    "mount",
    "mount_any",
    "next_location",
    "put_last",
    "upload",
]

_log = logging.getLogger(__name__)

#: Answers after which the session is looked at and the rest is sent again.
_AGAIN = AGAIN | {404, 416}
OCTETS = "application/octet-stream"

#: The blob's bytes from an offset on; made anew for each try.
BlobBody = Callable[[int], Iterable[bytes]]


@record
class UploadSession:
    """An upload session: its newest address, the accepted bytes, and the least size of a piece."""

    url: str
    offset: int = 0
    least: int = quirks.LEAST_CHUNK_BYTES


def mount(client: Client, digest: Digest, source: str) -> str | None:
    """Ask the registry to take a blob from another of its repositories.

    Returns the empty text if it did, the address of an upload session if it opened one instead, None where it
    does neither, for whatever reason: an upload is never wrong, and tells better what is.
    """
    query = urllib.parse.urlencode({"mount": str(digest), "from": source}, safe=":/")
    scopes = (*client.push_scope, f"repository:{source}:pull")
    try:
        reply = client.transport.send(
            "POST", client.url(f"blobs/uploads/?{query}"), scopes=scopes, retry=False
        )
        if reply.status == 202 and "location" in reply.headers:
            return next_location(client, reply)
    except (NetworkFault, RegistryError) as e:
        _log.info("%s: not mounted from %s: %s", digest, source, e.message)
        return None
    if reply.status != 201:
        return None
    # Some take the blob of a sha512 for that of its sha256, and do not have it under the name given.
    named = reply.headers.get("docker-content-digest", str(digest)) == str(digest)
    return "" if (named and reply.is_proof(201)) or client.head_blob(digest) is not None else None


def mount_any(client: Client, digest: Digest, sources: Iterable[str]) -> str | None:
    """`mount`, from the first of several repositories that is of use."""
    for source in sources:
        answer = mount(client, digest, source)
        if answer is not None:
            return answer
    return None


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
    sending = _Sending(client, digest, size, body, session)
    while not sending.is_done():
        pass


class _Sending:
    """A blob on its way: what of it has arrived, and how often sending failed since then."""

    def __init__(self, client: Client, digest: Digest, size: int, body: BlobBody, session: str) -> None:
        self._client, self._digest, self._size = client, digest, size
        self._source = _Source(body)
        self._state = UploadSession(session) if session else None
        self._tries = self._farthest = 0

    def is_done(self) -> bool:
        """Send what is missing; False to come again. Raises what `upload` does."""
        client, transport = self._client, self._client.transport
        state = self._state = self._state or begin(client, self._digest)
        if state.offset > self._farthest:  # some of it arrived: counting begins anew
            self._tries, self._farthest = 0, state.offset
        begun, chunk = state.offset, transport.most_put or self._size
        self._tries += 1
        try:
            reply = _rest(client, self._digest, self._size, self._source, state, chunk)
        except NetworkFault as e:
            if e is self._source.failure or not transport.again(self._tries, e):
                raise
            return self._is_all_there(state)
        smaller = quirks.smaller_chunk(reply.status, reply.said(), chunk, state.least)
        if smaller:
            _log.debug("%s@%s: too large for one request; sending pieces", client.name, self._digest)
            self._tries, whole, transport.most_put = self._tries - 1, not transport.most_put, smaller
            return self._begin_anew(state) if whole else self._is_all_there(state)
        # Other bytes, after the registry said how many it had: it had said the wrong number.
        lied = begun > 0 and "DIGEST_INVALID" in reply.codes()
        if not (lied or reply.status in _AGAIN) or not transport.again(
            self._tries, reply.status, reply.headers
        ):
            check_finished(client, self._digest, reply, self._size)
            return True
        return self._begin_anew(state) if lied else self._is_all_there(state, refused=reply.status == 416)

    def _begin_anew(self, state: UploadSession) -> bool:
        cancel(self._client, state.url)
        self._state = None
        return False

    def _is_all_there(self, state: UploadSession, *, refused: bool = False) -> bool:
        """Learn what the registry has after a cut; `refused` is what was sent from there on."""
        found = _resumed(self._client, self._digest, state, self._source.farthest)
        if found is None:
            self._state = None
            return _is_there(self._client, self._digest)  # if only the answer was lost
        if refused and found.offset == state.offset:  # it does not take what it asks for
            return self._begin_anew(found)
        self._state = found
        return False


class _Source:
    """The blob's bytes in runs of asked lengths; goes on reading where it is, opens anew elsewhere."""

    def __init__(self, body: BlobBody) -> None:
        self._body = body
        self._data: Iterator[bytes] = iter(())
        self._left, self._at = b"", -1
        self.failure: BaseException | None = None
        self.farthest = 0  # of what was given out

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
                self.farthest = max(self.farthest, self._at)
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


def check_finished(client: Client, digest: Digest, reply: Reply, size: int = -1) -> None:
    """Check the answer to the last request.

    Raises:
        DigestMismatch: the registry got, or says it stored, other bytes.
        RegistryError: it refused the blob, or has not got it whatever it says.
    """
    if not reply.ok:
        if "DIGEST_INVALID" in reply.codes():
            raise DigestMismatch(f"{client.name}@{digest}: the registry received other bytes{reply.said()}")
        raise client.error(reply, f"@{digest}")
    told = reply.headers.get("docker-content-digest", "")
    if told.startswith(f"{digest.algorithm}:") and told != str(digest):
        raise DigestMismatch(f"{client.name}@{digest}: the registry stored it as {told}")
    if not reply.is_proof(201) and client.head_blob(digest, size) is None:
        raise client.error(reply, f"@{digest}")


def _is_there(client: Client, digest: Digest) -> bool:
    """True if the registry surely has a blob."""
    try:
        return client.head_blob(digest) is not None
    except RegistryError:
        return False


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


def _resumed(client: Client, digest: Digest, state: UploadSession, sent: int) -> UploadSession | None:
    """The session as the registry has it after a cut, of `sent` bytes at most; None to begin anew."""
    reply = client.transport.send("GET", state.url, scopes=client.push_scope)
    if reply.status not in (200, 204):
        return None
    match = re.fullmatch(r"(?:bytes=)?0-(\d{1,18})", reply.headers.get("range", "").strip())
    # `0-0` is one byte or none: nobody resumes for a byte.
    offset = int(match[1]) + 1 if match is not None and int(match[1]) else 0
    url = next_location(client, reply) if "location" in reply.headers else state.url
    if not 0 < offset <= max(sent, state.offset):  # it has nothing, does not tell, or tells what cannot be
        cancel(client, url)
        return None
    _log.debug("%s@%s: going on at byte %d", client.name, digest, offset)
    return UploadSession(url, offset, state.least)


def cancel(client: Client, url: str) -> None:
    """Give a session up; what the registry says to that does not matter."""
    with contextlib.suppress(NetworkFault):
        client.transport.send(
            "DELETE", url, scopes=client.push_scope, headers={"Content-Length": "0"}, retry=False
        )
