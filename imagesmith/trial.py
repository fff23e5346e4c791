"""One tiny step, built like any other: whether RUN works here is answered by doing it.

Why: a machine may promise namespaces, mounts and rights one by one, and refuse what a step makes of them, on
this store's disk. The program is of our own making, since an image may be out of reach: it ends at once.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from imagesmith.errors import ImagesmithError
from imagesmith.oci.names import host_platform
from imagesmith.request import BuildRequest
from imagesmith.session import run_build
from imagesmith.settings import Settings
from imagesmith.worker.sandbox.world import World
from imagesmith.worker.tinyprograms import program_for

__all__ = ["trial"]


def trial(settings: Settings, world: World) -> ImagesmithError | None:
    """Build an image with one step; returns what went wrong, None if nothing did.

    On a machine for which no program is known nothing is tried.
    """
    program = program_for(host_platform())
    if not program:
        return None
    with tempfile.TemporaryDirectory(prefix="trial-", dir=settings.root) as folder:
        (Path(folder) / "Dockerfile").write_text('FROM scratch\nCOPY --chmod=755 end /\nRUN ["/end"]\n')
        (Path(folder) / "end").write_bytes(program)
        try:
            run_build(BuildRequest(context=folder, no_cache=()), settings, world, lambda _: None)
        except ImagesmithError as e:
            return e
    return None
