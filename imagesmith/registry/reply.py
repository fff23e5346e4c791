"""Answers of a registry: a small one as a value, and what its refusals become.

Spec: OCI distribution-spec 1.1, "Error Codes".
Trust: the body may be anything (HTML of a proxy, nothing at all); what is shown of it is short, one line.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from imagesmith.errors import (
    Denied,
    InvalidDocument,
    NotFound,
    RateLimited,
    RegistryError,
    Unauthorized,
    Unsupported,
)
from imagesmith.values import frozen

if TYPE_CHECKING:
    import httpx

__all__ = ["Reply", "error_of", "need_object"]

_SHOWN = 300


@frozen
class Reply:
    """An answer whose body was small enough to be read; `url` is where it came from, after redirects."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: str

    @property
    def ok(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status < 300

    def codes(self) -> tuple[str, ...]:
        """The error codes of the body."""
        return tuple(code for code, _ in _errors(self.body))

    def said(self) -> str:
        """What the registry says about a failure, as ` (…)` to append to a message; empty if nothing."""
        texts = [": ".join(filter(None, pair)) for pair in _errors(self.body)]
        if not texts and self.headers.get("content-type", "").startswith("text/plain"):
            texts = [self.body.decode("utf-8", "replace")]
        text = " ".join("; ".join(texts).split())[:_SHOWN]
        return f": {text}" if text else ""

    def content_type(self) -> str:
        """The media type of the body, without parameters."""
        return str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()

    def json(self, what: str) -> dict[str, object]:
        """The body as a JSON object.

        Raises:
            InvalidDocument: it is none.
        """
        from imagesmith.oci.codec import parse_object

        return parse_object(self.body, what).data


def _errors(body: bytes) -> list[tuple[str, str]]:
    """(code, message) of each error in a body; also of token servers' `{"error": …, "details": …}`."""
    try:
        value = json.loads(body) if body[:1] == b"{" else None
    except (ValueError, RecursionError):
        return []
    if not isinstance(value, dict):
        return []
    items = value.get("errors")
    if not isinstance(items, list):
        items = [{"message": value.get(k)} for k in ("message", "details", "error_description", "error")
                 if isinstance(value.get(k), str)][:1]  # fmt: skip
    out = []
    for item in items[:5]:
        if isinstance(item, dict):
            code, message = item.get("code"), item.get("message")
            pair = (code if isinstance(code, str) else "", message if isinstance(message, str) else "")
            if any(pair):
                out.append(pair)
    return out


def error_of(reply: Reply, what: str, host: str) -> RegistryError:
    """The error for an answer that is no success.

    Args:
        reply: the answer.
        what: what was asked for, e.g. the reference; begins the message.
        host: the registry, for the hint.
    """
    status, said = reply.status, reply.said()
    if status == 404:
        return NotFound(f"{what}: not found{said}", status=status)
    if status == 401:
        return Unauthorized(f"{what}: unauthorized{said}", status=status, hint=f"imagesmith login {host}")
    if status == 403:
        return Denied(f"{what}: denied{said}", status=status, hint=f"imagesmith login {host}")
    if status == 429:
        return RateLimited(
            f"{what}: the registry asks to slow down{said}",
            status=status,
            hint=f"wait, log in (imagesmith login {host}), or read from a mirror",
        )
    if status == 405:
        return Unsupported(f"{what}: the registry does not allow it{said}", status=status)
    kind = "refused it" if 400 <= status < 500 else "failed"
    return RegistryError(f"{what}: the registry {kind} with status {status}{said}", status=status)


def need_object(reply: Reply, what: str) -> dict[str, object]:
    """The JSON object of a reply, or a RegistryError that says what was wrong with it."""
    try:
        return reply.json(what)
    except InvalidDocument as e:
        raise RegistryError(str(e), status=reply.status) from e
