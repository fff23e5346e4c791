"""Answers of a registry: a small one as a value, and what its refusals become.

Spec: OCI distribution-spec 1.1, "Error Codes".
Trust: the body may be anything (HTML of a proxy, nothing at all); what is shown of it is short, one line.
"""

from __future__ import annotations

import json
import re

from imagesmith.errors import (
    Denied,
    InvalidDocument,
    NotFound,
    RateLimited,
    RegistryError,
    Unauthorized,
    Unsupported,
)
from imagesmith.registry.answers import Headers
from imagesmith.registry.faults import shown
from imagesmith.values import frozen

__all__ = ["Reply", "error_of", "need_object"]

_SHOWN, _DETAIL_SHOWN = 300, 150
_TITLE = rb"(?i)<title[^>]*>([^<]{1,200})"
#: What a registry says of a manifest or blob that it took, and a portal that answers for it does not.
_PROOFS = ("location", "docker-content-digest")


@frozen
class Reply:
    """An answer whose body was small enough to be read; `url` is where it came from, after redirects."""

    status: int
    headers: Headers
    body: bytes
    url: str

    @property
    def ok(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status < 300

    def is_proof(self, status: int) -> bool:
        """True if a success is a registry's word: of the status that is due, with a header of its own."""
        return self.status == status and any(name in self.headers for name in _PROOFS)

    def is_page(self) -> bool:
        """True if it looks like a page for people."""
        return self.content_type() == "text/html" and not any(name in self.headers for name in _PROOFS)

    def codes(self) -> tuple[str, ...]:
        """The error codes of the body."""
        return tuple(code for code, _ in _errors(self.body))

    def said(self) -> str:
        """What the registry says about a failure, as ` (…)` to append to a message; empty if nothing."""
        texts = [": ".join(filter(None, pair)) for pair in _errors(self.body)]
        if not texts and self.content_type() == "text/plain":
            texts = [self.body.decode("utf-8", "replace")]
        elif not texts and (title := re.search(_TITLE, self.body[:4096])):
            texts = [title[1].decode("utf-8", "replace")]
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
            said = message if isinstance(message, str) else ""
            detail = _detail(item.get("detail"))
            if detail and detail not in said:
                said = f"{said} ({detail})" if said else detail
            pair = (code if isinstance(code, str) else "", said)
            if any(pair):
                out.append(pair)
    return out


def _detail(value: object, deep: int = 3) -> str:
    """What an error's `detail` tells, which may be anything, in a few words."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)[:_DETAIL_SHOWN].strip()
    if deep and isinstance(value, list):
        return "; ".join(filter(None, (_detail(item, deep - 1) for item in value[:3])))[:_DETAIL_SHOWN]
    if deep and isinstance(value, dict):
        told = ((str(k)[:40], _detail(v, deep - 1)) for k, v in list(value.items())[:6])
        return ", ".join(f"{k}={text}" for k, text in told if text)[:_DETAIL_SHOWN]
    return ""


def error_of(reply: Reply, what: str, host: str, at: str = "") -> RegistryError:
    """The error for an answer that is no success, or for one that no registry gives.

    Args:
        reply: the answer.
        what: what was asked for, e.g. the reference; begins the message.
        host: the registry, for the hint.
        at: the host that answered, where that is another.
    """
    status, told = reply.status, f"{reply.said()} (status {reply.status} from {at or host})"
    login = f"imagesmith login {host}"
    if reply.ok:
        kind = reply.content_type() or "no content type"
        return RegistryError(
            f"{what}: {at or host} answered with status {status} and {kind}, as no registry does",
            status=status,
            hint="is there a proxy or a portal that answers in the registry's place?",
        )
    if status == 404:
        return NotFound(f"{what}: not found{told}", status=status)
    if status == 401:
        return Unauthorized(f"{what}: unauthorized{told}", status=status, hint=login)
    if status == 403:
        return Denied(f"{what}: denied{told}", status=status, hint=login)
    if status == 429:
        hint = f"wait, log in ({login}), or read from a mirror"
        return RateLimited(f"{what}: the registry asks to slow down{told}", status=status, hint=hint)
    if status == 405:
        return Unsupported(f"{what}: the registry does not allow it{told}", status=status)
    hint = "a proxy before the registry limits the size of requests" if status == 413 else ""
    text = "refused it" if 400 <= status < 500 else "failed"
    return RegistryError(f"{what}: the registry {text}{told}", status=status, hint=hint)


def need_object(reply: Reply, what: str) -> dict[str, object]:
    """The JSON object of a reply, or a RegistryError that says what was wrong with it."""
    try:
        return reply.json(what)
    except InvalidDocument as e:
        told = error_of(reply, what, shown(reply.url))
        if reply.is_page():
            raise told from e
        raise RegistryError(str(e), status=reply.status, hint=told.hint) from e
