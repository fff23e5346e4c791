"""Where files come from that no step makes: a context, a URL, a repository, a here-document.

Why: they say where files are and hold none of them, so that a plan can be written down, and compared with
another. Their files are found by trees.py.
"""

from __future__ import annotations

from typing import TypeVar

from imagesmith.context.git import GitRef
from imagesmith.values import frozen

__all__ = ["ContextFiles", "Fetched", "GitFiles", "Inline", "Outside", "Remote"]


@frozen
class ContextFiles:
    """The files of a build context of this build: `context`, or a named one.

    `place` is the folder or the address that it was given as; two builds may have contexts of one name.
    `ignore` is the digest of an ignore file that is the Dockerfile's own, and leaves out other files.
    """

    name: str
    place: str
    ignore: str = ""


@frozen
class Fetched:
    """A file from a URL, fetched when the step is worked on. `checksum` is a digest or empty."""

    url: str
    checksum: str = ""
    unpack: bool = False


@frozen
class GitFiles:
    """The files of a repository at a ref; `own` if the user named it, and no Dockerfile did."""

    ref: GitRef
    keep_git_dir: bool = False
    checksum: str = ""
    own: bool = False


#: What a server has: one or the other.
Remote = TypeVar("Remote", Fetched, GitFiles)


@frozen
class Inline:
    """A here-document as a file."""

    name: str
    data: bytes
    mode: int = 0o644


#: Any of them; None is an empty tree.
Outside = ContextFiles | Fetched | GitFiles | Inline | None
