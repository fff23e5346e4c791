"""Files of servers as they are pinned: what ADD, or a named context, names becomes what a lock says of it.

Why at planning: what is missing in the lock is told at its line, before anything is built; and a step of a
file that is pinned is the step of one whose checksum stands in the Dockerfile.
Trust: see pins.py; what servers send is held against the digests where it is fetched (http.py, gitfetch.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from imagesmith.context.git import GitRef, is_commit
from imagesmith.context.http import Download
from imagesmith.context.origins import Fetched, Remote
from imagesmith.context.secrets import git_access
from imagesmith.errors import UsageError
from imagesmith.pins import SUFFIX, Pinning
from imagesmith.request import BuildRequest
from imagesmith.values import replace

__all__ = ["locked", "pinning_of"]


def pinning_of(
    request: BuildRequest, dockerfile: tuple[Path, str] | None, raw: bytes | None, *, is_remote: bool
) -> Pinning:
    """The pins of a build.

    Args:
        request: the build.
        dockerfile: its folder and its path in it; None for one that no lock can lie beside.
        raw: the lock beside it, if it is there and counts.
        is_remote: the context, and the lock with it, came from elsewhere.

    Raises:
        UsageError: pins are asked for where there is no place for them.
        InvalidDocument: the lock is none.
    """
    found = Pinning(request.pins)
    if request.pin and dockerfile is None:
        raise UsageError("--pin: no lock can lie beside a Dockerfile from standard input, a pipe or a URL")
    if dockerfile is not None and (raw is not None or request.pin):
        folder, name = dockerfile
        place = folder, f"{name}{SUFFIX}"
        found.use(place, raw, adds=bool(request.pin), writable=not is_remote)
    return found


def locked(
    origin: Remote,
    pinning: Pinning,
    request: BuildRequest,
    download: Callable[[str], Download],
    scratch: Callable[[], Path],
) -> Remote:
    """A file or a repository with the digest that it must have; one that says it itself stays as it is.

    Args:
        origin: what is named.
        pinning: what is required.
        request: the build, with what servers may be shown.
        download: fetches a URL.
        scratch: gives a folder.

    Raises:
        DockerfileError: the lock lacks it.
        ContextError: it cannot be had.
    """
    if origin.checksum:
        return origin
    if isinstance(origin, Fetched):
        url = origin.url
        return replace(origin, checksum=pinning.of("files", url, lambda: str(download(url).digest)))
    if is_commit(origin.ref.ref):
        return origin

    def commit(ref: GitRef = origin.ref, own: bool = origin.own) -> str:
        from imagesmith.context.gitfetch import commit_of

        return commit_of(ref, scratch(), git_access(request, ref, own=own))

    ref = origin.ref.pinned({origin.ref.pin: pinning.of("repositories", origin.ref.pin, commit)})
    return replace(origin, ref=ref, checksum=ref.checksum)
