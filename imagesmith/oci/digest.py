"""Digests, and readers that verify while they read.

Spec: OCI image-spec 1.1, descriptor.md (digests); go-digest's rule for the registered algorithms.
Trust: every digest text may come from a registry; `Digest.parse` is the only door.
"""

from __future__ import annotations

import hashlib
import io
import re
from typing import BinaryIO

from imagesmith.errors import DigestMismatch, InvalidDocument
from imagesmith.values import frozen

__all__ = ["Digest", "VerifyingReader", "digest_bytes"]

_HEX_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


@frozen
class Digest:
    """An algorithm and a lower-case hexadecimal value; `str()` is the wire form `sha256:…`."""

    algorithm: str
    hex: str

    def __lt__(self, other: Digest) -> bool:
        return (self.algorithm, self.hex) < (other.algorithm, other.hex)

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `algorithm:hex`.

        Raises:
            InvalidDocument: unknown algorithm, wrong length or wrong alphabet.
        """
        algorithm, _, value = text.partition(":")
        length = _HEX_LENGTH.get(algorithm)
        if length is None:
            raise InvalidDocument(f"unsupported digest algorithm in {text[:100]!r}")
        if len(value) != length:
            raise InvalidDocument(f"invalid checksum digest length in {text[:200]!r}")
        if not _HEX.fullmatch(value):
            raise InvalidDocument(f"invalid checksum digest format in {text[:200]!r}")
        return cls(algorithm, value)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """What people are shown of it where there is little room: `sha256:0123456789ab…`."""
        return f"{self.algorithm}:{self.hex[:12]}…"


def digest_bytes(data: bytes, algorithm: str = "sha256") -> Digest:
    """The digest of bytes that are in memory."""
    return Digest(algorithm, hashlib.new(algorithm, data).hexdigest())


class VerifyingReader(io.RawIOBase):
    """Reads a stream of known size and digest, and fails at its end if either is another.

    Raises DigestMismatch from `read` as soon as more bytes come than promised, at the end of the stream,
    and from `finish` if the stream was not read to its end.
    """

    def __init__(self, source: BinaryIO, digest: Digest, size: int, what: str = "blob") -> None:
        super().__init__()
        self._source, self._digest, self._size, self._what = source, digest, size, what
        self._hash = hashlib.new(digest.algorithm)
        self._seen = 0
        self._ended = False

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes; empty at the verified end."""
        if self._ended:
            return b""
        want = 1 << 20 if size < 0 else size
        data = self._source.read(want)
        if data:
            self._seen += len(data)
            if self._seen > self._size:
                raise DigestMismatch(f"{self._what} {self._digest}: longer than its {self._size} bytes")
            self._hash.update(data)
            return data if size >= 0 else data + self.read(-1)
        if want:
            self._check()
        return b""

    def readinto(self, buffer: object) -> int:
        """Fill a buffer; for io.BufferedReader."""
        view = memoryview(buffer)  # type: ignore[arg-type]  # io.RawIOBase gives any writable buffer
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def finish(self) -> None:
        """Check that the stream was read to its end and is the promised one."""
        if not self._ended and self.read(1):
            raise DigestMismatch(f"{self._what} {self._digest}: not read to its end")

    def _check(self) -> None:
        self._ended = True
        if self._seen != self._size:
            raise DigestMismatch(f"{self._what} {self._digest}: {self._seen} bytes, expected {self._size}")
        if self._hash.hexdigest() != self._digest.hex:
            raise DigestMismatch(
                f"{self._what} {self._digest}: the content has digest "
                f"{self._digest.algorithm}:{self._hash.hexdigest()}"
            )
