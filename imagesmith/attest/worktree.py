"""The git work tree that a local context lies in: where it was cloned from, and its commit.

Why read by hand: a build context may be anybody's repository, and the program git does what a repository's
configuration says. Here files are read, of a bounded size, and nothing else.
Spec: gitrepository-layout(5), gitfile and `commondir` of linked work trees; buildx's util/gitutil for which
remote counts. Repositories with reftable are not read.
Trust: what is in `.git` is hostile; a value that is no commit, or no address, is left out.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from imagesmith.attest.redact import without_secrets
from imagesmith.context.git import is_commit, is_git_url
from imagesmith.values import frozen

__all__ = ["Worktree", "worktree_of"]

_SMALL, _LARGE = 1 << 16, 16 << 20
_REF = re.compile(r"ref: (refs/[^\s\x00-\x1f\x7f~^:?*\[\\]+)")
_SECTION = re.compile(r'\[\s*(\w+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]')


@frozen
class Worktree:
    """A work tree: the address of its remote and its commit, either perhaps empty; its folder."""

    source: str
    revision: str
    top: Path


def worktree_of(folder: Path) -> Worktree | None:
    """The work tree that a folder lies in, if any."""
    at = Path(os.path.abspath(folder))
    for top in (at, *at.parents):
        found = _repository(top)
        if found is not None:
            own, common = found
            head = _text(own / "HEAD", _SMALL).strip()
            ref = _REF.fullmatch(head)
            revision = _resolved(ref[1], own, common) if ref else head
            branch = ref[1].removeprefix("refs/heads/") if ref else ""
            return Worktree(_remote(common, branch), revision if is_commit(revision) else "", top)
    return None


def _repository(top: Path) -> tuple[Path, Path] | None:
    """The folder of a work tree's own files, and that of what work trees share."""
    git = top / ".git"
    if git.is_dir() and not git.is_symlink():
        return git, git
    pointer = _text(git, _SMALL)
    if not pointer.startswith("gitdir: "):
        return None
    own = top / pointer.removeprefix("gitdir: ").strip("\r\n")
    common = _text(own / "commondir", _SMALL).strip("\r\n")
    return own, own / common if common else own


def _resolved(ref: str, own: Path, common: Path) -> str:
    """The commit of a branch; empty if it has none yet."""
    if ".." in ref.split("/"):
        return ""
    for folder in (own, common):
        found = _text(folder / ref, _SMALL).strip()
        if found:
            return found
    for line in _text(common / "packed-refs", _LARGE).splitlines():
        commit, _, name = line.partition(" ")
        if name == ref:
            return commit
    return ""


def _remote(common: Path, branch: str) -> str:
    """The address that the branch is fetched from, or else origin's, or that of the first remote."""
    remotes: dict[str, str] = {}
    tracked, section, name = "", "", ""
    for line in _text(common / "config", _LARGE).splitlines():
        head = _SECTION.match(line.strip())
        if head is not None:
            section, name = head[1].lower(), head[2] or ""
        key, _, value = line.partition("=")
        if section == "remote" and key.strip().lower() == "url":
            remotes.setdefault(name, value.strip().strip('"'))
        elif section == "branch" and name == branch and key.strip().lower() == "remote":
            tracked = value.strip()
    names = [n for n in (tracked, "origin", *remotes) if n in remotes]
    address = remotes[names[0]] if names else ""
    is_address = re.match(r"https?://", address) is not None or is_git_url(address)
    return without_secrets(address) if is_address else ""


def _text(path: Path, most: int) -> str:
    """A small plain file; empty if there is none, or none of that size."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    with open(fd, "rb") as f:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        raw = f.read(most + 1)
    return raw.decode("utf-8", "replace") if len(raw) <= most else ""
