"""Reading a blob from a registry to its verified end, through broken connections and several mirrors.

Why: a cut connection costs what was in flight and no more: the next request asks for the rest. A reader that
fails without a byte of progress a few times gives way to the next.
Spec: OCI distribution-spec 1.1, "Pulling blobs"; RFC 9110 for ranges.
Trust: lengths and contents are checked here; nothing of a blob longer than its descriptor says is passed on.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence

from imagesmith.errors import DigestMismatch, NetworkFault, NotFound, RegistryError
from imagesmith.oci.model import Descriptor
from imagesmith.registry.client import Client
from imagesmith.registry.faults import all_told

__all__ = ["blob_pieces"]

_log = logging.getLogger(__name__)

#: A try that brought so many bytes, or a hundredth of the blob, was of use: counting begins anew.
_PROGRESS_BYTES = 64 << 10


def blob_pieces(
    readers: Sequence[Client], d: Descriptor, offset: int = 0, *, checked: bool = True
) -> Iterator[bytes]:
    """The bytes of a blob from an offset on; digest and size are checked at the end (size alone for a part).

    Without `checked` the digest is left to the caller, who works it out anyway.

    Raises:
        NotFound: no reader has it.
        DigestMismatch: it is not what the descriptor says.
        NetworkFault: no reader could send it to its end.
    """
    stream = _Stream(d, offset, checked=checked)
    failures: list[RegistryError] = []
    for client in readers:
        tries = 0
        while True:
            before = stream.at
            try:
                yield from stream.read(client)
                return
            except NetworkFault as e:
                if stream.is_whole():  # it broke after the last byte: asking for more would be a 416
                    return
                useful = stream.at - before >= min(_PROGRESS_BYTES, d.size // 100 + 1)
                tries = 1 if useful else tries + 1
                _log.debug("%s@%s: %s; going on at byte %d", client.name, d.digest, e, stream.at)
                if not client.transport.again(tries, e):
                    failures.append(e)
                    break
            except RegistryError as e:
                # a mirror's word counts less than that of the registry, which is asked last
                failures.append(e)
                break
    if not failures:
        raise NotFound(f"blob {d.digest}: nowhere to read it from")
    raise all_told(failures)


class _Stream:
    """A blob being read: where it is, and the digest so far."""

    def __init__(self, d: Descriptor, offset: int, *, checked: bool) -> None:
        self._d, self.at = d, offset
        self._hash = hashlib.new(d.digest.algorithm) if checked and offset == 0 else None

    def read(self, client: Client) -> Iterator[bytes]:
        """The rest of it from one reader."""
        d = self._d
        with client.get_blob(d.digest, self.at, d.size) as (start, data):
            skip = self.at - start
            for part in data:
                piece = part
                if skip:
                    skip, piece = max(0, skip - len(piece)), piece[skip:]
                    if not piece:
                        continue
                self.at += len(piece)
                if self.at > d.size:
                    raise DigestMismatch(f"{client.name}@{d.digest}: longer than its {d.size} bytes")
                if self._hash is not None:
                    self._hash.update(piece)
                yield piece
        if self.at < d.size:
            raise NetworkFault(f"{client.name}@{d.digest}: ended after {self.at} of {d.size} bytes")
        self._check(client.name)

    def is_whole(self) -> bool:
        """Whether all bytes came; their digest is checked then."""
        if self.at < self._d.size or not self.at:
            return False
        self._check("blob")
        return True

    def _check(self, where: str) -> None:
        if self._hash is not None and self._hash.hexdigest() != self._d.digest.hex:
            found = f"{self._d.digest.algorithm}:{self._hash.hexdigest()}"
            raise DigestMismatch(f"{where}@{self._d.digest}: the content has digest {found}")
