"""`-o type=tar`: the root file system as a tar."""

from __future__ import annotations

from imagesmith.export import rootfs
from imagesmith.export.job import Export
from imagesmith.export.options import Options
from imagesmith.fs.results import output_file
from imagesmith.request import Output

__all__ = ["HOLDS_INDEX", "OPTIONS", "write"]

OPTIONS: Options = {}
HOLDS_INDEX = False


def write(output: Output, export: Export) -> None:
    """Write the tar, whole or not at all."""
    with export.vertex.part("sending tarball"), output_file(output.dest) as out:
        rootfs.write_tar(export.result.view, out, export.image.form.epoch)
