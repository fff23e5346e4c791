"""How layers are compressed: in blocks that come out alike on every machine, by any number of threads.

Why: a blob's digest should not depend on the CPU or on how many cores there were. So input is cut into
fixed blocks, each compressed on its own: gzip as one member a block by libdeflate, whose output does not
depend on the CPU (several members are legal, and every reader of layers takes them); zstd as one frame a
block. libdeflate's level 1 is twice as fast as zlib's and 3 % larger than what BuildKit's default makes. A
block whose samples do not shrink is stored as it is: much of what is in large layers, models and archives, is
packed already, and to look for matches in it takes as long as in text.
Members stay at 1 MiB: a reader that decompresses in one call may copy all that is left after each (Python's
gzip.decompress takes 33 s of CPU for 200 of them, streamed 0.7 s), but with two threads members of 4 MiB take
31 MiB of memory instead of 8 and still are many. One member of all blocks would have to begin each where the
bits of the last one end, with its mark of the end cleared, and libdeflate tells neither place; zlib, which
can flush, is half as fast.
Spec: RFC 1952 (gzip), RFC 8878 (zstd).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from imagesmith.errors import UsageError
from imagesmith.oci import mediatype as mt
from imagesmith.values import frozen

__all__ = ["Codec"]

#: Bytes of a sample, and their number in a block.
_SAMPLE, _SAMPLES = 1 << 14, 6


@frozen
class _Kind:
    """What is fixed for a compression; `top` is its highest level, -1 where it has none."""

    block_bytes: int
    level: int
    top: int
    media_type: str


_KINDS = {
    "gzip": _Kind(1 << 20, 1, 9, mt.OCI_LAYER_GZIP),
    "zstd": _Kind(4 << 20, 3, 22, mt.OCI_LAYER_ZSTD),
    "estargz": _Kind(1 << 20, 1, 9, mt.OCI_LAYER_GZIP),
    "uncompressed": _Kind(1 << 20, -1, -1, mt.OCI_LAYER),
}


@frozen
class Codec:
    """A compression: `name` is gzip, zstd, estargz or uncompressed; `level` -1 stands for the default."""

    name: str = "gzip"
    level: int = -1

    @classmethod
    def parse(cls, name: str, level: str = "") -> Codec:
        """Read the `compression` and `compression-level` options.

        Raises:
            UsageError: an unknown compression or a level that it does not have.
        """
        kind = _KINDS.get(name)
        if kind is None:
            raise UsageError(
                f"unsupported compression type {name}", hint=f"{', '.join(sorted(_KINDS))} are supported"
            )
        if not level:
            return cls(name)
        if kind.top < 0:
            raise UsageError(f"compression-level: {name} has no levels")
        if not (level.isascii() and level.isdigit() and len(level) < 3 and int(level) <= kind.top):
            raise UsageError(f"compression-level {level} is not a level of {name} (0 to {kind.top})")
        return cls(name, int(level))

    def __str__(self) -> str:
        return self.name if self.level < 0 else f"{self.name}-{self.level}"

    @property
    def block_bytes(self) -> int:
        """How much input makes one block."""
        return _KINDS[self.name].block_bytes

    @property
    def media_type(self) -> str:
        """The OCI type of a layer so compressed."""
        return _KINDS[self.name].media_type

    @property
    def is_plain(self) -> bool:
        """True if the output is the input."""
        return self.name == "uncompressed"

    @property
    def is_estargz(self) -> bool:
        """True if it adds files to the tar (layer/estargz.py): it is made of layers that are finished."""
        return self.name == "estargz"

    @property
    def only_oci(self) -> bool:
        """True if layers so compressed have no place in images of Docker's media types."""
        return self.name in ("zstd", "estargz")

    def compressor(self) -> Callable[[bytes], bytes]:
        """A function that compresses one block; each thread needs its own."""
        if self.is_plain:
            return bytes
        level = _KINDS[self.name].level if self.level < 0 else self.level
        return _zstd(level) if self.name == "zstd" else _gzip(level)


def _zstd(level: int) -> Callable[[bytes], bytes]:
    """Frames with a checksum: a damaged layer fails where the damage is, not at its digest."""
    import zstandard

    return zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True).compress


def _gzip(level: int) -> Callable[[bytes], bytes]:
    """One member a block."""
    import deflate

    from imagesmith.layer.decompress import GZIP_HEADER

    def compress(block: bytes) -> bytes:
        packed = level == 0 or (level == 1 and _is_packed(block, deflate.deflate_compress))
        body = _stored(block) if packed else [deflate.deflate_compress(block, level)]
        trailer = deflate.crc32(block).to_bytes(4, "little") + len(block).to_bytes(4, "little")
        return b"".join((GZIP_HEADER, *body, trailer))

    return compress


def _is_packed(block: bytes, compress: Callable[[bytes, int], bytes | bytearray]) -> bool:
    """True if no sample of a large block shrinks by a fiftieth."""
    if len(block) < 16 * _SAMPLE:
        return False
    step = len(block) // _SAMPLES
    samples = (block[at : at + _SAMPLE] for at in range(step // 2, len(block) - _SAMPLE, step))
    return all(len(compress(sample, 1)) > _SAMPLE - _SAMPLE // 50 for sample in samples)


def _stored(block: bytes) -> list[bytes | memoryview]:
    """The pieces of a deflate stream that holds the bytes as they are."""
    parts: list[bytes | memoryview] = []
    whole = memoryview(block)
    for at in range(0, len(block) or 1, 0xFFFF):
        piece = whole[at : at + 0xFFFF]
        last = at + 0xFFFF >= len(block)
        parts += [struct.pack("<BHH", last, len(piece), len(piece) ^ 0xFFFF), piece]
    return parts
