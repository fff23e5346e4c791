"""What is known about a user of a registry."""

from __future__ import annotations

from typing import Literal

from imagesmith.values import frozen

__all__ = ["Credential", "Kind"]

#: basic: user and password. identity: an OAuth refresh token, exchanged by POST. bearer: sent as it is.
Kind = Literal["basic", "identity", "bearer"]


@frozen(eq=False)
class Credential:
    """A user name and a secret; never shown, compared by identity."""

    username: str
    secret: str
    kind: Kind = "basic"

    def __repr__(self) -> str:
        return f"Credential({self.username!r}, ***, {self.kind})"
