"""The head of a request, as text: its first line, its headers, the fields of its query, its body's length.

Spec: RFC 9112 sections 3 to 6, RFC 9110 section 5.
Trust: all of it comes from a client. What two readers could take for different messages is refused: a control
character, a header without a name, a length that stands twice or beside a transfer coding.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

__all__ = ["HEAD_FIELDS", "Refusal", "body_length", "parse_fields", "parse_headers", "parse_request_line"]

HEAD_FIELDS, QUERY_FIELDS = 200, 100
TARGET_BYTES = 16 << 10

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile(r"[0-9]{1,18}")
#: What a line may not hold: its own end is CR LF, and nothing else ends it for anybody.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Refusal(Exception):
    """A request that is no proper HTTP; the connection is closed after the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def parse_fields(text: str) -> list[tuple[str, str]]:
    """The fields of a query or a form, in order; too many are refused."""
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS)
    except ValueError as e:
        raise Refusal(400, f"more than {QUERY_FIELDS} fields") from e


def parse_request_line(line: str) -> tuple[str, str, str]:
    """Method, target as a path, and version."""
    if _CONTROL.search(line):
        raise Refusal(400, "the request holds a control character")
    parts = line.split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refusal(400, "not an HTTP/1.1 request")
    target = parts[1]
    if len(target) > TARGET_BYTES:
        raise Refusal(414, f"the address is longer than {TARGET_BYTES} bytes")
    if target.lower().startswith(("http://", "https://")):
        target = "/" + target.split("//", 1)[1].partition("/")[2]
    if not target.startswith("/"):
        raise Refusal(400, "the address is no path")
    return parts[0], target, parts[2]


def parse_headers(lines: list[str]) -> dict[str, str]:
    """The headers by lower-case name; what stands several times is joined by commas."""
    if len(lines) > HEAD_FIELDS:
        raise Refusal(431, f"more than {HEAD_FIELDS} headers")
    out: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name):
            raise Refusal(400, "a header line is none")
        if _CONTROL.search(value):
            raise Refusal(400, f"the header {name.lower()} holds a control character")
        key, value = name.lower(), value.strip(" \t")
        if key in out and key in ("content-length", "host", "transfer-encoding"):
            raise Refusal(400, f"the header {key} stands twice")  # request smuggling
        out[key] = f"{out[key]}, {value}" if key in out else value
    return out


def body_length(headers: dict[str, str]) -> int | None:
    """The body's length; None where it comes in chunks."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise Refusal(400, "Transfer-Encoding must be chunked, without Content-Length")
        return None
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise Refusal(400, "Content-Length is no number")
    return int(length)
