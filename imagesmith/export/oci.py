"""`-o type=oci`: an OCI layout, as a tar, or with tar=false as a folder."""

from __future__ import annotations

from pathlib import Path

from imagesmith.export import layout
from imagesmith.export.job import Export
from imagesmith.export.options import IMAGE, Options
from imagesmith.fs.results import output_file
from imagesmith.request import Output

__all__ = ["HOLDS_INDEX", "OPTIONS", "write"]

OPTIONS: Options = {**IMAGE, "tar": bool}
HOLDS_INDEX = True


def write(output: Output, export: Export) -> None:
    """Write the layout; a tar is there whole or not at all."""
    export.complete()
    root = export.image.entry
    if output.flag("tar", True):
        with export.vertex.part("sending tarball"), output_file(output.dest) as out:
            layout.write_layout_tar(out, root, export.store.blobs, export.tags, export.created)
    else:
        layout.write_layout_dir(Path(output.dest), root, export.store.blobs, export.tags, export.created)
