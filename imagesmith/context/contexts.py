"""The build's contexts: the folder, repository or stream that it is given, and the named ones beside it.

Why: a context may have to be fetched or unpacked before the Dockerfile in it can be read; what was made for
that is gone when the build ends. Files of a folder are looked at only when a step takes them.
Trust: see context/*.py; every tree stays below its root.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from imagesmith.context.addresses import file_name_of, is_http_url
from imagesmith.context.digests import FileDigests, Reading
from imagesmith.context.fetching import Fetching
from imagesmith.context.git import GitRef, context_ref, parse_flag
from imagesmith.context.ignore import missing_dockerfile, read_beside, read_ignore, read_pipe, read_small
from imagesmith.context.local import LocalTree
from imagesmith.context.named import (
    DockerImage,
    GitContext,
    HttpContext,
    LocalContext,
    OciLayout,
    normalise_name,
)
from imagesmith.context.origins import ContextFiles, Fetched, GitFiles
from imagesmith.errors import ContextError, DockerfileError, IntegrityError, UsageError
from imagesmith.events import EventSink, Vertex, nobody
from imagesmith.fs.tree import Tree
from imagesmith.fs.view import EMPTY_VIEW
from imagesmith.oci.names import Platform
from imagesmith.request import BuildRequest
from imagesmith.store.disk import on_disk_fault
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases, ResolvedImage
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.pins import Pinning

__all__ = ["Contexts"]

#: What a Dockerfile is called, where nobody says it: BuildKit's names, then that of other builders.
_NAMES = ("Dockerfile", "dockerfile", "Containerfile")
#: Of a context that comes as a stream.
_REMOTE = "[internal] load remote build context"


class Contexts(Fetching):
    """The contexts of one build; close it, or use it in a `with`."""

    def __init__(
        self,
        request: BuildRequest,
        store: Store,
        events: EventSink = nobody,
        numbers: Iterator[int] | None = None,
    ) -> None:
        """Prepare; nothing is looked at.

        Args:
            request: names the contexts.
            store: where what is fetched goes.
            events: is told what happens.
            numbers: of the vertices on the screen, if other builds are shown with this one.
        """
        super().__init__(request, store, events)
        #: Of the vertices on the screen; those of the whole build come from it.
        self.numbers = itertools.count(1) if numbers is None else numbers
        self._main: LocalTree | None = None
        self._ignore = ""
        #: The repository of the main context, if .git is kept and its address does not say so.
        self._kept: GitRef | None = None
        self._named: dict[str, Tree] = {}
        #: The folder that the Dockerfile lies in, or the context that it is of, and its name in there.
        self._dockerfile: tuple[Path, str] | None = None
        self._stdin_dockerfile: bytes | None = None
        self._reading = Reading(events, next(self.numbers))
        self.file_digest = FileDigests(store.cache, time.time_ns(), self._reading)
        self.images: Bases | None = None
        self._times: dict[str, int] = {}
        #: What came from elsewhere, `context`, `-f` or a named one: `commit:HEX`, or a digest as text.
        self.pinned: dict[str, str] = {}

    def __enter__(self) -> Contexts:
        return self

    def __exit__(self, *_: object) -> None:
        self._reading.rest()
        self.file_digest.flush()
        if self.images is not None:
            self.images.close()
        self.leave()

    # --- the Dockerfile ------------------------------------------------------------------------

    def dockerfile(self) -> tuple[str, bytes]:
        """The Dockerfile's name for messages, and its bytes.

        Raises:
            ContextError: there is none.
        """
        if self._request.inline is not None:
            self.pinning = self._pinning()
            return _NAMES[0], self._request.inline
        given, name = self._request.dockerfile or _NAMES[0], ""
        if given != "-":
            name = file_name_of(given) if is_http_url(given) else os.path.basename(given)
            if self._is_remote() and not is_http_url(given):
                self._root()  # a vertex of its own
        with self._vertex(f"[internal] load build definition from {name or _NAMES[0]}") as vertex:
            found = self._find_dockerfile()
            vertex.did("transferring dockerfile:", len(found[1]))
        self.pinning = self._pinning()
        return found

    def _pinning(self) -> Pinning | None:
        """What the lock beside the Dockerfile requires, and the request; see context/locked.py."""
        request, place = self._request, self._dockerfile
        raw = read_beside(*place, ".lock") if place and request.pin is not False else None
        if raw is None and not (request.pin or request.pins):
            return None
        from imagesmith.context.locked import pinning_of

        return pinning_of(request, place, raw, is_remote=self._is_remote())

    def _vertex(self, name: str) -> Vertex:
        return Vertex(self._events, next(self.numbers), name)

    def _find_dockerfile(self) -> tuple[str, bytes]:
        given = self._request.dockerfile
        if given == "-":
            return "Dockerfile", sys.stdin.buffer.read()
        if given is not None and is_http_url(given):
            got = self._download(given)
            self.pinned["-f"] = str(got.digest)
            return file_name_of(given), self._store.blobs.read(got.digest)
        if given is not None and not self._is_remote():
            return given, self._given(given)
        root = self._root()
        if self._stdin_dockerfile is not None:
            return "Dockerfile", self._stdin_dockerfile
        name = given or next((name for name in _NAMES if os.path.lexists(root / name)), _NAMES[0])
        return Path(name).name, self._read(root, name)

    def _given(self, given: str) -> bytes:
        """The Dockerfile at a path of this machine; as a pipe, `-f <(...)`, it is the user's own word."""
        context, path = os.path.abspath(self._request.context), os.path.abspath(given)
        below = path.removeprefix(f"{context.rstrip('/')}/")
        if below != path:
            return self._read(Path(self._request.context), below)
        piped = read_pipe(path, given)
        return self._read(Path(given).parent, os.path.basename(path)) if piped is None else piped

    def _read(self, folder: Path, name: str) -> bytes:
        try:
            data = read_small(folder, name)
        except FileNotFoundError:
            raise missing_dockerfile(folder / name) from None
        except ContextError as e:
            raise ContextError(f"failed to read dockerfile: {e.message}", hint=e.hint) from e
        self._dockerfile = folder, name
        return data

    # --- the main context ----------------------------------------------------------------------

    def _is_remote(self) -> bool:
        context = self._request.context
        return context == "-" or context_ref(context) is not None or is_http_url(context)

    def _root(self) -> Path:
        """The folder of the main context, fetched or unpacked if it is none."""
        context = self._request.context
        if context == "-":
            return self._from_stdin()
        if (ref := context_ref(context)) is not None:
            return self._from_git(ref)
        if is_http_url(context):
            return self._from_url(context)
        path = Path(context)
        if not os.path.exists(path):
            raise ContextError(f'unable to prepare context: path "{context}" not found')
        if not os.path.isdir(path):
            raise ContextError(f"unable to prepare context: {context} is not a folder")
        return path

    def _from_git(self, ref: GitRef) -> Path:
        from imagesmith.context.secrets import git_access

        if self._main is None:
            given = self._request.build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "")
            keep = parse_flag("BUILDKIT_CONTEXT_KEEP_GIT_DIR", given) if given else ref.keep_git_dir
            if ref.keep_git_dir not in (None, keep):
                raise DockerfileError("inconsistent keep-git-dir configuration")
            from imagesmith.context.gitfetch import fetch_git

            self._kept = replace(ref, keep_git_dir=True) if keep and not ref.keep_git_dir else None
            ref = ref.pinned(self._request.pins.repositories)
            access = git_access(self._request, ref, own=self._request.owns(ref.remote))
            with self._vertex(f"[internal] load git source {ref.remote}"):
                got = fetch_git(
                    ref, self._scratch(), keep_git_dir=bool(keep), checksum=ref.checksum, access=access
                )
            self._times["context"] = got.commit_s
            self.pinned["context"] = f"commit:{got.commit}"
            assert isinstance(got.tree, LocalTree)
            self._main = self._owned(got.tree)
        return self._main.root

    def _from_stdin(self) -> Path:
        import shutil

        if self._main is None:
            spool = self._scratch() / "stdin"
            with self._vertex(_REMOTE) as vertex:
                with on_disk_fault("keep the context of standard input", spool), spool.open("wb") as out:
                    shutil.copyfileobj(sys.stdin.buffer, out, 1 << 20)
                vertex.did("transferring context:", spool.stat().st_size)
                self._stream(spool, "Dockerfile", "standard input")
        assert self._main is not None
        return self._main.root

    def _from_url(self, url: str) -> Path:
        if self._main is None:
            with self._vertex(_REMOTE) as vertex:
                got = self._download(url)
                vertex.did("transferring context:", got.size)
                self._times["context"] = got.mtime_ns // 1_000_000_000
                self.pinned["context"] = str(got.digest)
                self._stream(self._store.blobs.path(got.digest), file_name_of(url), url)
        assert self._main is not None
        return self._main.root

    def _stream(self, spool: Path, name: str, origin: str) -> None:
        """A stream is a tar, or else the Dockerfile itself."""
        from imagesmith.context.archive import is_packed, looks_like_archive, unpack_context
        from imagesmith.fs.folders import make_plain

        folder = self._scratch() / "unpacked"

        def opened() -> BinaryIO:
            return spool.open("rb")

        if is_packed(opened) or looks_like_archive(opened):
            try:
                with opened() as f:
                    unpack_context(f, folder)
            except IntegrityError as e:
                raise e.of(origin) from e.__cause__
        else:
            make_plain(folder)
            data = spool.read_bytes()
            (folder / name).write_bytes(data)
            if self._request.dockerfile is None:
                self._stdin_dockerfile = data
        self._main = self._owned(LocalTree(folder))

    def main(self) -> ContextFiles:
        """The main context."""
        self._main_tree()
        place = self._request.context
        if not self._is_remote():
            place = os.path.abspath(place)
        elif self._kept is not None:  # two builds of one address need not have the same files
            place = self._kept.address
        return ContextFiles("context", place, self._ignore)

    def tree_of(self, origin: ContextFiles) -> Tree:
        """The files of a context of this build."""
        if origin.name == "context":
            return self._main_tree()
        if origin.name not in self._named:
            self.named(origin.name, None)
        return self._named[origin.name]

    def _main_tree(self) -> LocalTree:
        if self._main is None:
            root = self._root()
            if self._main is None:
                with self._vertex("[internal] load .dockerignore"):
                    ignore, self._ignore = read_ignore(root, self._dockerfile)
                self._main = self._owned(LocalTree(root, ignore))
        return self._main

    # --- named ones ----------------------------------------------------------------------------

    def named(
        self, name: str, platform: Platform | None
    ) -> ContextFiles | GitFiles | Fetched | ResolvedImage | None:
        """The context that stands for a name; see planner.ContextProvider."""
        key = normalise_name(name)
        place = self._request.contexts.get(f"{key}::{platform}") or self._request.contexts.get(key)
        assert self.images is not None
        match place:
            case None:
                return None
            case DockerImage(ref="scratch"):
                self._named[key] = EMPTY_VIEW
                return ContextFiles(key, "scratch")
            case DockerImage(ref=ref):
                return self.images.resolve(ref, platform)
            case OciLayout(path=path, tag=tag, digest=digest):
                return self.images.from_layout(name, path, f"@{digest}" if digest else tag, platform)
            case LocalContext(path=path):
                if key not in self._named:
                    self._named[key] = self._owned(LocalTree(path, read_ignore(path)[0]))
                return ContextFiles(key, os.path.abspath(path))
            case GitContext(ref=ref):
                origin = GitFiles(
                    ref, bool(ref.keep_git_dir), ref.checksum, own=self._request.owns(ref.remote)
                )
                return self.locked(origin)
            case HttpContext(url=url):
                return self._named_url(key, url)
        raise UsageError(f"--build-context {name}: not supported")

    def _named_url(self, key: str, url: str) -> ContextFiles:
        import shutil

        from imagesmith.context.archive import looks_like_archive, unpack_context
        from imagesmith.fs.folders import make_plain

        if key not in self._named:
            got = self.fetch_url(self.locked(Fetched(url)))
            self._times[key], self.pinned[key] = got.mtime_ns // 1_000_000_000, str(got.digest)
            folder = self._scratch() / f"named-{len(self._named)}"
            if looks_like_archive(got.open):
                with got.open() as f:
                    unpack_context(f, folder)
            else:
                make_plain(folder)
                shutil.copyfile(self._store.blobs.path(got.digest), folder / "context")
            self._named[key] = self._owned(LocalTree(folder))
        return ContextFiles(key, url)

    # --- times ---------------------------------------------------------------------------------

    def time_of(self, name: str) -> int | None:
        """The time (seconds) of a context that came from elsewhere: `context`, or a named one.

        A repository's is that of its commit, and its files get it, too; that of a URL is Last-Modified, or
        else the newest in the archive. A folder has none.
        """
        found = self.main() if name == "context" else self.named(name, None)
        if isinstance(found, GitFiles):
            return self.commit_time(found)
        tree = self.tree_of(found) if isinstance(found, ContextFiles) else None
        seconds = self._times.get(name if name == "context" else normalise_name(name))
        if seconds is None or not isinstance(tree, LocalTree):
            return None
        if self.pinned.get(name, "").startswith("commit:"):
            from imagesmith.context.gitfetch import set_times

            set_times(tree.root, seconds)
        return seconds or max((e.mtime_ns // 1_000_000_000 for e in tree.walk()), default=0)

    def commit_time(self, origin: GitFiles) -> int:
        """The time (seconds) of the commit that a remote ADD takes."""
        return self.checkout(origin).commit_s
