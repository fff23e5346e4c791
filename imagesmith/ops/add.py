"""ADD: as COPY, also of URLs and repositories; archives of the context are unpacked."""

from __future__ import annotations

from imagesmith.ops.copy import CopyOp
from imagesmith.values import frozen

__all__ = ["AddOp"]


@frozen(kw_only=True)
class AddOp(CopyOp):
    """ADD."""

    unpack: bool | None = None

    kind = "add"
