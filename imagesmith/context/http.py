"""Files from URLs: downloaded once, checked, and kept as blobs of the store.

Spec: BuildKit's source/http (the name is the URL's last element, the time is Last-Modified, the mode 0600).
Trust: the server may send anything: registry/files.py reads it, and the digest is checked where one is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import BinaryIO, Self

from imagesmith.errors import ContextError, DockerfileError, RegistryError
from imagesmith.oci.digest import Digest
from imagesmith.settings import Access
from imagesmith.store.blobs import BlobWriter
from imagesmith.store.store import Store
from imagesmith.values import frozen

__all__ = ["Download", "fetch_url"]


@frozen
class Download:
    """A file that was fetched, as a content of the store."""

    store: Store
    digest: Digest
    size: int
    mtime_ns: int

    def open(self) -> BinaryIO:
        """Open its bytes."""
        return self.store.blobs.open(self.digest)


def fetch_url(
    url: str,
    store: Store,
    checksum: str = "",
    *,
    access: Access | None = None,
    wait: Callable[[float], object] = time.sleep,
    tell: Callable[[str], None] = lambda _text: None,
) -> Download:
    """Download a URL into the store, or learn that it has not changed.

    Args:
        url: the address.
        store: takes the file, and remembers its ETag.
        checksum: the digest that it must have; empty for any.
        access: whose folder of certificates is believed besides.
        wait: sleeps between tries; True if nobody waits for the file any more.
        tell: is told what is waited for, and how long.

    Raises:
        ContextError: no URL, no connection, or a status that is not 2xx.
        DockerfileError: the content has another digest than `checksum`.
    """
    from imagesmith.registry.files import read_file
    from imagesmith.registry.hosts import hosts_of

    known = store.cache.fetch(url)
    if known is not None and not store.blobs.has(Digest.parse(str(known["digest"]))):
        known = None
    etag = "" if known is None else str(known.get("etag") or "")
    with _Blob(store) as blob:
        try:
            hosts = hosts_of(access or Access())
            headers = read_file(url, blob.begin, etag=etag, hosts=hosts, wait=wait, tell=tell)
        except RegistryError as e:
            what = "failed to load cache key:" if e.status else "failed to load"  # the former is BuildKit's
            raise ContextError(f"{what} {e.message}", hint=_hint(e.hint)) from e
        if headers is None:
            assert known is not None  # the server was asked with its ETag
            digest = Digest.parse(str(known["digest"]))
            found = Download(store, digest, store.blobs.size(digest), int(str(known["mtime_ns"])))
        else:
            digest, size = blob.commit()
            found = Download(store, digest, size, _time(headers.get("last-modified", "")))
            record = {"digest": str(digest), "mtime_ns": found.mtime_ns, "etag": headers.get("etag", "")}
            store.cache.put_fetch(url, record)
    if checksum and Digest.parse(checksum) != found.digest:
        raise DockerfileError(
            f"digest mismatch {found.digest}: {checksum}", hint=f"{url} is not the file that was expected"
        )
    return found


class _Blob:
    """A blob that may be begun anew."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writer: BlobWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.abort()

    def begin(self) -> Callable[[bytes], object]:
        """Throw away what was written, and take another."""
        self.__exit__()
        self._writer = self._store.blobs.writer()
        return self._writer.write

    def commit(self) -> tuple[Digest, int]:
        """Keep it; its digest and size."""
        assert self._writer is not None
        return self._writer.commit()


def _hint(text: str) -> str:
    """What to do, where the flags that are for registries do not count."""
    return (
        text.partition(", or give --insecure")[0]
        if "certs.d" in text
        else ""
        if "--insecure" in text
        else text
    )


def _time(text: str) -> int:
    try:
        import email.utils

        return int(email.utils.parsedate_to_datetime(text).timestamp()) * 1_000_000_000
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0
