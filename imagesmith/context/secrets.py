"""Secrets of a build: their values, read where they are used, and what of them git is given.

Why read late: a value lives in memory only while something needs it, and a secret that nothing asks for is
never read.
Spec: BuildKit's source/git (GIT_AUTH_TOKEN and GIT_AUTH_HEADER, with and without `.host`).
Trust: files and variables are the user's own word; a name may come from a Dockerfile, which gets only what
the user gave under it.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from imagesmith.context.git import GitRef
from imagesmith.errors import UsageError
from imagesmith.request import BuildRequest, SecretSource

if TYPE_CHECKING:
    from imagesmith.context.gitrun import Access

__all__ = ["git_access", "read_secret"]

#: Larger ones are a mistake: BuildKit's limit.
_SECRET_BYTES = 500 << 10


def read_secret(secret: SecretSource) -> bytes | None:
    """A secret's value; None where it is not there.

    Raises:
        UsageError: it cannot be read, or is too large.
    """
    if secret.env:
        value = os.environ.get(secret.env)
        if value is None:
            return None
        data = os.fsencode(value)
    else:
        try:
            with open(secret.file, "rb") as f:
                data = f.read(_SECRET_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as e:
            raise UsageError(f"--secret id={secret.id}: {secret.file}: {e.strerror}") from e
    if len(data) > _SECRET_BYTES:
        raise UsageError(f"secret {secret.id} too big. max size {_SECRET_BYTES >> 10}KB")
    return data


def git_access(request: BuildRequest, ref: GitRef, *, own: bool) -> Access:
    """What may be shown to a repository's server.

    Args:
        request: with the secrets and agents that were given.
        ref: the repository. A secret for its host goes before one for all, a header before a token, and both
            before a login in the address.
        own: the user named the repository on the command line: what the user's own git has may be used.

    Raises:
        UsageError: a secret that no header can hold.
    """
    from imagesmith.context.gitrun import Access, token_header

    agent = request.ssh.get("default", "")
    header = token_header(ref.login) if ref.login else ""
    if ref.remote.startswith(("http://", "https://")):
        header = _secret_header(request, ref.host) or header
    return Access(header=header, agent=agent, own=own)


def _secret_header(request: BuildRequest, host: str) -> str:
    from imagesmith.context.gitrun import token_header

    known = {s.id: s for s in request.secrets}
    for suffix in (f".{host}", ""):
        for name in ("GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"):
            secret = known.get(name + suffix)
            data = None if secret is None else read_secret(secret)
            if data is None:
                continue
            value = data.decode("utf-8", "surrogateescape").strip()
            if re.search(r"[\x00-\x1f\x7f]", value):
                raise UsageError(f"secret {name}{suffix}: a header has no control characters")
            return value if name == "GIT_AUTH_HEADER" else token_header(f"x-access-token:{value}")
    return ""
