"""`-o type=registry`: an image that is pushed; `type=image,push=true` by another name."""

from __future__ import annotations

from imagesmith.export.image import HOLDS_INDEX, write
from imagesmith.export.options import NAMED, Options

__all__ = ["HOLDS_INDEX", "OPTIONS", "write"]

OPTIONS: Options = NAMED
