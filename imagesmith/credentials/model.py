"""What is known about a user of a registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Credential", "Kind"]

#: basic: user and password. identity: an OAuth refresh token, exchanged by POST. bearer: sent as it is.
Kind = Literal["basic", "identity", "bearer"]


@dataclass(frozen=True, slots=True, eq=False)
class Credential:
    """A user name and a secret; never shown, compared by identity."""

    username: str
    secret: str
    kind: Kind = "basic"

    def __repr__(self) -> str:
        return f"Credential({self.username!r}, ***, {self.kind})"
