"""Who may do what: nobody is asked, Basic against a htpasswd file, or bearer tokens that this server issues.

Spec: distribution's token authentication (GET and OAuth2 POST) and its scopes; RFC 7617.
Trust: headers, forms and tokens are strangers'. Tokens are HMAC-signed with a key of this process.
Threads: all methods may be called from any.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagesmith.embedded.wire import Request, Response

__all__ = ["Access", "Grant", "Guard"]


@dataclass(frozen=True, slots=True)
class Access:
    """What a request needs: actions on a repository, or on the catalogue."""

    kind: str
    name: str
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """What whoever asks may do; None stands for everything."""

    access: frozenset[tuple[str, str]] | None = None

    def may_pull(self, name: str) -> bool:
        """Whether a repository may be read."""
        return self.access is None or (name, "pull") in self.access


class Guard:
    """Lets everybody do everything."""

    def token(self, _request: Request) -> Response | None:
        """The answer to a request to the guard's own path; None where it has none such."""
        return None

    def check(self, _request: Request, _wanted: tuple[Access, ...]) -> Grant:
        """What the sender of a request may do.

        Raises:
            Failure: 401, less than what is wanted.
        """
        return Grant()
