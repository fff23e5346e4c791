"""`-o type=docker`: an archive for `docker load`; with tar=false a layout folder."""

from __future__ import annotations

from imagesmith.export import layout, oci
from imagesmith.export.job import Export
from imagesmith.export.options import IMAGE, Options
from imagesmith.fs.results import output_file
from imagesmith.request import Output

__all__ = ["HOLDS_INDEX", "OPTIONS", "write"]

OPTIONS: Options = {**IMAGE, "tar": bool}
HOLDS_INDEX = False


def write(output: Output, export: Export) -> None:
    """Write the archive, whole or not at all."""
    if not output.flag("tar", True):
        oci.write(output, export)
        return
    export.complete()
    with export.vertex.part("sending tarball"), output_file(output.dest) as out:
        layout.write_docker_archive(out, export.image.entry, export.store.blobs, export.tags, export.created)
