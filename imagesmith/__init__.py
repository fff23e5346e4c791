"""imagesmith: build images from Dockerfiles and speak to OCI registries, without a daemon.

The library is `build`, `push`, `pull` and `copy`, with the values they take and return; see library.py. Names
are imported when they are first used, so that `import imagesmith` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagesmith.errors import ImagesmithError as ImagesmithError
    from imagesmith.image.result import BuildResult as BuildResult
    from imagesmith.library import build as build
    from imagesmith.library import copy as copy
    from imagesmith.library import pull as pull
    from imagesmith.library import push as push
    from imagesmith.request import BuildRequest as BuildRequest
    from imagesmith.request import Output as Output

__version__ = "0.1.0"

_WHERE = {
    "BuildRequest": "imagesmith.request",
    "BuildResult": "imagesmith.image.result",
    "ImagesmithError": "imagesmith.errors",
    "Output": "imagesmith.request",
    "build": "imagesmith.library",
    "copy": "imagesmith.library",
    "pull": "imagesmith.library",
    "push": "imagesmith.library",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _WHERE:
        raise AttributeError(f"module 'imagesmith' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*_WHERE, "__version__"])
