"""Git repositories as sources: addresses as BuildKit reads them, fetched with the git program.

Why the program: it knows every protocol and credential there is, and a shallow fetch of one commit is what a
build wants. Files come out as a checkout under umask 022 makes them, so that the same commit gives the same
layer everywhere.
Spec: BuildKit's frontend/dockerfile/dfgitutil (git_ref.go) and source/git.
Trust: the address may come from a Dockerfile: it is never given to a shell, options in it are refused, hooks
and the user's configuration for clones are off.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse
from pathlib import Path
from typing import NamedTuple

from imagesmith.context.local import LocalTree
from imagesmith.context.patterns import Matcher
from imagesmith.errors import ContextError, DockerfileError, MissingSource
from imagesmith.values import frozen

__all__ = ["Checkout", "GitRef", "fetch_git", "is_git_url", "set_times"]

_SCP = re.compile(r"[a-zA-Z0-9_.-]+@[a-zA-Z0-9_.-]+:(?!\d+/).+")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_KEYS = (
    "ref",
    "tag",
    "branch",
    "subdir",
    "checksum",
    "commit",
    "keep-git-dir",
    "submodules",
    "mtime",
    "fetch-by-commit",
)


def is_git_url(text: str) -> bool:
    """True for `git://`, `ssh://`, `user@host:path`, and http(s) addresses whose path ends in `.git`."""
    if text.startswith(("git://", "ssh://")) or _SCP.fullmatch(text):
        return True
    if text.startswith(("http://", "https://")):
        try:
            return urllib.parse.urlsplit(text).path.endswith(".git")
        except ValueError:  # no address at all; whoever fetches it says so
            return False
    return False


@frozen(kw_only=True)
class GitRef:
    """An address taken apart. `ref` is a branch, tag or commit, empty for the default branch."""

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool = True
    commit_times: bool = False

    @classmethod
    def parse(cls, text: str) -> GitRef:
        """Read an address with its fragment `#ref:subdir` or its query.

        Raises:
            DockerfileError: in BuildKit's words.
        """
        address, _, fragment = text.partition("#")
        ref, _, subdir = fragment.partition(":")
        base, question, query = address.partition("?")
        found: dict[str, str] = {}
        if question and text.startswith(("http://", "https://", "git://", "ssh://")):
            for key, values in urllib.parse.parse_qs(query, keep_blank_values=True).items():
                if key not in _KEYS:
                    raise DockerfileError(f'unexpected query "{key}"')
                if len(values) > 1:
                    raise DockerfileError(f'query "{key}" has multiple values')
                if not values[0] and key not in ("keep-git-dir", "submodules", "fetch-by-commit"):
                    raise DockerfileError(f'query "{key}" has no value')
                found[key] = values[0]
            address = base
        return cls._of(address, ref, subdir, found)

    @classmethod
    def _of(cls, remote: str, ref: str, subdir: str, query: dict[str, str]) -> GitRef:
        if "branch" in query and "tag" in query:
            raise DockerfileError("branch conflicts with tag")
        wanted = {"tag": "refs/tags/", "branch": "refs/heads/"}
        for key in ("ref", "tag", "branch"):
            if key in query:
                value = wanted.get(key, "") + query[key]
                if ref and ref != value:
                    raise DockerfileError(f'ref conflicts: "{ref}" vs "{value}"')
                ref = value
        if "subdir" in query:
            if subdir and subdir != query["subdir"]:
                raise DockerfileError(f'subdir conflicts: "{subdir}" vs "{query["subdir"]}"')
            subdir = query["subdir"]
        subdir = os.path.normpath("/" + subdir).lstrip("/") if subdir else ""
        keep = query.get("keep-git-dir")
        return cls(
            remote=remote,
            ref=ref,
            subdir=subdir,
            checksum=query.get("checksum", query.get("commit", "")),
            keep_git_dir=None if keep is None else _flag("keep-git-dir", keep),
            submodules=_flag("submodules", query.get("submodules", "true")),
            commit_times=query.get("mtime", "checkout") == "commit",
        )


def _flag(name: str, value: str) -> bool:
    if value.lower() in ("", "1", "t", "true"):
        return True
    if value.lower() in ("0", "f", "false"):
        return False
    raise DockerfileError(f'invalid {name} value: "{value}"')


def _git(folder: Path, *words: str, check: bool = True) -> str:
    """Run git in a folder without the user's configuration, hooks or prompts, under umask 022."""
    env = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    }
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        env.pop(name, None)
    command = [
        "git",
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "protocol.file.allow=user",
        "-C",
        str(folder),
        *words,
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, env=env, check=False, stdin=subprocess.DEVNULL, umask=0o022
        )
    except FileNotFoundError:
        raise ContextError("git is needed for repositories, and is not on PATH; install git") from None
    if done.returncode and check:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ContextError(f"git {words[0]} failed: {said[-1] if said else f'status {done.returncode}'}")
    return done.stdout.decode("utf-8", "replace").strip() if not done.returncode else ""


def _resolve(work: Path, ref: GitRef) -> tuple[str, str]:
    """The commit of a ref on the remote, and the full name to fetch it by; a commit is its own."""
    if _SHA.fullmatch(ref.ref):
        return ref.ref, ref.ref
    listed = _git(
        work, "ls-remote", "--", ref.remote, *([ref.ref, f"{ref.ref}^{{}}"] if ref.ref else ["HEAD"])
    )
    names = {name: sha for sha, _, name in (row.partition("\t") for row in listed.splitlines())}
    wanted = [ref.ref, f"refs/tags/{ref.ref}", f"refs/heads/{ref.ref}"] if ref.ref else ["HEAD"]
    for name in wanted:
        if name in names:
            return names.get(f"{name}^{{}}", names[name]), name
    if re.fullmatch(r"[0-9a-f]{7,39}", ref.ref):
        return "", ref.ref
    raise ContextError(f"repository {ref.remote} does not contain ref {ref.ref or 'HEAD'}")


class Checkout(NamedTuple):
    """Files of a repository (of its subdirectory, if one is asked for): `id` is for cache keys."""

    id: str
    tree: LocalTree
    commit_s: int


def fetch_git(ref: GitRef, folder: Path, *, keep_git_dir: bool, checksum: str) -> Checkout:
    """Fetch a repository and check it out below `folder`.

    Raises:
        ContextError: git is missing or failed, or there is no such ref.
        MissingSource: there is no such subdirectory.
    """
    if ref.remote.startswith("-"):
        raise ContextError(f"{ref.remote}: not a repository address")
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=folder))
    _git(work, "init", "-q", "-b", "main")
    sha, name = _resolve(work, ref)
    _git(work, "remote", "add", "origin", ref.remote)
    _fetch(work, sha, name)
    commit = _git(work, "rev-parse", "--verify", "-q", f"{sha or name}^{{commit}}", check=False)
    if not commit:
        raise ContextError(f"repository {ref.remote} does not contain ref {ref.ref}")
    if checksum and not (len(checksum) >= 7 and commit.startswith(checksum)):
        raise DockerfileError(f"expected checksum to match {checksum}, got {commit}")
    _git(work, "checkout", "-q", "--detach", commit)
    if ref.submodules and (work / ".gitmodules").exists():
        _git(work, "submodule", "update", "-q", "--init", "--recursive", "--depth=1")
    commit_s = int(_git(work, "log", "-1", "--format=%ct"))
    if ref.commit_times:
        set_times(work, commit_s)
    if not keep_git_dir:
        shutil.rmtree(work / ".git")
    else:
        _trim_git_dir(work)
    root = work / ref.subdir
    if ref.subdir and not (root.is_dir() and root.resolve().is_relative_to(work.resolve())):
        raise MissingSource(f"invalid subdir {ref.subdir}: no such directory in {ref.remote}")
    ignore = Matcher(()) if keep_git_dir else Matcher(["**/.git"])
    digest = hashlib.sha256(f"{commit} {ref.subdir} {keep_git_dir} {ref.submodules}".encode()).hexdigest()
    return Checkout(f"git:{digest}", LocalTree(root, ignore), commit_s)


def _fetch(work: Path, sha: str, name: str) -> None:
    """Bring the commit: alone if the server can do that, else with its history, else with everything."""
    if sha and _git(work, "fetch", "-q", "--depth=1", "--no-tags", "origin", sha, check=False) == "":
        have = _git(work, "cat-file", "-t", sha, check=False)
        if have:
            return
    if name.startswith("refs/") or name == "HEAD":
        wanted = "origin", f"+{name}:refs/imagesmith/wanted"
        _git(work, "fetch", "-q", "--depth=1", "--no-tags", *wanted, check=False)
        if not sha or not _git(work, "cat-file", "-t", sha, check=False):
            _git(work, "fetch", "-q", "--no-tags", *wanted)  # a server of plain files has no shallow commits
    else:
        _git(work, "fetch", "-q", "origin", "+refs/*:refs/imagesmith/*")


def set_times(work: Path, seconds: int) -> None:
    """Give every file and folder of a checkout one time."""
    for path, folders, files in os.walk(work):
        for entry in [*folders, *files]:
            os.utime(os.path.join(path, entry), (seconds, seconds), follow_symlinks=False)


def _trim_git_dir(work: Path) -> None:
    """Leave in .git what a fresh shallow clone has, without traces of how it was fetched."""
    for name in ("FETCH_HEAD", "ORIG_HEAD"):
        (work / ".git" / name).unlink(missing_ok=True)
    shutil.rmtree(work / ".git" / "hooks", ignore_errors=True)
