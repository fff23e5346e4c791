"""Answers and errors of the distribution API.

Spec: OCI distribution-spec 1.1, Error Codes.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from imagesmith.embedded.wire import Response
from imagesmith.errors import InvalidDocument
from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import Digest

__all__ = ["Failure", "error", "failure_answer", "json_answer", "next_link", "page", "parse_digest", "plain"]


class Failure(Exception):
    """A request that is answered with an error; `status` is HTTP's, `code` one of the specification's."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        detail: object = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.detail = status, code, message, detail
        self.headers = list(headers)


def error(status: int, code: str, message: str, detail: object = None) -> Response:
    """An answer with the specification's error body."""
    entry = {"code": code, "message": message} | ({} if detail is None else {"detail": detail})
    entries = [entry]
    if isinstance(detail, list):  # one error for each thing that is missing
        entries = [{"code": code, "message": message, "detail": item} for item in detail]
    return Response(status, [("Content-Type", "application/json")], dumps({"errors": entries}) + b"\n")


def failure_answer(failure: Failure) -> Response:
    """The answer to a failed request."""
    response = error(failure.status, failure.code, failure.message, failure.detail)
    response.headers += failure.headers
    return response


def json_answer(value: object, media_type: str = "application/json", status: int = 200) -> Response:
    """A JSON document."""
    return Response(status, [("Content-Type", media_type)], dumps(value))


def plain(status: int, *headers: tuple[str, str]) -> Response:
    """An answer without a body."""
    return Response(status, list(headers))


def parse_digest(text: str) -> Digest:
    """A digest of a request.

    Raises:
        Failure: 400 DIGEST_INVALID.
    """
    try:
        return Digest.parse(text)
    except InvalidDocument as e:
        raise Failure(400, "DIGEST_INVALID", e.message, detail=text[:200]) from e


def next_link(path: str, **fields: str) -> tuple[str, str]:
    """The header that leads to the next page."""
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in fields.items())
    return "Link", f'<{path}?{query}>; rel="next"'


def page(names: list[str], n: str | None, last: str | None, most: int = 1000) -> tuple[list[str], bool]:
    """The names after `last`, at most `n`, and whether more follow.

    Raises:
        Failure: 400, `n` is no number.
    """
    size = most
    if n is not None:
        if not n.isascii() or not n.isdigit() or len(n) > 9:
            raise Failure(400, "PAGINATION_NUMBER_INVALID", "n must be a whole number", detail={"n": n[:20]})
        size = min(int(n), most)
    if last:
        names = [name for name in names if name > last]
    return names[:size], len(names) > size > 0
