"""A file at a URL, read to its end through broken connections: what ADD and contexts download.

Why: a server of files fails as a registry does, and is borne as one is: the same trust, proxies, retries and
limits of time. It is no registry, though: it gets no credentials, its challenges are not answered, and what
it has under an address may change between two tries, so that a part goes with one of the same ETag only.
Spec: RFC 9110, sections 13.1.5 (If-Range) and 14 (ranges).
Trust: the server may send anything; what it says of a part is held against what came before.
"""

from __future__ import annotations

import contextlib
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping

from imagesmith.errors import NetworkFault, RegistryError
from imagesmith.registry.answers import Answer
from imagesmith.registry.bodies import pieces
from imagesmith.registry.faults import Fault, shown
from imagesmith.registry.hosts import Hosts
from imagesmith.registry.proxies import Proxies
from imagesmith.registry.transport import Transport

__all__ = ["Begin", "read_file"]

#: Throws away what came so far, and gives what takes the bytes of the file from its first one on.
Begin = Callable[[], Callable[[bytes], object]]

#: A try that brought so much more than all before it was of use: counting begins anew.
_PROGRESS_BYTES = 64 << 10
_RANGE = re.compile(r"bytes (\d{1,18})-")


def read_file(
    url: str,
    begin: Begin,
    *,
    etag: str = "",
    hosts: Hosts | None = None,
    wait: Callable[[float], object] = time.sleep,
    tell: Callable[[str], None] = lambda _text: None,
) -> Mapping[str, str] | None:
    """Read a file, and return the headers that came with it; None if it still has the `etag`.

    Args:
        url: its address.
        begin: takes the file; called again where it must be read anew.
        etag: of what is known of it.
        hosts: has the authorities that are believed besides; by default those of this machine.
        wait: sleeps between tries; True if nobody waits for the file any more.
        tell: is told what is waited for, and how long.

    Raises:
        NetworkFault: no address, no answer, or none to its end, also after the retries.
        RegistryError: a status that is not 2xx, or a file of certificates that cannot be used.
    """
    parts = _split(url)
    endpoint = (hosts or Hosts()).of_files(parts.scheme, parts.netloc.rpartition("@")[2])
    transport = Transport(endpoint, proxy=Proxies().proxy_for, wait=wait, tell=tell, files=True)
    with contextlib.closing(transport):
        return _File(transport, url, begin).read(etag)


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError as e:
        raise Fault(f"{shown(url)}: not a usable address: {e}", tries=1) from e
    return parts


class _File:
    """A file being read: where it is, and of which state."""

    def __init__(self, transport: Transport, url: str, begin: Begin) -> None:
        self._transport, self._url, self._begin = transport, url, begin
        self._write: Callable[[bytes], object] = len  # until a file comes
        self._at, self._state = 0, ""  # of the bytes that came; the ETag by which the rest is asked for
        self._headers: Mapping[str, str] | None = None

    def read(self, etag: str) -> Mapping[str, str] | None:
        """Read it; see `read_file`."""
        tries, most = 0, 0
        while True:
            rest = self._at > 0 and bool(self._state)
            asked = {"Range": f"bytes={self._at}-", "If-Range": self._state} if rest else {}
            if etag and not rest:
                asked["If-None-Match"] = etag
            with self._transport.open("GET", self._url, headers=asked) as r:
                if r.status_code == 304 and etag and not rest:
                    return None
                if rest and not (r.status_code == 206 and self._goes_on(r)) and r.status_code in (206, 416):
                    self._state = ""  # this answer is of no use: the next request is for all of it
                    continue
                if not r.is_success:
                    where = shown(r.url)
                    raise RegistryError(
                        f"invalid response status {r.status_code} of {where}", status=r.status_code
                    )
                if r.status_code != 206 or not rest:
                    self._start(r)
                try:
                    return self._take(r)
                except NetworkFault as e:
                    failure = e
            tries = 1 if self._at - most >= _PROGRESS_BYTES else tries + 1
            most = max(most, self._at)
            if not self._transport.again(tries, failure):
                raise failure

    def _start(self, r: Answer) -> None:
        """Take a file from its first byte on."""
        state = r.headers.get("etag", "")
        self._write, self._at, self._headers = self._begin(), 0, r.headers
        self._state = state if state.startswith('"') else ""  # a weak one says nothing of bytes

    def _goes_on(self, r: Answer) -> bool:
        """True if an answer is the rest of what came before."""
        match = _RANGE.match(r.headers.get("content-range", ""))
        return (
            match is not None
            and int(match[1]) == self._at
            and r.headers.get("etag", self._state) == self._state
        )

    def _take(self, r: Answer) -> Mapping[str, str]:
        for piece in pieces(r):
            self._write(piece)
            self._at += len(piece)
        assert self._headers is not None
        return self._headers
