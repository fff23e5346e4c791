"""The files of origins as trees, and their digests for the cache key.

Why: a step's key is made of the files that it takes, not of where they lie. A file of a URL, a commit of a
repository and a here-document are trees of their own here, so that the copier knows one thing only.
Trust: what is downloaded is held against its checksum where there is one; trees are judged where they are
made (local.py, gitfetch.py, archive.py).
Threads: methods may be called from any; downloads are single-flight.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from imagesmith.concurrency import Once
from imagesmith.context.addresses import file_name_of
from imagesmith.context.digests import FileDigests
from imagesmith.context.origins import ContextFiles, Fetched, GitFiles, Inline, Outside
from imagesmith.context.rows import Rows
from imagesmith.context.sources import Match, content_digest, select
from imagesmith.errors import MissingSource
from imagesmith.fs.entry import BytesContent, Entry
from imagesmith.fs.tree import Tree
from imagesmith.fs.view import EMPTY_VIEW, LayerIndex, View
from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import digest_bytes

if TYPE_CHECKING:
    from imagesmith.context.http import Download

__all__ = ["Bringer", "Trees"]


class Bringer(Protocol):
    """Knows the contexts of a build, and brings what is elsewhere."""

    def tree_of(self, origin: ContextFiles) -> Tree:
        """The files of a context."""

    def fetch_url(self, origin: Fetched) -> Download:
        """Download a file."""

    def fetch_git(self, origin: GitFiles) -> tuple[str, Tree]:
        """Fetch a repository: its commit, and its files."""


class Trees:
    """Finds trees and digests of origins for one build."""

    def __init__(self, bringer: Bringer, file_digest: FileDigests, now_ns: int) -> None:
        """Prepare.

        Args:
            bringer: knows contexts, and fetches.
            file_digest: gives the sha256 of an entry's content.
            now_ns: the time that here-documents have.
        """
        self._bringer, self.file_digest, self._now_ns = bringer, file_digest, now_ns
        self._downloads: Once[Fetched, Download] = Once()
        self._checkouts: Once[GitFiles, tuple[str, Tree]] = Once()

    def tree(self, origin: Outside) -> Tree:
        """The files of an origin."""
        match origin:
            case None:
                return EMPTY_VIEW
            case ContextFiles():
                return self._bringer.tree_of(origin)
            case GitFiles():
                return self._git(origin)[1]
            case Fetched():
                got = self._url(origin)
                e = Entry(self.file_name(origin), "f", 0o600, size=got.size, mtime_ns=got.mtime_ns)
                e.content, e.digest = got, got.digest.hex
                return View([LayerIndex([e])])
            case Inline():
                e = Entry(origin.name, "f", origin.mode, size=len(origin.data), mtime_ns=self._now_ns)
                e.content, e.digest = BytesContent(origin.data), digest_bytes(origin.data).hex
                return View([LayerIndex([e])])

    def file_name(self, origin: Fetched | Inline) -> str:
        """The name of the one file of a URL or a here-document."""
        return origin.name if isinstance(origin, Inline) else file_name_of(origin.url)

    def _url(self, origin: Fetched) -> Download:
        return self._downloads.get(origin, lambda: self._bringer.fetch_url(origin))

    def _git(self, origin: GitFiles) -> tuple[str, Tree]:
        return self._checkouts.get(origin, lambda: self._bringer.fetch_git(origin))

    # --- digests -------------------------------------------------------------------------------

    def whole(self, origin: Outside) -> str:
        """The digest of all files of an origin."""
        if isinstance(origin, GitFiles):
            return self._git(origin)[0]
        tree = self.tree(origin)
        return self.digest(tree, select(tree, "/", excludes=(), parents=False))

    def taken(
        self, origin: Outside, path: str, excludes: tuple[str, ...], parents: bool, seen: Rows | None = None
    ) -> str:
        """The digest of what COPY or ADD takes of an origin; `seen` are the rows of files that it took.

        Raises:
            MissingSource: a source without wildcards does not exist.
        """
        match origin:
            case Inline():
                return str(digest_bytes(origin.data))
            case Fetched():
                got = self._url(origin)
                return digest_bytes(dumps([self.file_name(origin), str(got.digest), got.mtime_ns])).hex
            case GitFiles():
                return f"{self._git(origin)[0]} {origin.ref.subdir} {origin.keep_git_dir}"
            case _ if seen is not None:
                return seen.digest(self.file_digest)
        tree = self.tree(origin)
        return self.digest(tree, select(tree, path, excludes=excludes, parents=parents))

    def mounted(self, tree: Tree, path: str) -> str:
        """The digest of what a bind mount shows of a tree.

        Raises:
            MissingSource: it has no such path.
        """
        at = tree.resolve(path)
        if at and tree.get(at) is None:
            told = MissingSource(f'failed to compute cache key: "/{path.strip("/")}": not found')
            raise told.about(path)
        return self.digest(tree, select(tree, path or "/", excludes=(), parents=False))

    def digest(self, tree: Tree, matches: Sequence[Match]) -> str:
        """The digest of what was selected in a tree."""
        return content_digest(tree, matches, self.file_digest)

    def listing(self, tree: Tree, path: str, most: int) -> dict[str, str] | None:
        """What is at a path of a tree: mode and content by path; None for more than `most` files."""
        at = tree.resolve(path or "/")
        top = tree.get(at)
        found = [top] if top is not None and top.kind != "d" else []
        found += itertools.islice(tree.walk(at), most + 1) if not found else ()
        return {e.path: self._describe(e) for e in found} if len(found) <= most else None

    def _describe(self, e: Entry) -> str:
        content = self.file_digest(e)[:12] if e.kind in "fh" else e.link
        return f"{e.mode:04o} {content}".rstrip()
