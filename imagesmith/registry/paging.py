"""Listings that come in pages: each answer's Link header names the next one.

Spec: OCI distribution-spec 1.1, "Listing Tags", "Listing Referrers"; RFC 8288 for Link.
Trust: the registry says where a listing goes on: never from https to http, and a page that was seen ends it.
A listing without an end is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from imagesmith.errors import LimitExceeded
from imagesmith.oci.model import MAX_MANIFEST_BYTES
from imagesmith.registry.faults import onward
from imagesmith.registry.reply import Reply
from imagesmith.registry.transport import Transport

__all__ = ["paged"]

_MOST_BYTES, _PAGES = 2 * MAX_MANIFEST_BYTES, 10_000
_MOST_ALL_BYTES = 32 * _MOST_BYTES


def paged(
    transport: Transport, url: str, scopes: tuple[str, ...], headers: Mapping[str, str] | None = None
) -> Iterator[Reply]:
    """The pages of a listing, by their Link headers; a page that was seen ends it.

    Raises:
        LimitExceeded: there is no end to them; half a listing would pass for all of it.
    """
    seen: set[str] = set()
    size = 0
    while url not in seen:
        if len(seen) >= _PAGES or size > _MOST_ALL_BYTES:
            raise LimitExceeded(f"{transport.endpoint.host}: a listing of more than {len(seen)} pages")
        seen.add(url)
        reply = transport.send("GET", url, scopes=scopes, headers=headers, cap=_MOST_BYTES)
        size += len(reply.body)
        yield reply
        following = _next_link(reply.headers.get_list("link")) if reply.ok else ""
        if not following:
            return
        url = onward(transport.base(), reply.url, following)


_LINK = re.compile(r"<([^>]*)>((?:\s*;\s*[^,;]*)*)")


def _next_link(values: list[str]) -> str:
    for value in values:
        for url, params in _LINK.findall(value):
            if re.search(r";\s*rel\s*=\s*\"?next\"?\s*(?:;|$)", params, re.IGNORECASE):
                return str(url)
    return ""
