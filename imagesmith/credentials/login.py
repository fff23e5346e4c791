"""Keeping and forgetting credentials, in the file or helper where docker and podman look for them.

Why: the file is written beside its place and renamed, with mode 0600, so that no reader sees half of it and
no other user sees it at all; a lock keeps two logins apart.
Trust: the file is the user's own; it is replaced whole, and what else it holds is kept.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
from collections.abc import Iterator
from typing import Any

from imagesmith.credentials import helpers
from imagesmith.credentials.dockerconfig import ConfigFile, Credentials, helper_of, hub_key, keys_of
from imagesmith.credentials.model import Credential
from imagesmith.errors import UsageError, cannot_write
from imagesmith.fs.atomic import put_whole
from imagesmith.oci.codec import Object

__all__ = ["account_of", "forget", "keep"]


def account_of(text: str) -> tuple[str, str]:
    """Registry and path of what the user wrote: Docker's names for the Hub, without the API's."""
    host, _, rest = text.removeprefix("https://").removeprefix("http://").partition("/")
    path = rest.strip("/")
    if not host:
        raise UsageError(f"{text!r} names no registry", hint="give host[:port]")
    hub = host in ("index.docker.io", "registry-1.docker.io", "hub.docker.com")
    return "docker.io" if hub else host, "" if path in ("v1", "v2") else path


def keep(registry: str, credential: Credential, credentials: Credentials, path: str = "") -> str:
    """Keep a credential for a registry, or for what is below a path of it, and return where.

    Raises:
        UsageError: the file is broken or cannot be written.
        RegistryError: the helper that the file names would not take it.
    """
    file = credentials.home_file()
    helper = "" if path else file.helper(registry)  # helpers know hosts, not paths
    if helper:
        user = credential.username if credential.kind == "basic" else "<token>"
        helpers.store(helper, hub_key(registry), user, credential.secret)
        return f"docker-credential-{helper}"
    if credential.kind == "identity":
        entry = {"identitytoken": credential.secret}
    else:
        pair = f"{credential.username}:{credential.secret}"
        entry = {"auth": base64.b64encode(pair.encode()).decode()}
    with _changed(file) as document:
        document.setdefault("auths", {})[_key(registry, path)] = entry
    return str(file.path)


def _key(registry: str, path: str) -> str:
    return f"{registry}/{path}" if path else hub_key(registry)


def forget(registry: str, credentials: Credentials, path: str = "") -> bool:
    """Take the credentials of a registry, or those of a path alone, out of every file and helper.

    Returns True if there were any.
    """
    found = False
    for file in credentials.files():
        o = file.read()
        if o is None or file.legacy:
            continue
        helper = "" if path else helper_of(o, registry)
        if helper:
            found = helpers.erase(helper, hub_key(registry)) or found
        auths = o.obj("auths") or Object({}, o.path)
        gone = [k for k in ([_key(registry, path)] if path else keys_of(registry)) if k in auths.data]
        if gone:
            with _changed(file) as document:
                for key in gone:
                    document["auths"].pop(key, None)
            found = True
    return found


@contextlib.contextmanager
def _changed(file: ConfigFile) -> Iterator[dict[str, Any]]:
    """The document to change; written back at the end, its other fields as they were."""
    path = file.path.resolve()  # a link stays a link
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.with_name(f".{path.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            o = ConfigFile(path).read()
            document: dict[str, Any] = {} if o is None else o.data
            if document.get("auths") is None:
                document["auths"] = {}
            if not isinstance(document["auths"], dict):
                raise UsageError(f"{path}: auths must be an object")
            yield document
            data = json.dumps(document, indent="\t", ensure_ascii=False).encode() + b"\n"
            put_whole(path, data, mode=0o600)
    except OSError as e:
        raise cannot_write(e, path) from e
