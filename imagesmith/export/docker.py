"""`-o type=docker`: an archive for `docker load`, with tar=false a layout; without dest the image is loaded.

Who takes it without dest is said by `load` (docker, podman, containerd[:NAMESPACE], kind[:CLUSTER]), or is
the first that is there; `context` names one of Docker's contexts.
"""

from __future__ import annotations

from imagesmith.export import oci
from imagesmith.export.job import Export
from imagesmith.export.options import IMAGE, Options
from imagesmith.request import Output

__all__ = ["HOLDS_INDEX", "OPTIONS", "write"]

OPTIONS: Options = {**IMAGE, "tar": bool, "context": str, "load": str}
HOLDS_INDEX = False


def write(output: Output, export: Export) -> None:
    """Write the archive, whole or not at all, or give it to who loads it."""
    # An index has no manifest.json, as BuildKit has it: `docker load` takes it into containerd's store alone.
    plain = export.built.index is None
    if not output.loads:
        oci.write(output, export, docker=plain)
        return
    from imagesmith.export.loading import loader_of

    oci.complete(export)
    loader = loader_of(output)
    with export.vertex.part(f"importing to {loader.name}"), loader.taking(export.store.blobs.ingest) as out:
        oci.write_archive(out, loader.name, output, export, docker=plain)
