"""The folder that a registry serves: content by digest, as in an OCI layout, and who has what of it.

    blobs/<algorithm>/<hex>                              blobs and manifests, once for all repositories
    repositories/<name>/_blobs/<algorithm>/<hex>         empty: the repository has this blob
    repositories/<name>/_manifests/<algorithm>/<hex>     the manifest's media type
    repositories/<name>/_tags/<tag>                      a digest
    repositories/<name>/_referrers/<subject>/<digest>    a descriptor, as the referrers API answers it
    uploads/                                             what is not yet complete; emptied at the start

Why: a name's components never begin with `_`, so names and records cannot meet. Files appear by rename, so
a reader needs no lock and a crash leaves only files in `uploads`.
Trust: names, tags and digests are checked by their patterns before they become paths (`api` parses them).
The folder may come from somebody else: it may hold no link, which is looked at before anything else.
Threads: all methods may be called from any. One process serves a folder, by the lock on it.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from imagesmith.errors import InvalidDocument, LockTimeout, StoreError
from imagesmith.fs.atomic import put_whole
from imagesmith.oci.digest import Digest
from imagesmith.values import frozen

__all__ = ["NAME", "TAG", "Storage", "StoredManifest"]

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
NAME = re.compile(rf"(?=.{{1,255}}\Z){_COMPONENT}(?:/{_COMPONENT})*")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


@frozen
class StoredManifest:
    """A manifest of a repository: what it is called and what it is served as."""

    digest: Digest
    media_type: str


class Storage:
    """Content and repositories below a folder.

    Raises:
        StoreError: the folder cannot be made or written, or there is a link in it.
        LockTimeout: another process serves it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.uploads = self.root / "uploads"
        try:
            _refuse_links(self.root)
            for folder in ("blobs/sha256", "repositories", "uploads"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            self._lock = open(self.root / "lock", "ab")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in self.uploads.iterdir():
                left.unlink()
        except BlockingIOError as e:
            self._lock.close()
            raise LockTimeout(
                f"{root} is served by another registry", hint="stop it first, or choose another --dir"
            ) from e
        except OSError as e:
            raise StoreError(f"cannot use {e.filename or root} as a registry's folder: {e.strerror}") from e

    def close(self) -> None:
        """Let the folder go."""
        self._lock.close()

    # content

    def content(self, digest: Digest) -> Path:
        """Where the bytes of a digest are, if they are."""
        return self.root / "blobs" / digest.algorithm / digest.hex

    def open(self, digest: Digest) -> tuple[BinaryIO, int] | None:
        """The open content of a digest and its size; None where it is gone."""
        try:
            file = open(self.content(digest), "rb")
        except FileNotFoundError:
            return None
        return file, os.fstat(file.fileno()).st_size

    def adopt(self, temporary: Path, digest: Digest) -> None:
        """Make a complete, synced and verified file the content of a digest."""
        path = self.content(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)

    def write(self, path: Path, data: bytes) -> None:
        """Write a small file so that others see all of it or nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        put_whole(path, data, mode=0o644, inside=self.uploads)

    # blobs of repositories

    def _entry(self, name: str, kind: str, digest: Digest) -> Path:
        return self.root / "repositories" / name / kind / digest.algorithm / digest.hex

    def has_blob(self, name: str, digest: Digest) -> bool:
        """Whether a repository has a blob."""
        return self._entry(name, "_blobs", digest).exists() and self.content(digest).exists()

    def link_blob(self, name: str, digest: Digest) -> None:
        """Give a repository a blob whose content is there."""
        entry = self._entry(name, "_blobs", digest)
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.touch()

    def unlink_blob(self, name: str, digest: Digest) -> bool:
        """Take a blob from a repository; False where it has none such."""
        try:
            self._entry(name, "_blobs", digest).unlink()
        except FileNotFoundError:
            return False
        return True

    def holder(self, digest: Digest) -> bool:
        """Whether any repository has the blob."""
        return any(self.has_blob(name, digest) for name in self.repositories())

    def blobs(self, name: str) -> Iterator[Digest]:
        """The blobs of a repository."""
        yield from _digests(self.root / "repositories" / name / "_blobs")

    def contents(self) -> Iterator[Digest]:
        """Everything whose bytes are here."""
        yield from _digests(self.root / "blobs")

    # manifests and tags

    def manifest(self, name: str, reference: str | Digest) -> StoredManifest | None:
        """The manifest of a tag or a digest."""
        if isinstance(reference, str):
            try:
                reference = Digest.parse((self._tags(name) / reference).read_text())
            except (FileNotFoundError, InvalidDocument):
                return None
        try:
            media_type = self._entry(name, "_manifests", reference).read_text()
        except FileNotFoundError:
            return None
        return StoredManifest(reference, media_type)

    def put_manifest(self, name: str, digest: Digest, raw: bytes, media_type: str) -> None:
        """Keep a verified manifest."""
        self.write(self.content(digest), raw)
        self.write(self._entry(name, "_manifests", digest), media_type.encode())

    def put_tag(self, name: str, tag: str, digest: Digest) -> None:
        """Point a tag at a manifest."""
        self.write(self._tags(name) / tag, str(digest).encode())

    def delete_manifest(self, name: str, digest: Digest) -> bool:
        """Forget a manifest, the tags that point to it and its place among referrers."""
        try:
            self._entry(name, "_manifests", digest).unlink()
        except FileNotFoundError:
            return False
        for tag in self.tags(name) or ():
            path = self._tags(name) / tag
            if path.read_text() == str(digest):
                path.unlink(missing_ok=True)
        for entry in self._referrers(name).glob(f"*/{_flat(digest)}"):
            entry.unlink(missing_ok=True)
        return True

    def delete_tag(self, name: str, tag: str) -> bool:
        """Forget a tag; False where there is none."""
        try:
            (self._tags(name) / tag).unlink()
        except FileNotFoundError:
            return False
        return True

    def _tags(self, name: str) -> Path:
        return self.root / "repositories" / name / "_tags"

    def tags(self, name: str) -> list[str] | None:
        """The tags of a repository in the order of their bytes; None where it has no manifest at all."""
        if not (self.root / "repositories" / name / "_manifests").is_dir():
            return None
        try:
            return sorted(os.listdir(self._tags(name)))
        except FileNotFoundError:
            return []

    def manifests(self, name: str) -> Iterator[StoredManifest]:
        """All manifests of a repository."""
        for digest in _digests(self.root / "repositories" / name / "_manifests"):
            if found := self.manifest(name, digest):
                yield found

    def repositories(self) -> list[str]:
        """The names of all repositories, sorted."""
        top, out = self.root / "repositories", []
        for folder, names, _ in os.walk(top):
            if "_manifests" in names or "_blobs" in names:
                out.append(os.path.relpath(folder, top))
            names[:] = [n for n in names if not n.startswith("_")]
        return sorted(out)

    # referrers

    def _referrers(self, name: str) -> Path:
        return self.root / "repositories" / name / "_referrers"

    def put_referrer(self, name: str, subject: Digest, digest: Digest, descriptor: bytes) -> None:
        """Record that a manifest refers to a subject."""
        self.write(self._referrers(name) / _flat(subject) / _flat(digest), descriptor)

    def referrers(self, name: str, subject: Digest) -> Iterator[tuple[str, bytes]]:
        """The referrers of a subject: a sortable key and the descriptor of each."""
        folder = self._referrers(name) / _flat(subject)
        try:
            keys = sorted(os.listdir(folder))
        except FileNotFoundError:
            return
        for key in keys:
            try:
                yield key, (folder / key).read_bytes()
            except FileNotFoundError:  # deleted since the listing
                continue


def _refuse_links(root: Path) -> None:
    """Refuse a folder that has a link somewhere: it could lead out of the folder."""
    todo = [str(root)] if root.is_dir() else []
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise StoreError(
                        f"{entry.path} is a link, which a registry's folder may not have",
                        hint="remove it, or choose another --dir",
                    )
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)


def _flat(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}"


def _digests(folder: Path) -> Iterator[Digest]:
    """The digests that a folder's `<algorithm>/<hex>` files stand for."""
    for path in sorted(folder.glob("*/*")):
        yield Digest(path.parent.name, path.name)
