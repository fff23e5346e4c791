"""Where the files of COPY, ADD and mounts come from, as trees, and their digests for the cache key.

Why: a step's key is made of the files that it takes, not of where they lie. A file of a URL, a commit of a
repository and a here-document are trees of their own here, so that the copier knows one thing only.
Trust: what is downloaded is held against its checksum where there is one; trees are judged where they are
made (context/).
Threads: methods may be called from any; downloads are single-flight.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from imagesmith.concurrency import Once
from imagesmith.context.digests import FileDigests
from imagesmith.context.http import Download, file_name_of
from imagesmith.context.rows import KnownDigests, Rows
from imagesmith.context.sources import content_digest, select
from imagesmith.errors import MissingSource
from imagesmith.fs.entry import BytesContent, Entry
from imagesmith.fs.tree import Tree
from imagesmith.fs.view import EMPTY_VIEW, LayerIndex, View
from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.solve.step import (
    ContextFiles,
    CopyOp,
    CopySource,
    Fetched,
    GitFiles,
    Inline,
    Op,
    Origin,
    RootOp,
    RunOp,
    Step,
)

if TYPE_CHECKING:
    from imagesmith.solve.solver import Solver

__all__ = ["Sources"]


def _layers(chain: Digest | None, path: str) -> str:
    return f"{chain or ''} {path}"


class Sources:
    """Finds trees and digests of origins for one build.

    `fetch_url` and `fetch_git` bring what is elsewhere; `file_digest` gives the sha256 of an entry's content;
    `before_run` is to be called when a RUN begins.
    """

    def __init__(
        self,
        fetch_url: Callable[[Fetched], Download],
        fetch_git: Callable[[GitFiles], tuple[str, Tree]],
        file_digest: FileDigests,
        now_ns: int,
        before_run: Callable[[], None] = lambda: None,
    ) -> None:
        self.before_run = before_run
        self._fetch_url, self._fetch_git, self._file_digest = fetch_url, fetch_git, file_digest
        self._now_ns = now_ns
        self._downloads: Once[Fetched, Download] = Once()
        self._checkouts: Once[GitFiles, tuple[str, Tree]] = Once()
        self._rows: dict[Step, Sequence[Rows]] = {}

    # --- trees ---------------------------------------------------------------------------------

    def tree(self, origin: ContextFiles | Fetched | GitFiles | Inline | None) -> Tree:
        """The files of an origin that is not a step."""
        match origin:
            case None:
                return EMPTY_VIEW
            case ContextFiles():
                return origin.tree
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

    def whole(self, origin: ContextFiles | GitFiles | Fetched) -> Iterator[Entry]:
        """Every entry of an origin that is taken as a root file system."""
        yield from self.tree(origin).walk("")

    def _url(self, origin: Fetched) -> Download:
        return self._downloads.get(origin, lambda: self._fetch_url(origin))

    def _git(self, origin: GitFiles) -> tuple[str, Tree]:
        return self._checkouts.get(origin, lambda: self._fetch_git(origin))

    # --- digests -------------------------------------------------------------------------------

    def learn(self, e: Entry) -> None:
        """Take over the digest of a file that was seen while a layer was made."""
        self._file_digest.learn(e)

    def learnt(self, step: Step, rows: Sequence[Rows], digests: KnownDigests | None) -> None:
        """Take over each source's rows of a step whose layer was made, and where its digests may be had."""
        for row in rows:
            row.known = digests
        self._rows[step] = rows
        self._file_digest.learnt()

    def digests(self, step: Step, solver: Solver, *, by_layers: bool = False) -> list[str]:
        """The digest of each input of a step, in order; for the cache key.

        `by_layers`: for files of another step that of its layers and the path, which opens none of them.

        Raises:
            MissingSource: a source without wildcards does not exist.
        """
        op = step.op
        if isinstance(op, CopyOp):
            rows = () if by_layers else self._rows.pop(step, ())
            return [
                _layers(solver.result(s.origin).chain, s.path)
                if by_layers and isinstance(s.origin, Step)
                else self._source(op, s, solver, seen)
                for s, seen in itertools.zip_longest(op.sources, rows)
            ]
        if isinstance(op, RunOp):
            return [
                _layers(solver.result(m.origin).chain, m.mount.source)
                if by_layers and isinstance(m.origin, Step)
                else self._mounted(m.origin, m.mount.source, solver)
                for m in op.mounts
                if m.mount.type == "bind"
            ]
        if isinstance(op, RootOp):
            return [self.digest_of(op.origin)]
        return []

    def listing(self, op: Op, solver: Solver, most: int = 1000) -> dict[str, dict[str, str]]:
        """What the files of bind mounts are, by source and path, for telling later which one changed.

        Mounts of more than `most` files, and whole stages, are left out. Digests are known by then.
        """
        out: dict[str, dict[str, str]] = {}
        for m in op.mounts if isinstance(op, RunOp) else ():
            if m.mount.type != "bind" or m.origin is None or isinstance(m.origin, Inline):
                continue
            if isinstance(m.origin, Step) and m.mount.source in ("", "/"):
                continue
            tree: Tree = solver.result(m.origin).view if isinstance(m.origin, Step) else self.tree(m.origin)
            at = tree.resolve(m.mount.source or "/")
            top = tree.get(at)
            found = [top] if top is not None and top.kind != "d" else []
            found += itertools.islice(tree.walk(at), most + 1) if not found else ()
            if len(found) <= most:
                out[m.mount.source or "/"] = {e.path: self._describe(e) for e in found}
        return out

    def _describe(self, e: Entry) -> str:
        content = self._file_digest(e)[:12] if e.kind in "fh" else e.link
        return f"{e.mode:04o} {content}".rstrip()

    def digest_of(self, origin: ContextFiles | Fetched | GitFiles | Inline) -> str:
        """The digest of all files of an origin."""
        if isinstance(origin, GitFiles):
            return self._git(origin)[0]
        tree = self.tree(origin)
        return content_digest(tree, select(tree, "/", excludes=(), parents=False), self._file_digest)

    def _source(self, op: CopyOp, source: CopySource, solver: Solver, seen: Rows | None) -> str:
        origin = source.origin
        match origin:
            case Inline():
                return str(digest_bytes(origin.data))
            case Fetched():
                got = self._url(origin)
                return digest_bytes(dumps([self.file_name(origin), str(got.digest), got.mtime_ns])).hex
            case GitFiles():
                return f"{self._git(origin)[0]} {origin.ref.subdir} {origin.keep_git_dir}"
            case _ if seen is not None:
                return seen.digest(self._file_digest)
            case Step():
                tree: Tree = solver.result(origin).view
            case _:
                tree = self.tree(origin)
        matches = select(tree, source.path, excludes=op.excludes, parents=op.parents)
        return content_digest(tree, matches, self._file_digest)

    def _mounted(self, origin: Origin, path: str, solver: Solver) -> str:
        if isinstance(origin, Inline):
            return str(digest_bytes(origin.data))
        if isinstance(origin, Step):
            result = solver.result(origin)
            if path in ("", "/"):
                return str(result.chain or "")
            tree: Tree = result.view
        else:
            tree = self.tree(origin)
        at = tree.resolve(path)
        if at and tree.get(at) is None:
            told = MissingSource(f'failed to compute cache key: "/{path.strip("/")}": not found')
            raise told.about(path)
        return content_digest(tree, select(tree, path or "/", excludes=(), parents=False), self._file_digest)
