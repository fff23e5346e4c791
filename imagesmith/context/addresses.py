"""What an address of a context is, and what its file is called."""

from __future__ import annotations

import posixpath
import urllib.parse

from imagesmith.errors import ContextError

__all__ = ["file_name_of", "is_http_url"]


def is_http_url(text: str) -> bool:
    """True for an http or https address."""
    return text.startswith(("http://", "https://"))


def file_name_of(url: str) -> str:
    """The name under which a URL's file is kept.

    Raises:
        ContextError: it is no URL.
    """
    try:
        path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    except ValueError as e:
        raise ContextError(f"failed to load {url}: {e}") from e
    name = posixpath.basename(path)
    return name if name not in ("", ".", "..") else "__unnamed__"
