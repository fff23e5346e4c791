"""Parts of files: one as a file of its own, bytes that must all be there, pieces that are searched.

Why: what is looked into lies in a layer's tar, or in an archive in that; readers of formats see a file that
begins where theirs does and ends with it.
Trust: hostile. Numbers come from what is read; a place outside the part is ValueError, never another's bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

__all__ = ["Part", "exactly", "pieces"]

_PIECE_BYTES = 4 << 20


class Part(io.RawIOBase):
    """The bytes of a file from a place on; others may read the file as well, unless it `owns` that."""

    def __init__(self, inner: BinaryIO, begin: int, size: int, *, owns: bool = False) -> None:
        super().__init__()
        self._inner, self._begin, self._size, self._owns = inner, begin, size, owns
        self._at = 0

    def readable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def seekable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """See io.RawIOBase."""
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at < 0:
            raise ValueError(f"negative place {at} in a file")
        self._at = at
        return at

    def tell(self) -> int:
        """See io.RawIOBase."""
        return self._at

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - whatever has room
        """See io.RawIOBase."""
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        self._inner.seek(self._begin + self._at)
        data = self._inner.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """See io.RawIOBase."""
        if self._owns and not self.closed:
            self._inner.close()
        super().close()


def exactly(file: BinaryIO, size: int, offset: int, length: int, what: str) -> bytes:
    """So many bytes of a file of a size (bytes), from an offset on; `what` it is says the error.

    Raises:
        ValueError: they are not in it.
    """
    if offset < 0 or length < 0 or offset + length > size:
        raise ValueError(f"{what} whose {length} bytes at {offset} are outside")
    file.seek(offset)
    data = file.read(length)
    if len(data) != length:
        raise ValueError(f"{what} that ends early")
    return data


def pieces(file: BinaryIO, shared_bytes: int) -> Iterator[bytes]:
    """The rest of a file in pieces, each of which begins with so many bytes of the one before."""
    tail = b""
    while data := file.read(_PIECE_BYTES):
        piece = tail + data
        yield piece
        tail = piece[-shared_bytes:]
