"""Definitions from elsewhere: a repository, an archive behind an address, or one file of at most 2 MiB.

    imagesmith bake https://host/o/r.git#ref:folder [CMDCONTEXT] [TARGET…]

Contexts and Dockerfiles of its targets are those of the repository, at the commit that was read, or of the
archive; `cwd://PATH` is the user's own, and so are the contexts of a file that came alone.
Spec: buildx's bake/remote.go and toBuildOpt; BUILDX_BAKE_GIT_AUTH_TOKEN, BUILDX_BAKE_GIT_AUTH_HEADER (both
also with `.HOST`) and BUILDX_BAKE_GIT_SSH. Beyond buildx, a context of the user's may have a Dockerfile of
the repository.
Trust: the definition is a stranger's. No path of it leaves what was fetched, also by links; what of this
machine it names by `cwd://`, as a secret or an output, is for `--allow` to judge (see allowing.py).
"""

from __future__ import annotations

import os
import posixpath
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagesmith.bake.contextpaths import is_path
from imagesmith.bake.places import fault
from imagesmith.bake.reading import MOST_BYTES, Folder
from imagesmith.bake.target import Entry, Setting, Target
from imagesmith.context.addresses import file_name_of, is_http_url
from imagesmith.context.archive import is_packed, looks_like_archive, unpack_context
from imagesmith.context.git import GitRef, context_ref
from imagesmith.context.http import fetch_url
from imagesmith.context.secrets import git_access
from imagesmith.errors import DefinitionError, ImagesmithError, UsageError
from imagesmith.request import BuildRequest, SecretSource
from imagesmith.settings import Access
from imagesmith.store.disk import on_disk_fault
from imagesmith.store.store import Store
from imagesmith.store.work import WorkFolder
from imagesmith.values import replace

__all__ = ["Remote", "is_remote", "split_arguments"]

_LOCAL = "cwd://"
_AUTH = re.compile(r"BUILDX_BAKE_(GIT_AUTH_(?:TOKEN|HEADER)(?:\..+)?)")


def is_remote(text: str) -> bool:
    """True for the address of a repository, an archive or a file."""
    try:
        return is_http_url(text) or context_ref(text) is not None
    except ImagesmithError:
        return True  # an address with a fault, which whoever fetches it tells


def split_arguments(words: Sequence[str]) -> tuple[str, str, list[str]]:
    """The words of the command: where the definition is (empty for here), BAKE_CMD_CONTEXT, targets.

    The second word is a context if it is an address, too; without one it is the working folder.
    """
    found = list(words)
    if not found or not is_remote(found[0]):
        return "", _LOCAL, found
    address = found.pop(0)
    return address, found.pop(0) if found and is_remote(found[0]) else _LOCAL, found


class Remote:
    """A definition that was fetched; its files are there until it is closed.

    folder  where its files are read from
    ref     the repository at the commit that was read, if it is one
    """

    def __init__(
        self, address: str, store: Store, env: Mapping[str, str], access: Access | None = None
    ) -> None:
        """Fetch it.

        Args:
            address: of a repository, an archive or a file.
            store: keeps what is downloaded.
            env: the environment, for credentials.
            access: whose folder of certificates is believed besides.

        Raises:
            ContextError: it cannot be fetched.
            DefinitionError: a file that is no archive, and too large.
        """
        self.address, self._env = address, env
        self.ref: GitRef | None = None
        self._is_file = False
        self._login = ""
        with on_disk_fault("make a folder for a definition", store.work):
            self._work = WorkFolder(store.work, "context-")
        try:
            root = self._fetched(store, access)
        except BaseException:
            self._work.close()
            raise
        self.folder = Folder(str(root), closed=True)

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete its files."""
        self._work.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the only file, where there is one; else none."""
        return (file_name_of(self.address),) if self._is_file else ()

    # --- fetching ------------------------------------------------------------------------------

    def _fetched(self, store: Store, access: Access | None) -> Path:
        ref = context_ref(self.address)
        if ref is None:
            return self._downloaded(store, access)
        from imagesmith.context.gitfetch import fetch_git

        request = BuildRequest(context=self.address, secrets=self._secrets(), ssh=self._agents())
        got = fetch_git(
            ref, self._work.path, keep_git_dir=False, checksum=ref.checksum,
            access=git_access(request, ref, own=True),
        )  # fmt: skip
        self._login = ref.login
        self.ref = replace(ref, checksum=got.commit, fetch_by_commit=True)
        return got.tree.root

    def _downloaded(self, store: Store, access: Access | None) -> Path:
        got = fetch_url(self.address, store, access=access)
        root = self._work.path / "definition"
        if is_packed(got.open) or looks_like_archive(got.open):
            with got.open() as f:
                unpack_context(f, root)
            return root
        if got.size > MOST_BYTES:
            raise DefinitionError(f"{self.address}: no archive, and larger than {MOST_BYTES >> 20} MiB")
        self._is_file = True
        root.mkdir()
        (root / file_name_of(self.address)).write_bytes(store.blobs.read(got.digest))
        return root

    def _secrets(self) -> tuple[SecretSource, ...]:
        found = (_AUTH.fullmatch(name) for name in sorted(self._env))
        return tuple(SecretSource(id=match[1], env=match[0]) for match in found if match)

    def _agents(self) -> dict[str, str]:
        """The agent of BUILDX_BAKE_GIT_SSH; without one, what the user's own git has counts."""
        given = self._env.get("BUILDX_BAKE_GIT_SSH", "")
        if not given:
            return {}
        if "," in given or not Path(given).is_socket():
            raise UsageError("BUILDX_BAKE_GIT_SSH must be the socket of an ssh agent; add keys to an agent")
        return {"default": given}

    # --- targets -------------------------------------------------------------------------------

    def resolved(self, target: Target) -> Target:
        """A target of this definition whose contexts and Dockerfile can be found from here.

        Raises:
            DefinitionError: a path leads out of what was fetched, or a Dockerfile is not there.
        """
        attributes: dict[str, Setting] = dict(target.attributes)
        context, dockerfile = str(attributes.get("context", ".")), str(attributes.get("dockerfile", ""))
        attributes["context"] = self._place(context, target)
        contexts = attributes.get("contexts")
        if isinstance(contexts, Mapping):
            attributes["contexts"] = {name: self._place(value, target) for name, value in contexts.items()}
        if dockerfile.startswith(_LOCAL):
            attributes["dockerfile"] = os.path.abspath(dockerfile.removeprefix(_LOCAL))
        elif context.startswith(_LOCAL) and not self._is_file and "dockerfile-inline" not in attributes:
            attributes["dockerfile"] = self._own_dockerfile(dockerfile or "Dockerfile", target)
        places = [context, *(contexts.values() if isinstance(contexts, Mapping) else ())]
        if any(is_path(before) for before in places) and (auth := self._auth()):
            own = attributes.get("secret", ())
            assert isinstance(own, tuple)
            attributes["secret"] = (*(e for e in own if not isinstance(e, str)), *auth)
        return replace(target, attributes=attributes)

    def _auth(self) -> tuple[Entry, ...]:
        """The credentials of the repository as secrets of a build, for its own server alone."""
        host = self.ref.host if self.ref is not None else ""
        found: dict[str, Entry] = {}
        for secret in self._secrets() if host else ():
            name = secret.id.split(".", 1)
            if name[1:] in ([], [host]):
                found[f"{name[0]}.{host}"] = {"id": f"{name[0]}.{host}", "env": secret.env}
        return tuple(found.values())

    def _place(self, context: str, target: Target) -> str:
        """A context as the build is to be given it."""
        if context.startswith(_LOCAL):
            return posixpath.normpath(context.removeprefix(_LOCAL) or ".")
        if self._is_file or not is_path(context):
            return context
        path = posixpath.normpath(posixpath.join("/", context)).lstrip("/")
        if posixpath.normpath(context).startswith(".."):
            raise self._refused(f"context {context} leads out of {self.address}", target)
        try:
            found = self.folder.find(path)
        except DefinitionError as e:
            raise self._refused(f"context {context} leads out of {self.address}", target) from e
        if self.ref is None:
            return found.rstrip("/")
        return _address(
            replace(self.ref, subdir=posixpath.join(self.ref.subdir, path).rstrip("/")), self._login
        )

    def _own_dockerfile(self, name: str, target: Target) -> str:
        """The path of a Dockerfile of the definition's, for a context of the user's."""
        if not is_path(name):
            return name
        path = posixpath.normpath(posixpath.join("/", name)).lstrip("/")
        try:
            found = self.folder.find(path)
        except DefinitionError as e:
            raise self._refused(f"dockerfile {name} leads out of {self.address}", target) from e
        if not os.path.isfile(found):
            raise self._refused(
                f"dockerfile {name} is not in {self.address}; cwd://{name} is your own", target
            )
        return found

    def _refused(self, message: str, target: Target) -> DefinitionError:
        said = f"target {target.name}: {message}"
        return fault(target.span, said) if target.span is not None else DefinitionError(said)


def _address(ref: GitRef, login: str) -> str:
    """The address of a folder of the repository, at its commit, with the login that the user gave."""
    scheme, colon, rest = ref.remote.partition("://")
    fragment = f"{ref.ref}:{ref.subdir}" if ref.subdir else ref.ref
    if not colon:  # user@host:path has no query: the commit itself stands where its name stood
        return f"{ref.remote}#{ref.checksum}{f':{ref.subdir}' if ref.subdir else ''}"
    if login:
        user, _, password = login.partition(":")
        rest = f"{urllib.parse.quote(user, safe='')}:{urllib.parse.quote(password, safe='')}@{rest}"
    query = {"checksum": ref.checksum, "fetch-by-commit": "true"}
    query |= {"submodules": "false"} if not ref.submodules else {}
    query |= {"mtime": "commit"} if ref.commit_times else {}
    query |= {"keep-git-dir": "true"} if ref.keep_git_dir else {}
    fragment = urllib.parse.quote(fragment, safe="/:")
    return f"{scheme}://{rest}?{urllib.parse.urlencode(query)}#{fragment}"
