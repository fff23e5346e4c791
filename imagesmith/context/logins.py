"""Addresses as they may be told to everybody: without who asks for them.

Why apart: only what is written down for others (attestations, locks) needs it, and a build that writes
neither pays for none of the patterns.
"""

from __future__ import annotations

import re

__all__ = ["without_login"]

#: `user:password@` behind a scheme; a user alone is part of an address for ssh.
_LOGIN = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@\s\"'?#]*:[^/@\s\"'?#]*@")
_HTTP_USER = re.compile(r"(https?://)[^/@\s\"'?#]*@", re.IGNORECASE)
_SSH_USER = re.compile(r"(ssh://)(?!git@)[^/@\s\"'?#]*@", re.IGNORECASE)


def without_login(text: str) -> str:
    """A text whose addresses have no user and no password; `git@` stays, which is the same for all."""
    if "@" not in text or "://" not in text:
        return text
    for pattern in (_LOGIN, _HTTP_USER, _SSH_USER):
        text = pattern.sub(r"\1", text)
    return text
