"""A layer's uncompressed tar while it is read or written: hashed, and kept in a form (store/layers.py).

Trust: the bytes are hostile; nothing of them is looked at here, and EROFS is told its structure by the index.
Threads: each belongs to one.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

from imagesmith.fs.view import LayerIndex
from imagesmith.oci.digest import Digest
from imagesmith.store.disk import Arrivals

__all__ = ["Form", "NewTar", "Tee"]

#: How a layer's bytes are kept beside its blob: not at all, as they are, or so that the kernel mounts them.
Form = Literal["", "tar", "erofs"]


class NewTar:
    """A layer's uncompressed tar on its way, in one of its forms; becomes it by `keep`, nothing otherwise."""

    def __init__(self, arrivals: Arrivals, form: Form) -> None:
        from imagesmith.store.indexfile import Temporary

        self._form, self._out, self.size = form, Temporary(arrivals), 0
        if form == "erofs":
            from imagesmith.layer.erofs import TAR_AT

            self._out.file.write(bytes(TAR_AT))

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._out.file.write(data)
        self.size += len(data)

    def keep(self, folder: Path, index: Callable[[], LayerIndex]) -> None:
        """All bytes are there: put it into the layer's folder, unless the layer has to be extracted."""
        if self._form == "erofs":
            from imagesmith.layer.erofs import NotRepresentable, write_erofs

            try:
                uuid = bytes.fromhex(folder.name)[:16]  # of the diff_id
                write_erofs(index(), self._out.file, self.size, uuid)
            except NotRepresentable:
                return
        self._out.keep(folder / self._form)

    def __enter__(self) -> NewTar:
        return self

    def __exit__(self, *what: object) -> None:
        self._out.__exit__(*what)


class Tee(io.RawIOBase):
    """Reads a stream in large pieces, hashes each, and copies it to a file."""

    def __init__(self, source: BinaryIO, copy: NewTar | None, algorithm: str) -> None:
        super().__init__()
        self._source, self._copy, self._hash = source, copy, hashlib.new(algorithm)
        self._piece, self._at = b"", 0

    def readable(self) -> bool:
        """True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes of the stream; nothing at its end."""
        if self._at == len(self._piece):
            self._next()
        at = self._at
        self._at = len(self._piece) if size < 0 else min(at + size, len(self._piece))
        return self._piece[at : self._at]

    def _next(self) -> bool:
        self._piece, self._at = self._source.read(1 << 18), 0
        self._hash.update(self._piece)
        if self._copy is not None:
            self._copy.write(self._piece)
        return bool(self._piece)

    def drain(self) -> None:
        """Read what is left."""
        while self._next():
            pass

    def digest(self) -> Digest:
        """The digest of all that was read."""
        return Digest(self._hash.name, self._hash.hexdigest())
