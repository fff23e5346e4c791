"""RUN --mount: bind, cache, tmpfs, secret and ssh become mounts of a sandbox.

    bind     of a stage: a snapshot of its layers; of a context: a copy of what the ignore file leaves, owned
             by 0:0, as Docker's client would send it. Writable or not, what is written is thrown away.
    cache    a folder of the store that lives on; see worker/cachemounts.py
    secret   a file that lies in memory, or a variable of the environment
    ssh      a socket behind which the agent is asked; see worker/agent.py

Spec: BuildKit's solver/llbsolver/mounts/mount.go and executor/oci/mounts.go.
Trust: a source is looked up in the tree that it comes from, links followed inside it; what is found is then
opened on the disk through no link and held by its descriptor until the step has ended, for others that have
the same files may change them. Only the descriptor is mounted.
"""

from __future__ import annotations

import os
import posixpath
from contextlib import ExitStack
from pathlib import Path

from imagesmith.dockerfile import mounts as parsed
from imagesmith.errors import DockerfileError, MissingSource, SandboxError
from imagesmith.fs.hold import hold
from imagesmith.fs.tree import Tree
from imagesmith.interfaces import Mount, Place, Snapshotter
from imagesmith.ops.runmount import RunMount
from imagesmith.solve.step import Step, Work
from imagesmith.worker.cachemounts import CacheMounts, Seed
from imagesmith.worker.scratch import Copies, copy_out, scratch_folder
from imagesmith.worker.snapshot.ownership import table_of

__all__ = ["Mounts"]


class Mounts:
    """Makes the mounts of one step; what they need is undone when `stack` is."""

    def __init__(
        self,
        work: Work,
        cwd: str,
        place: Place,
        snapshots: Snapshotter,
        copies: Copies,
        stack: ExitStack,
    ) -> None:
        self._work, self._cwd, self._place = work, cwd, place
        self._snapshots, self._copies, self._stack = snapshots, copies, stack
        tools = work.tools
        self._store, self._request, self._trees = tools.store, tools.request, tools.trees
        self._caches = CacheMounts(tools.store, tools.cancel, place)
        #: Variables that secrets and agents add.
        self.env: dict[str, str] = {}
        self._agents = 0

    def make(self, m: RunMount) -> list[Mount]:
        """The mounts for one --mount; none for what is optional and missing.

        Raises:
            MissingSource: a source, or a secret that is required, is not there.
            SandboxError: it cannot be made.
        """
        match m.mount.type:
            case "bind":
                return [self._bind(m)]
            case "cache":
                return [self._cache(m)]
            case "tmpfs":
                target = self._target(m.mount.target)
                return [Mount(kind="tmpfs", target=target, size_bytes=m.mount.size, nosuid=True,
                              readonly=m.mount.readonly)]  # fmt: skip
            case "secret":
                return self._secret(m.mount)
            case _:
                return self._ssh(m.mount)

    def _target(self, target: str) -> str:
        path = posixpath.normpath(posixpath.join("/", self._cwd, target))
        return path[1:] if path.startswith("//") else path

    # --- bind ----------------------------------------------------------------------------------

    def _bind(self, m: RunMount) -> Mount:
        root, tree = self._files(m)
        source, fd = self._inside(root, tree, m.mount.source)
        inside = os.path.relpath(source, root)
        return Mount(
            kind="bind", source=str(source), fd=fd, target=self._target(m.mount.target),
            readonly=m.mount.readonly, ours=True,
            owners=(str(table_of(root)), "" if inside == "." else inside),
        )  # fmt: skip

    def _files(self, m: RunMount) -> tuple[Path, Tree]:
        """A folder with the files of a mount's origin, to be thrown away, and what is in it."""
        if isinstance(m.origin, Step):
            result = self._work.result(m.origin)
            workspace = self._snapshots.prepare([layer.stored for layer in result.layers], result.view)
            self._stack.callback(workspace.discard)
            return workspace.root, result.view
        tree = self._trees.tree(m.origin)
        at = tree.resolve(m.mount.source or "/")
        if m.mount.readonly and self._place.mounts:
            return self._copies.get(tree, at), tree
        folder = scratch_folder(self._store, self._stack)
        copy_out(tree, at, folder, self._place)
        return folder, tree

    def _inside(self, root: Path, tree: Tree, source: str) -> tuple[Path, int]:
        """Where a source is, and a descriptor of it."""
        at = tree.resolve(source or "/")
        if at and tree.get(at) is None:
            raise MissingSource(f'"/{source.strip("/")}": not found').about(source)
        try:
            fd = hold(root, at)
        except OSError as e:
            raise SandboxError(f"cannot mount /{at}: {(e.strerror or '').lower()}") from e
        self._stack.callback(os.close, fd)
        return root / at if at else root, fd

    # --- cache ---------------------------------------------------------------------------------

    def _cache(self, m: RunMount) -> Mount:
        seed: Seed | None = None
        if isinstance(m.origin, Step):
            result = self._work.result(m.origin)
            seed = Seed(str(result.diff_ids), lambda: result.view)
        elif m.origin is not None:
            origin = m.origin
            seed = Seed(self._trees.whole(origin), lambda: self._trees.tree(origin))
        namespace = self._request.build_args.get("BUILDKIT_CACHE_MOUNT_NS", "")
        source, fd = self._caches.take(m.mount, namespace, seed, self._stack)
        key, data, *inside = source.relative_to(self._store.cache_mounts).parts
        return Mount(
            kind="bind", source=str(source), fd=fd, target=self._target(m.mount.target),
            readonly=m.mount.readonly, ours=True,
            owners=(str(table_of(self._store.cache_mounts / key / data)), "/".join(inside)),
        )  # fmt: skip

    # --- secrets -------------------------------------------------------------------------------

    def _secret(self, m: parsed.Mount) -> list[Mount]:
        from imagesmith.context.secrets import read_secret

        known = {s.id: s for s in self._request.secrets}
        data = read_secret(known[m.id]) if m.id in known else None
        if data is None and m.required:
            raise MissingSource(f"secret {m.id}: not found", hint=f"give it with --secret id={m.id},src=FILE")
        if m.env is not None:
            self.env[m.env] = (data or b"").decode("utf-8", "surrogateescape")
            if not m.target:
                return []
        if data is None:
            return []
        mode = 0o400 if m.mode is None else m.mode
        return [
            Mount(
                kind="file", target=self._target(m.target or f"/run/secrets/{posixpath.basename(m.id)}"),
                data=data, mode=mode, uid=m.uid or 0, gid=m.gid or 0, readonly=True,
                nosuid=True, nodev=True, noexec=not mode & 0o111, secret=True,
            )
        ]  # fmt: skip

    # --- ssh -----------------------------------------------------------------------------------

    def _ssh(self, m: parsed.Mount) -> list[Mount]:
        from imagesmith.worker.agent import AgentSocket

        target = self._target(m.target or f"/run/buildkit/ssh_agent.{self._agents}")
        self._agents += 1
        self.env.setdefault("SSH_AUTH_SOCK", target)
        path = self._request.ssh.get(m.id)
        if path is None:
            if m.required:
                raise DockerfileError(
                    f'no SSH key "{m.id}" forwarded from the client', hint=f"give it with --ssh {m.id}"
                )
            return []
        folder = scratch_folder(self._store, self._stack)
        agent = AgentSocket(
            folder / "agent", path, 0o600 if m.mode is None else m.mode, m.uid or 0, m.gid or 0
        )
        self._stack.callback(agent.close)
        return [Mount(kind="bind", source=str(folder / "agent"), target=target)]
