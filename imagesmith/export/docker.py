"""`-o type=docker`: an archive for `docker load`; with tar=false a layout folder."""

from __future__ import annotations

from imagesmith.export import oci
from imagesmith.export.job import Export
from imagesmith.export.options import IMAGE, Options
from imagesmith.request import Output

__all__ = ["HOLDS_INDEX", "OPTIONS", "write"]

OPTIONS: Options = {**IMAGE, "tar": bool}
HOLDS_INDEX = False


def write(output: Output, export: Export) -> None:
    """Write the archive, whole or not at all."""
    # An index has no manifest.json, as BuildKit has it: `docker load` takes it into containerd's store alone.
    oci.write(output, export, docker=export.built.index is None)
