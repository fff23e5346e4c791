"""`-o type=cacheonly`: nothing is written; the build's steps are in the cache."""

from __future__ import annotations

from imagesmith.export.job import Export
from imagesmith.export.options import Options
from imagesmith.request import Output

__all__ = ["HOLDS_INDEX", "OPTIONS", "write"]

OPTIONS: Options = {}
HOLDS_INDEX = True


def write(output: Output, export: Export) -> None:
    """Nothing is left to do."""
    del output, export
