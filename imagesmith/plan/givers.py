"""What a planner asks of others: images by name, and the files and times of contexts.

Why protocols: a plan is worked out in tests, for `--call` and for a lock as well, by whoever answers these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from imagesmith.context.origins import ContextFiles, Fetched, GitFiles, Remote
from imagesmith.fs.tree import Tree
from imagesmith.oci.names import Platform
from imagesmith.transports.bases import ResolvedImage

if TYPE_CHECKING:
    from imagesmith.context.http import Download

__all__ = ["ContextProvider", "ImageResolver"]


class ImageResolver(Protocol):
    """Finds images by name."""

    def resolve(self, name: str, platform: Platform | None) -> ResolvedImage:
        """The image that a name stands for, without fetching layers."""

    def files(self, image: ResolvedImage) -> Tree:
        """The files of an image; what of its layers is not here is fetched."""


class ContextProvider(Protocol):
    """Gives the files of the build's contexts."""

    def main(self) -> ContextFiles | GitFiles | Fetched:
        """The build context."""

    def named(
        self, name: str, platform: Platform | None
    ) -> ContextFiles | GitFiles | Fetched | ResolvedImage | None:
        """The context given with --build-context under a (normalised) name, or None."""

    def tree_of(self, origin: ContextFiles) -> Tree:
        """The files of a context that is here."""

    def locked(self, origin: Remote) -> Remote:
        """What ADD names, as it is pinned."""

    def time_of(self, name: str) -> int | None:
        """The time (seconds) of a context from elsewhere; None for a folder's."""

    def commit_time(self, origin: GitFiles) -> int:
        """The time (seconds) of a repository's commit."""

    def fetch_url(self, origin: Fetched) -> Download:
        """Download a file."""
