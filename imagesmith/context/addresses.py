"""What an address of a context is."""

from __future__ import annotations

__all__ = ["is_http_url"]


def is_http_url(text: str) -> bool:
    """True for an http or https address."""
    return text.startswith(("http://", "https://"))
