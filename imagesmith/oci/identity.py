"""What a policy knows an image by: where it comes from, in the words of containers-policy.json(5).

Why: places of images say it of themselves, far below the policies that are written in these words.
"""

from __future__ import annotations

from imagesmith.oci.names import ImageRef
from imagesmith.values import frozen

__all__ = ["Identity"]


@frozen(kw_only=True)
class Identity:
    """Where an image comes from.

    transport   docker (a registry), oci, oci-archive, docker-archive, containers-storage (the store here);
                empty for an image that is made here
    ref         of a registry: the reference that was asked for
    path        of a folder or a file: absolute, without links; empty for standard input
    """

    transport: str
    ref: ImageRef | None = None
    path: str = ""

    def __str__(self) -> str:
        if self.ref is not None:
            return str(self.ref)
        return f"{self.transport}:{self.path}" if self.path else self.transport or "an image made here"
