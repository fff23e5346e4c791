"""Git repositories as sources: one commit fetched and checked out, with its submodules.

Why the program git: it knows every protocol there is, and a shallow fetch of one commit is what a build
wants. Files come out as a checkout under umask 022 makes them; what is kept of .git has no trace of when and
where it was fetched (no stat data, no logs), so that the same commit gives the same layer everywhere.
Spec: BuildKit's source/git (source.go): which ref a name means, what of it is in a .git that is kept.
Trust: the address may come from a Dockerfile, and the repository is anybody's; see context/gitrun.py for what
git may do. Names of refs are compared with what was asked for; a subdirectory that a link leads out of the
checkout is refused.
Threads: each call works in a folder of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from imagesmith.context.git import GitRef, is_commit
from imagesmith.context.gitrun import Access, Git
from imagesmith.context.local import LocalTree
from imagesmith.errors import ContextError, DockerfileError, MissingSource
from imagesmith.fs.jail import remove_tree

__all__ = ["Checkout", "commit_of", "fetch_git", "set_times"]

_FULL = "+refs/*:refs/imagesmith/*"
#: A commit may claim any time; files have those that layers can tell in nanoseconds.
_LATEST_S = (1 << 63) // 1_000_000_000 - 1


class Checkout(NamedTuple):
    """Files of a repository (of its subdirectory, if one is asked for): `id` is for cache keys."""

    id: str
    tree: LocalTree
    commit_s: int
    commit: str


class _Found(NamedTuple):
    """What a ref is on the remote: its object, an annotated tag's commit, its full name if it has one."""

    oid: str
    peeled: str
    name: str


def fetch_git(
    ref: GitRef, folder: Path, *, keep_git_dir: bool, checksum: str, access: Access | None = None
) -> Checkout:
    """Fetch a repository and check it out below `folder`.

    Args:
        ref: what to fetch; its checksum and wish for .git do not count, those given do.
        folder: where, for a folder of its own.
        keep_git_dir: leave .git, where no subdirectory is asked for.
        checksum: how the commit or the annotated tag must begin, or empty.
        access: what servers may be shown.

    Raises:
        ContextError: git is missing or failed, or there is no such ref.
        DockerfileError: another commit than the checksum says.
        MissingSource: there is no such subdirectory.
    """
    if checksum and not re.fullmatch(r"[0-9a-fA-F]+", checksum):
        raise DockerfileError(f"invalid checksum {checksum} for Git URL, expected hex commit hash")
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=folder.resolve()))
    with contextlib.suppress(OSError):  # none, or a file system without them
        os.removexattr(work, "system.posix_acl_default")
    work.chmod(0o755)  # a group bit of the folder above would go to all below
    git = Git(work.parent, ref, access or Access())
    found = _resolve(git, work, ref, checksum)
    _check(checksum, found)
    keep = keep_git_dir and not ref.subdir
    _init(git, work, found.oid)
    commit, commit_s = _fetch(git, work, ref, found, keep)
    _check(checksum, found._replace(peeled=commit))
    git(work, "checkout", "-q", "--detach", commit)
    submodules = ref.submodules and (work / ".gitmodules").exists()
    if keep or submodules:
        git(work, "remote", "add", "origin", ref.remote)
    if submodules:
        _submodules(git, work)
    if keep:
        _tidy(git, work)
    else:
        remove_tree(work / ".git")
    if ref.commit_times:
        set_times(work, commit_s)
    what = [commit, ref.subdir, str(ref.submodules), str(ref.commit_times)]
    if keep:
        what += [found.oid, found.name, ref.remote, str(ref.depth), str(ref.tags)]
    digest = hashlib.sha256("\0".join(what).encode("utf-8", "surrogateescape")).hexdigest()
    return Checkout(f"git:{digest}", LocalTree(_below(work, ref)), commit_s, commit)


def commit_of(ref: GitRef, folder: Path, access: Access | None = None) -> str:
    """The commit that a ref means now; nothing of it is fetched.

    Raises:
        ContextError: git is missing or failed, or there is no such ref.
    """
    with tempfile.TemporaryDirectory(dir=folder.resolve()) as work:
        found = _resolve(Git(folder.resolve(), ref, access or Access()), Path(work), ref, "")
    return found.peeled or found.oid


def _below(work: Path, ref: GitRef) -> Path:
    """The folder that is asked for; links lead to others of the checkout only."""
    try:
        root = (work / ref.subdir).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # not there; a circle of links; too long a name
        root = None
    if root is None or not root.is_dir() or not root.is_relative_to(work):
        raise MissingSource(f"invalid subdir {ref.subdir}: no such directory in {ref.remote}")
    return root


def _resolve(git: Git, work: Path, ref: GitRef, checksum: str) -> _Found:
    """What a ref is: a whole commit is itself; a name is a full ref, else a branch, else a tag.

    Raises:
        ContextError: there is no such ref.
    """
    if is_commit(ref.ref):
        return _Found(ref.ref, "", "")
    if ref.fetch_by_commit and is_commit(checksum):
        return _Found(checksum, "", ref.ref if ref.ref.startswith("refs/") else "")
    if ref.ref in ("", "HEAD"):
        names = _listed(git.remote(work, "ls-remote", "--symref", "--", ref.remote, "HEAD"))
        branch = names.get("ref: HEAD", "")
        if "HEAD" in names:
            return _Found(names["HEAD"], "", branch if branch.startswith("refs/heads/") else "")
    elif not ref.ref.startswith("-"):
        wanted = [p + ref.ref.removeprefix(p) for p in ("refs/", "refs/heads/", "refs/tags/")]
        names = _listed(git.remote(work, "ls-remote", "--", ref.remote, *wanted, f"{wanted[2]}^{{}}"))
        for name in wanted:
            if name in names:
                return _Found(names[name], names.get(f"{name}^{{}}", ""), name)
    raise ContextError(f"repository {ref.remote} does not contain ref {ref.ref or 'HEAD'}")


def _listed(said: str) -> dict[str, str]:
    """The rows of ls-remote: objects by name; under `ref: HEAD` the branch that HEAD is."""
    names: dict[str, str] = {}
    for row in said.split("\n"):
        value, _, name = row.partition("\t")
        if value.startswith("ref: "):
            names[f"ref: {name}"] = value.removeprefix("ref: ")
        elif is_commit(value):
            names[name] = value
    return names


def _check(checksum: str, found: _Found) -> None:
    have = [oid for oid in dict.fromkeys((found.oid, found.peeled)) if oid]
    if checksum and not any(oid.startswith(checksum) for oid in have):
        raise DockerfileError(f"expected checksum to match {checksum}, got {' or '.join(have)}")


def _init(git: Git, work: Path, oid: str) -> None:
    kind = ["--object-format=sha256"] if len(oid) == 64 else []
    git(work, "-c", "init.defaultBranch=master", "init", "-q", *kind)


def _fetch(git: Git, work: Path, ref: GitRef, found: _Found, keep: bool) -> tuple[str, int]:
    """Bring the object: alone if the server can do that, else by its name, else with all there is.

    Returns:
        its commit, and the time of that (seconds).

    Raises:
        ContextError: the server fails, or has no such commit.
    """
    into = f":{found.name}" if found.name else ""
    how = ["--tags", "--force"] if ref.tags else ["--no-tags"]
    depth = [f"--depth={ref.depth}"] if ref.depth else []
    for source in filter(None, (found.oid, found.name)):
        try:
            git.remote(work, "fetch", "-q", "-u", *how, *depth, "--", ref.remote, f"+{source}{into}")
        except ContextError:
            continue
        if commit := _commit(git, work, found):
            _point(git, work, found, source)
            return commit
    # A server of plain files knows no shallow commits, and an old one gives what it names only.
    full = work
    if keep and ref.depth:
        full = Path(tempfile.mkdtemp(dir=work.parent))
        _init(git, full, found.oid)
    everything = f"+{found.name}{into}" if found.name else _FULL
    git.remote(full, "fetch", "-q", "-u", *how, "--", ref.remote, everything)
    commit = _commit(git, full, found)
    if commit is None:
        raise ContextError(
            f"repository {ref.remote} does not contain ref {ref.ref}", hint="it may have moved just now"
        )
    _point(git, full, found, found.name)
    if full is not work:
        git(full, "update-ref", "refs/imagesmith/wanted", found.oid)
        near = [*depth, "--", f"file://{full}", f"+refs/imagesmith/wanted{into}"]
        git(work, "fetch", "-q", "-u", *how, *near, allow="file")
        remove_tree(full)
    return commit


def _commit(git: Git, work: Path, found: _Found) -> tuple[str, int] | None:
    """The commit of the object that was resolved and its time (seconds), if it is there."""
    commit, _, time_s = git.tells(work, "log", "-1", "--format=%H %ct", found.oid, "--").partition(" ")
    if not is_commit(commit):
        return None
    return commit, min(int(time_s), _LATEST_S) if time_s.isdecimal() else 0


def _point(git: Git, work: Path, found: _Found, source: str) -> None:
    """Have the name mean the object that was resolved, should the server's have moved since."""
    if found.name and source != found.oid:
        git(work, "update-ref", found.name, found.oid)


def _submodules(git: Git, work: Path) -> None:
    update = ["submodule", "-q", "update", "--init", "--recursive"]
    try:
        git.remote(work, *update, "--depth=1")
    except ContextError as e:
        if "shallow" not in e.message and "depth" not in e.message:
            raise
        git.remote(work, *update)  # a server of plain files


def _walk(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk, which calls itself for each level in Python 3.11: a repository may have thousands."""
    todo = [str(top)]
    while todo:
        path = todo.pop()
        folders: list[str] = []
        files: list[str] = []
        with contextlib.suppress(OSError), os.scandir(path) as entries:
            for e in entries:
                (folders if e.is_dir(follow_symlinks=False) else files).append(e.name)
        yield path, folders, files
        todo += [os.path.join(path, name) for name in folders]


def set_times(work: Path, seconds: int) -> None:
    """Give every file and folder of a checkout one time."""
    os.utime(work, (seconds, seconds))
    for path, folders, files in _walk(work):
        for entry in [*folders, *files]:
            os.utime(os.path.join(path, entry), (seconds, seconds), follow_symlinks=False)


def _tidy(git: Git, work: Path) -> None:
    """Leave in .git what a fresh shallow fetch leaves, without traces of when and how it was made.

    An index without stat data says nothing of this machine; git reads the files once to see that they are as
    they should be. The logs are there and empty, as after `git reflog expire`.
    """
    git(work, "read-tree", "HEAD")
    places = [work / ".git"]
    for path, folders, _ in _walk(work / ".git" / "modules"):
        if os.path.exists(os.path.join(path, "HEAD")) and os.path.exists(os.path.join(path, "config")):
            git(Path(path), "--work-tree=.", "--git-dir=.", "read-tree", "HEAD")
            places.append(Path(path))
            folders[:] = [name for name in folders if name == "modules"]
    for place in places:
        for name in ("FETCH_HEAD", "ORIG_HEAD"):
            (place / name).unlink(missing_ok=True)
        for path, _, files in _walk(place / "logs"):
            for name in files:
                os.truncate(os.path.join(path, name), 0)
