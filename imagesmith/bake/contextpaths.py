"""Contexts of targets as paths: which are of this machine, and what they are seen from another folder.

Why: a compose file that another one includes, and a definition from elsewhere, write paths as they are there.
Spec: compose-go's paths; buildx's build, for what is no path.
"""

from __future__ import annotations

import posixpath
import re

from imagesmith.context.git import is_git_url

__all__ = ["is_path", "rebased"]

#: `docker-image://x`, `target:x`, `service:x`, and what only looks like a drive.
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|(target|service|docker-image|oci-layout|local|cwd):")


def is_path(context: str) -> bool:
    """True for a path of a folder or file; False for an address, an image, a target, `-`."""
    if context == "-" or context.startswith("github.com/"):
        return False
    return not _SCHEME.match(context) and not is_git_url(context)


def rebased(context: str, folder: str) -> str:
    """A context that was written in `folder`, as it is seen from the folder that `folder` is named from."""
    if not folder or not is_path(context) or context.startswith("/"):
        return context
    return posixpath.normpath(posixpath.join(folder, context))
