"""Signed tokens: JSON claims with an HMAC, as JSON Web Tokens (HS256) under a key of this process.

Trust: a token is a stranger's until its signature is checked; only then is it decoded.
Threads: all methods may be called from any.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
import time
from typing import Any

__all__ = ["Signer"]

_HEADER = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=").decode()


class Signer:
    """Signs claims and reads what it signed."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def forget(self) -> None:
        """Make every token so far invalid."""
        self._key = secrets.token_bytes(32)

    def sign(self, claims: dict[str, object], life_s: float) -> str:
        """A token of these claims that is good for so many seconds."""
        claims = {**claims, "exp": time.time() + life_s}
        body = f"{_HEADER}.{_encode(json.dumps(claims).encode())}"
        return f"{body}.{_encode(self._mac(body))}"

    def read(self, token: str, kind: str) -> dict[str, Any] | None:
        """The claims of a token of this kind that is signed and not over; else None."""
        body, _, mac = token.rpartition(".")
        try:
            given = _decode(mac)
            if not hmac.compare_digest(given, self._mac(body)):
                return None
            claims: dict[str, Any] = json.loads(_decode(body.partition(".")[2]))
        except (ValueError, binascii.Error):
            return None
        if claims.get("typ") != kind or claims["exp"] <= time.time():
            return None
        return claims

    def _mac(self, body: str) -> bytes:
        return hmac.digest(self._key, body.encode("utf-8", "replace"), "sha256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
