"""Files from URLs: downloaded once, checked, and kept as blobs of the store.

Spec: BuildKit's source/http (the name is the URL's last element, the time is Last-Modified, the mode 0600).
Trust: the server may send anything: the status is looked at, the digest is checked where one is given, and
redirects are followed ten times at most, never from https to http.
Imports of the network's side are late: every build asks here whether a word is an address.
"""

from __future__ import annotations

import contextlib
import posixpath
import urllib.parse
from typing import TYPE_CHECKING, BinaryIO, Self

from imagesmith.errors import ContextError, DockerfileError
from imagesmith.oci.digest import Digest
from imagesmith.store.store import Store
from imagesmith.values import frozen

if TYPE_CHECKING:
    import httpx

__all__ = ["Download", "fetch_url", "file_name_of"]

_MAX_REDIRECTS = 10


def file_name_of(url: str) -> str:
    """The name under which a URL's file is kept.

    Raises:
        ContextError: it is no URL.
    """
    try:
        path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    except ValueError as e:
        raise ContextError(f"failed to load {url}: {e}") from e
    name = posixpath.basename(path)
    return name if name not in ("", ".", "..") else "__unnamed__"


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


def fetch_url(url: str, store: Store, checksum: str = "") -> Download:
    """Download a URL into the store, or learn that it has not changed.

    Raises:
        ContextError: no URL, no connection, or a status that is not 2xx.
        DockerfileError: the content has another digest than `checksum`.
    """
    import httpx

    known = store.cache.fetch(url)
    headers = {"Accept-Encoding": "identity", "User-Agent": "imagesmith"}
    if known is not None and store.blobs.has(Digest.parse(str(known["digest"]))) and known.get("etag"):
        headers["If-None-Match"] = str(known["etag"])
    clients = _Clients()
    try:
        with clients:
            found = _get(clients, url, headers, store, known)
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        from imagesmith.registry.faults import network_fault

        fault = network_fault(e, url, clients.proxy)
        raise ContextError(f"failed to load {fault.message}", hint=fault.hint) from e
    if checksum and Digest.parse(checksum) != found.digest:
        raise DockerfileError(f"digest mismatch {found.digest}: {checksum}")
    return found


class _Clients:
    """A client for each proxy that an address, or one it leads to, goes through."""

    def __init__(self) -> None:
        from imagesmith.registry.proxies import Proxies

        self._proxies, self._stack = Proxies(), contextlib.ExitStack()
        self._made: dict[tuple[bool, str | None], httpx.Client] = {}
        self.proxy: str | None = None  # the last one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def client(self, url: str) -> httpx.Client:
        """The client for an address."""
        import httpx

        from imagesmith.registry.patience import patient
        from imagesmith.registry.tls import trusting

        self.proxy, https = self._proxies.proxy_for(url), url.startswith("https:")
        if (https, self.proxy) not in self._made:
            client = httpx.Client(
                timeout=httpx.Timeout(60.0, connect=20.0),
                verify=trusting() if https else False,
                trust_env=False,  # of what it reads, proxies.py makes better errors
                proxy=self.proxy,
            )
            self._made[https, self.proxy] = self._stack.enter_context(patient(client))
        return self._made[https, self.proxy]


def _get(
    clients: _Clients, url: str, headers: dict[str, str], store: Store, known: dict[str, object] | None
) -> Download:
    import httpx

    at = httpx.URL(url)
    for _ in range(_MAX_REDIRECTS):
        with clients.client(str(at)).stream("GET", at, headers=headers) as r:
            if r.is_redirect and "location" in r.headers:
                target = at.join(r.headers["location"])
                if at.scheme == "https" and target.scheme != "https":
                    raise ContextError(f"{url}: redirected from https to {target.scheme}, refused")
                at = target
                continue
            if r.status_code == 304 and known is not None:
                digest = Digest.parse(str(known["digest"]))
                return Download(store, digest, store.blobs.size(digest), int(str(known["mtime_ns"])))
            if not r.is_success:
                raise ContextError(f"failed to load cache key: invalid response status {r.status_code}")
            with store.blobs.writer() as blob:
                for chunk in r.iter_raw(1 << 20):
                    blob.write(chunk)
                digest, size = blob.commit()
            mtime_ns = _time(r.headers.get("last-modified", ""))
            record = {"digest": str(digest), "mtime_ns": mtime_ns, "etag": r.headers.get("etag", "")}
            store.cache.put_fetch(url, record)
            return Download(store, digest, size, mtime_ns)
    raise ContextError(f"{url}: more than {_MAX_REDIRECTS} redirects")


def _time(text: str) -> int:
    try:
        import email.utils

        return int(email.utils.parsedate_to_datetime(text).timestamp()) * 1_000_000_000
    except (TypeError, ValueError):
        return 0
