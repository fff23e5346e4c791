"""How layers are compressed: in blocks that are made alike on every machine, by any number of threads.

Why: a blob's digest should not depend on the CPU or on how many cores there were. So input is cut into
fixed blocks, each compressed on its own: gzip as one member a block by libdeflate (whose output does not
depend on the CPU; several members are legal and every reader of layers takes them), zstd as one frame a
block.
Spec: RFC 1952 (gzip), RFC 8878 (zstd).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from imagesmith.errors import UsageError
from imagesmith.oci import mediatype as mt

__all__ = ["Codec"]

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


@dataclass(frozen=True, slots=True)
class Codec:
    """A compression: `name` gzip, zstd or uncompressed, and its level (-1: the default)."""

    name: str = "gzip"
    level: int = -1

    @classmethod
    def parse(cls, name: str, level: str = "") -> Codec:
        """Read the `compression` and `compression-level` options.

        Raises:
            UsageError: an unknown compression or a level that it does not have.
        """
        if name not in ("gzip", "zstd", "uncompressed"):
            raise UsageError(f"unsupported compression type {name}", hint="gzip, zstd and uncompressed are supported")
        if not level:
            return cls(name)
        top = {"gzip": 9, "zstd": 22, "uncompressed": -1}[name]
        if not level.isascii() or not level.isdigit() or int(level) > top:
            raise UsageError(f"compression-level {level} is not a level of {name} (0 to {top})")
        return cls(name, int(level))

    def __str__(self) -> str:
        return self.name if self.level < 0 else f"{self.name}-{self.level}"

    @property
    def block_bytes(self) -> int:
        """How much input makes one block."""
        return 4 << 20 if self.name == "zstd" else 1 << 20

    @property
    def media_type(self) -> str:
        """The OCI type of a layer so compressed."""
        return {"gzip": mt.OCI_LAYER_GZIP, "zstd": mt.OCI_LAYER_ZSTD, "uncompressed": mt.OCI_LAYER}[self.name]

    def compressor(self) -> Callable[[bytes], bytes]:
        """A function that compresses one block; it may be called from any thread, one call at a time."""
        if self.name == "uncompressed":
            return bytes
        if self.name == "zstd":
            import zstandard

            return zstandard.ZstdCompressor(level=3 if self.level < 0 else self.level, write_content_size=True).compress
        if self.level == 0:
            return lambda block: _member(zlib.compress(block, 0, -15), block)
        import deflate

        level = 1 if self.level < 0 else self.level
        return lambda block: _member(bytes(deflate.deflate_compress(block, level)), block)


def _member(body: bytes, block: bytes) -> bytes:
    """A gzip member with the header that Go writes: no name, no time, OS unknown."""
    trailer = zlib.crc32(block).to_bytes(4, "little") + (len(block) & 0xFFFFFFFF).to_bytes(4, "little")
    return _GZIP_HEADER + body + trailer
