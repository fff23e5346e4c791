"""Where `imagesmith kaniko` finds its context and its Dockerfile, as words of `imagesmith build`.

Why buckets by HTTPS: a public object is a file behind an address; one that needs a key of its cloud is
refused by the server, and the hint says what to do. No cloud's keys are read here.
Spec: kaniko's pkg/buildcontext and resolveDockerfilePath: a Dockerfile is looked for here, then in the
context; a repository is cloned by HTTPS with all of its history, without its submodules.
Trust: archives are hostile: context/archive.py unpacks them, and a sub-path through a link stays below.
"""

from __future__ import annotations

import contextlib
import os
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from imagesmith.cli.foreign import boolean
from imagesmith.errors import ContextError, UsageError, reason_of
from imagesmith.options import fields
from imagesmith.settings import Access
from imagesmith.store.store import Store
from imagesmith.values import frozen

__all__ = ["Place", "found_context"]

_BUCKETS = {"s3://": "aws s3 presign", "gs://": "gcloud storage sign-url"}
_AZURE = ".blob.core.windows.net"
#: What a bucket without a name of an object has.
_OBJECT = "context.tar.gz"


@frozen
class Place:
    """`context` and `dockerfile` as `build` takes them; `hint` for a context that cannot be read."""

    context: str
    dockerfile: str = ""
    hint: str = ""


@contextlib.contextmanager
def found_context(
    context: str, sub_path: str, dockerfile: str, git: str, root: Path, access: Access
) -> Iterator[Place]:
    """The context and the Dockerfile; what is unpacked for them is gone at the end.

    Args:
        context: `--context`.
        sub_path: `--context-sub-path`.
        dockerfile: `--dockerfile`.
        git: `--git`.
        root: of the store, where archives are unpacked.
        access: whose certificates are believed.

    Raises:
        UsageError: a word that names no context.
        ContextError: the archive or the folder is not there.
    """
    scheme, _, rest = context.partition("://")
    if scheme == "git" or context.startswith("github.com/") or _is_git(context):
        address = rest if "://" in context else context
        scheme = scheme if scheme in ("http", "https", "ssh") and "://" in context else ""
        yield Place(_repository(scheme, address, sub_path, git, os.environ), _named(dockerfile))
        return
    if git:
        raise UsageError(f"--git: {context} is no git repository")
    with contextlib.ExitStack() as stack:
        hint = ""
        if scheme == "tar" and "://" in context:
            folder = stack.enter_context(_unpacked(rest, root))
        elif "://" in context and scheme != "dir":
            address, hint = _address(context, os.environ)
            if not sub_path:
                yield Place(address, _named(dockerfile), hint)
                return
            folder = stack.enter_context(_fetched(address, root, access, hint))
        else:
            folder = Path(rest if scheme == "dir" and "://" in context else context)
        yield _local(folder, sub_path, dockerfile)


def _is_git(context: str) -> bool:
    from imagesmith.context.git import is_git_url

    return is_git_url(context.partition("#")[0])


def _named(dockerfile: str) -> str:
    """A Dockerfile of a context that is elsewhere; that of its own name need not be said."""
    return "" if dockerfile == "Dockerfile" else dockerfile


def _repository(scheme: str, address: str, sub_path: str, git: str, env: Mapping[str, str]) -> str:
    """The address of a repository, with what `build` must know of it in its query."""
    bare, _, fragment = address.partition("#")
    bare, _, query = bare.partition("?")
    ref, _, commit = fragment.partition("#")
    said = {key: value or "" for key, value in fields(git, "--git")} if git else {}
    for key in said:
        if key not in ("branch", "single-branch", "recurse-submodules"):
            raise UsageError(f"--git {git}: unknown key {key}", hint="branch, recurse-submodules are known")
    recursing = boolean("--git recurse-submodules", said.get("recurse-submodules") or "false")
    ref = commit or said.get("branch") or ref
    asked = {} if recursing else {"submodules": "false"}
    if ref:
        asked["ref"] = ref
    if sub_path:
        asked["subdir"] = sub_path
    else:
        asked |= {"keep-git-dir": "true", "fetch-depth": "0"}  # the clone is the context
    given = env.get("GIT_PULL_METHOD", "")
    scheme = scheme or (given if given in ("http", "https") else "https")
    user, password = env.get("GIT_USERNAME", ""), env.get("GIT_PASSWORD", "")
    if token := env.get("GIT_TOKEN", ""):
        user, password = token, ""
    if (user or password) and scheme != "ssh" and "@" not in bare.partition("/")[0]:
        quoted = (urllib.parse.quote(text, safe="") for text in (user, password))
        bare = f"{':'.join(quoted)}@{bare}"
    host, slash, path = bare.partition("/")
    if scheme != "ssh" and slash and not path.endswith(".git"):
        bare = f"{host}/{path.rstrip('/')}.git"
    words = "&".join(filter(None, (query, urllib.parse.urlencode(asked))))
    return f"{scheme}://{bare}?{words}"


def _address(context: str, env: Mapping[str, str]) -> tuple[str, str]:
    """The address of an archive by HTTPS, and the hint for one that its server does not give."""
    for scheme, command in _BUCKETS.items():
        if context.startswith(scheme):
            bucket, _, name = context.removeprefix(scheme).partition("/")
            path = urllib.parse.quote(name or _OBJECT)
            address = _bucket(scheme, bucket, path, env)
            if not bucket:
                raise UsageError(f"--context {context}: no bucket is named")
            return address, f"public objects only are read; else give --context what `{command}` prints"
    parts = urllib.parse.urlsplit(context)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(
            f"--context {context}: no such kind of context",
            hint="a folder, dir://, tar://, git://, https://, s3:// and gs:// are known",
        )
    azure = (parts.hostname or "").endswith(_AZURE)
    return context, "public blobs only are read; else give an address with its SAS token" if azure else ""


def _bucket(scheme: str, bucket: str, path: str, env: Mapping[str, str]) -> str:
    if scheme == "gs://":
        return f"https://storage.googleapis.com/{bucket}/{path}"
    endpoint = env.get("S3_ENDPOINT", "").rstrip("/")
    if not endpoint:
        return f"https://{bucket}.s3.amazonaws.com/{path}"
    endpoint = endpoint if "://" in endpoint else f"https://{endpoint}"
    if env.get("S3_FORCE_PATH_STYLE", "").lower() == "true":
        return f"{endpoint}/{bucket}/{path}"
    kind, _, host = endpoint.partition("://")
    return f"{kind}://{bucket}.{host}/{path}"


@contextlib.contextmanager
def _unpacked(name: str, root: Path) -> Iterator[Path]:
    """An archive of this machine, or of standard input, unpacked."""
    with contextlib.ExitStack() as stack:
        if name == "stdin":
            archive: BinaryIO = sys.stdin.buffer
        else:
            try:
                archive = stack.enter_context(open(name, "rb"))
            except OSError as e:
                raise ContextError(f"--context tar://{name}: {reason_of(e)}") from e
        with Store(root) as store:
            yield stack.enter_context(_below(store, archive))


@contextlib.contextmanager
def _fetched(address: str, root: Path, access: Access, hint: str) -> Iterator[Path]:
    """An archive behind an address, unpacked."""
    from imagesmith.context.http import fetch_url

    with Store(root) as store:
        try:
            archive = fetch_url(address, store, access=access)
        except ContextError as e:
            e.hint = hint or e.hint
            raise
        with archive.open() as f, _below(store, f) as folder:
            yield folder


@contextlib.contextmanager
def _below(store: Store, archive: BinaryIO) -> Iterator[Path]:
    from imagesmith.context.archive import unpack_context
    from imagesmith.store.work import WorkFolder

    work = WorkFolder(store.work, "context-")
    try:
        unpack_context(archive, work.path / "unpacked")
        yield work.path / "unpacked"
    finally:
        work.close()


def _local(folder: Path, sub_path: str, dockerfile: str) -> Place:
    """A folder's part, and the Dockerfile: one that is here goes before the context's."""
    whole = folder
    if sub_path:
        folder = folder / sub_path.lstrip("/")
        real, top = os.path.realpath(folder), os.path.realpath(whole)
        if real != top and not real.startswith(f"{top.rstrip('/')}/"):
            raise ContextError(f"--context-sub-path {sub_path}: it leads out of the context")
        if not os.path.isdir(real):
            raise ContextError(f"--context-sub-path {sub_path}: no such folder in the context")
    if "://" in dockerfile or os.path.isfile(dockerfile):
        return Place(str(folder), dockerfile)
    return Place(str(folder), str(folder / dockerfile))
