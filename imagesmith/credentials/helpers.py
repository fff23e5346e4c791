"""Credential helpers: `docker-credential-NAME` programs that keep secrets in a keychain.

Spec: docker-credential-helpers' protocol: one word as argument, text in, JSON out, messages on stdout.
Trust: the name comes from a configuration file and becomes a program's name, so its alphabet is checked; time
and output are bounded.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import subprocess
import time

from imagesmith.credentials.model import Credential
from imagesmith.errors import InvalidDocument, RegistryError, reason_of
from imagesmith.oci.codec import parse_object

__all__ = ["erase", "get", "store"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TIMEOUT_S = 60.0
_MOST_BYTES = 1 << 20
_CHUNK = 1 << 16
_NONE = "credentials not found in native keychain"


def get(helper: str, server: str) -> Credential | None:
    """Ask for a server's credential; None if the helper has none.

    Raises:
        RegistryError: the helper is missing, failed, or answered nonsense.
    """
    status, out = _run(helper, "get", server)
    if status:
        if out.strip() == _NONE:
            return None
        raise RegistryError(
            f"docker-credential-{helper} get {server}: {out.strip()[:300] or f'status {status}'}"
        )
    try:
        o = parse_object(out.encode(), f"docker-credential-{helper}")
        user, secret = o.text("Username"), o.text("Secret")
    except InvalidDocument as e:
        raise RegistryError(f"docker-credential-{helper} get {server}: answered nonsense") from e
    if user == "<token>":
        return Credential("", secret, "identity")
    return Credential(user, secret) if user and secret else None


def store(helper: str, server: str, username: str, secret: str) -> None:
    """Give a credential to the helper.

    Raises:
        RegistryError: it would not take it.
    """
    document = json.dumps({"ServerURL": server, "Username": username, "Secret": secret})
    status, out = _run(helper, "store", document)
    if status:
        raise RegistryError(
            f"docker-credential-{helper} store {server}: {out.strip()[:300] or f'status {status}'}"
        )


def erase(helper: str, server: str) -> bool:
    """Let the helper forget a server; True if it had known it."""
    if get(helper, server) is None:
        return False
    status, out = _run(helper, "erase", server)
    if status:
        raise RegistryError(
            f"docker-credential-{helper} erase {server}: {out.strip()[:300] or f'status {status}'}"
        )
    return True


def _run(helper: str, verb: str, text: str) -> tuple[int, str]:
    if not _NAME.fullmatch(helper):
        raise RegistryError(f"{helper[:100]!r} is no name of a credential helper")
    name = f"docker-credential-{helper}"
    program = shutil.which(name)
    if program is None:
        raise RegistryError(
            f"error getting credentials: {name} is configured but not installed",
            hint="install it, or take it out of the configuration file",
        )
    try:
        status, out = _ask([program, verb], text.encode())
    except (OSError, subprocess.TimeoutExpired) as e:
        raise RegistryError(f"{name} {verb}: {reason_of(e)}") from e
    if len(out) > _MOST_BYTES:
        raise RegistryError(f"{name} {verb}: answers with more than {_MOST_BYTES} bytes")
    return status, out.decode("utf-8", "replace")


def _ask(command: list[str], text: bytes) -> tuple[int, bytes]:
    """Run a helper; returns its status and what it says, or enough of that to show that it is too much."""
    ends_s = time.monotonic() + _TIMEOUT_S
    with open(os.memfd_create("asked"), "w+b") as asked:  # a pipe could fill while the helper does not read
        asked.write(text)
        asked.seek(0)
        process = subprocess.Popen(command, stdin=asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with process, selectors.DefaultSelector() as selector:
        assert process.stdout is not None
        selector.register(process.stdout, selectors.EVENT_READ)
        try:
            out = b""
            while len(out) <= _MOST_BYTES:
                if not selector.select(max(0.0, ends_s - time.monotonic())):
                    raise subprocess.TimeoutExpired(command, _TIMEOUT_S)
                data = os.read(process.stdout.fileno(), _CHUNK)
                if not data:
                    return process.wait(max(0.0, ends_s - time.monotonic())), out
                out += data
            return 1, out
        finally:
            process.kill()
