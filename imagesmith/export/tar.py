"""`-o type=tar`: the root file system as a tar; of several platforms each in its folder."""

from __future__ import annotations

from imagesmith.export import rootfs
from imagesmith.export.job import Export
from imagesmith.export.options import FILES, Options
from imagesmith.fs.results import output_file
from imagesmith.request import Output

__all__ = ["HOLDS_INDEX", "OPTIONS", "write"]

OPTIONS: Options = FILES
HOLDS_INDEX = True


def write(output: Output, export: Export) -> None:
    """Write the tar, whole or not at all."""
    with export.vertex.part("sending tarball"), output_file(output.dest) as out:
        rootfs.write_tar(rootfs.roots_of(export, output), out)
