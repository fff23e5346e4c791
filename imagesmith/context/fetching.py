"""What the steps of a build fetch, and where it lies meanwhile: files of URLs, repositories, their folders.

Why apart: named contexts, ADD and mounts fetch the same things, each once a build, whatever the contexts are.
Trust: what comes is held against its checksum, or the pin of the build's lock; see http.py and gitfetch.py.
Threads: methods may be called from any; a repository is fetched once.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.concurrency import Once
from imagesmith.context.local import LocalTree
from imagesmith.context.origins import Fetched, GitFiles, Remote
from imagesmith.errors import DockerfileError
from imagesmith.events import EventSink, Message
from imagesmith.fs.tree import Tree
from imagesmith.request import BuildRequest
from imagesmith.store.disk import on_disk_fault
from imagesmith.store.store import Store

if TYPE_CHECKING:
    from imagesmith.context.gitfetch import Checkout
    from imagesmith.context.http import Download
    from imagesmith.pins import Pinning
    from imagesmith.store.work import WorkFolder

__all__ = ["Fetching"]


class Fetching:
    """Fetches for one build; `leave` takes away what lies on the disk."""

    def __init__(self, request: BuildRequest, store: Store, events: EventSink) -> None:
        self._request, self._store, self._events = request, store, events
        self._temporary: WorkFolder | None = None
        self._trees: list[LocalTree] = []
        #: What sources must be; known once the Dockerfile is, and None where nothing is required.
        self.pinning: Pinning | None = None
        self._checkouts: Once[GitFiles, Checkout] = Once()
        self._folders, self._lock = itertools.count(1), threading.Lock()

    def leave(self) -> None:
        """Close what is open, and remove the folders."""
        for tree in self._trees:
            tree.close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.close()

    def _scratch(self) -> Path:
        """A folder of the build's own, gone at its end."""
        from imagesmith.store.work import WorkFolder

        if self._temporary is None:
            with on_disk_fault("make a folder for a context", self._store.work):
                self._temporary = WorkFolder(self._store.work, "context-")
        return self._temporary.path

    def _owned(self, tree: LocalTree) -> LocalTree:
        """A tree that is closed with the contexts."""
        self._trees.append(tree)
        return tree

    def locked(self, origin: Remote) -> Remote:
        """What ADD, or a named context, names, as it is pinned; see context/locked.py."""
        if self.pinning is None:
            return origin
        from imagesmith.context.locked import locked

        return locked(origin, self.pinning, self._request, self._download, self._scratch)

    def fetch_url(self, origin: Fetched) -> Download:
        """Download what ADD names."""
        try:
            return self._download(origin.url, origin.checksum)
        except DockerfileError as e:
            e.hint = (self.pinning.hint("files", origin.url) if self.pinning else "") or e.hint
            raise

    def _download(self, url: str, checksum: str = "") -> Download:
        from imagesmith.context.http import fetch_url

        return fetch_url(
            url, self._store, checksum or str(self._request.pins.files.get(url, "")),
            access=self._request.access, tell=lambda text: self._events(Message(text=text)),
        )  # fmt: skip

    def fetch_git(self, origin: GitFiles) -> tuple[str, Tree]:
        """Fetch the repository that ADD names."""
        return self.checkout(origin)[:2]

    def checkout(self, origin: GitFiles) -> Checkout:
        """The repository that ADD, or a named context, names; fetched once."""
        return self._checkouts.get(origin, lambda: self._fetch(origin))

    def _fetch(self, origin: GitFiles) -> Checkout:
        from imagesmith.context.gitfetch import fetch_git
        from imagesmith.context.secrets import git_access

        with self._lock:
            folder = self._scratch() / f"git-{next(self._folders)}"
        access = git_access(self._request, origin.ref, own=origin.own)
        found = fetch_git(
            origin.ref, folder, keep_git_dir=origin.keep_git_dir, checksum=origin.checksum, access=access
        )
        if isinstance(found.tree, LocalTree):
            self._owned(found.tree)
        return found
