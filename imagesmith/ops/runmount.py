"""A --mount of RUN as a value: what is mounted, and where its files come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagesmith.ops.origins import Origin
from imagesmith.values import frozen

if TYPE_CHECKING:
    from imagesmith.dockerfile.mounts import Mount

__all__ = ["RunMount"]


@frozen
class RunMount:
    """A --mount with where its files come from; `origin` is None for an empty tree."""

    mount: Mount
    origin: Origin = None

    def counted(self) -> dict[str, object]:
        """What of it is in a step's key: of each type that which decides what the step sees.

        The files of a bind mount are an input; a cache's content, and whom it is shared with, do not count.
        """
        m = self.mount
        out: dict[str, object] = {"type": m.type, "target": m.target}
        if m.type in ("bind", "cache"):
            out |= {"source": m.source, "readonly": m.readonly}
        elif m.type == "tmpfs":
            out["size"] = m.size
        else:
            out |= {"id": m.id, "required": m.required, "env": m.env}
        if m.type in ("secret", "ssh"):
            out |= {"mode": m.mode, "uid": m.uid, "gid": m.gid}
        return out
