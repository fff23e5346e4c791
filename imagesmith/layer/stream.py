"""Compress a tar stream and hash it on both sides, in one pass and on several threads.

Why: hashing and compressing release the interpreter's lock, so one thread builds the tar while others work
on its blocks. Blocks are compressed in any order and written in theirs, so the bytes do not depend on the
number of threads. Queues are bounded: memory stays at a few blocks however large the layer is.
Spec: OCI image-spec 1.1, layer.md (media types), config.md (diff_ids).
Threads: a LayerStream is written by one thread; its workers are its own.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from imagesmith.layer.codecs import Codec
from imagesmith.oci.digest import Digest

__all__ = ["LayerResult", "LayerStream", "Sink"]

_AHEAD = 4


class Sink(Protocol):
    """Takes the compressed bytes in order."""

    def write(self, data: bytes, /) -> object:
        """Append bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResult:
    """A finished layer. Sizes are in bytes."""

    diff_id: Digest
    digest: Digest
    size: int
    uncompressed_size: int
    media_type: str


class LayerStream:
    """Bytes of a tar in, compressed blob out to `sink`, digests of both at the end."""

    def __init__(
        self, codec: Codec, sink: Sink, workers: int = 2, on_compressed: Callable[[bytes], None] | None = None
    ) -> None:
        self._codec, self._sink, self._on_compressed = codec, sink, on_compressed
        self._pool = ThreadPoolExecutor(max(1, workers), "compress")
        self._local = threading.local()
        self._hash, self._out = hashlib.sha256(), hashlib.sha256()
        self._in_size = self._out_size = 0
        self._parts: list[bytes] = []
        self._held = 0
        self._hashing: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._writing: queue.Queue[Future[bytes] | None] = queue.Queue(_AHEAD + workers)
        self._failure: BaseException | None = None
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._hash_all, self._write_all)]
        for thread in self._threads:
            thread.start()

    def write(self, data: bytes) -> None:
        """Append bytes of the tar."""
        self._parts.append(data)
        self._held += len(data)
        block = self._codec.block_bytes
        if self._held >= block:
            whole = b"".join(self._parts)
            cut = len(whole) - len(whole) % block
            for at in range(0, cut, block):
                self._submit(whole[at : at + block])
            rest = whole[cut:]
            self._parts, self._held = ([rest] if rest else []), len(rest)

    def finish(self) -> LayerResult:
        """End the stream and wait for everything.

        Raises:
            BaseException: whatever the sink raised.
        """
        if self._held or not self._in_size:
            self._submit(b"".join(self._parts))
        self._join()
        if self._failure is not None:
            raise self._failure
        return LayerResult(
            diff_id=Digest("sha256", self._hash.hexdigest()),
            digest=Digest("sha256", self._out.hexdigest()),
            size=self._out_size,
            uncompressed_size=self._in_size,
            media_type=self._codec.media_type,
        )

    def abort(self) -> None:
        """Stop the workers; what was written is the sink's to throw away."""
        self._failure = self._failure or InterruptedError()
        self._join()

    def _join(self) -> None:
        self._hashing.put(None)
        self._writing.put(None)
        for thread in self._threads:
            thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, block: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        self._in_size += len(block)
        self._hashing.put(block)
        self._writing.put(self._pool.submit(self._compress, block))

    def _compress(self, block: bytes) -> bytes:
        compress: Callable[[bytes], bytes] | None = getattr(self._local, "compress", None)
        if compress is None:
            compress = self._local.compress = self._codec.compressor()
        return compress(block)

    def _hash_all(self) -> None:
        while (block := self._hashing.get()) is not None:
            self._hash.update(block)

    def _write_all(self) -> None:
        while (future := self._writing.get()) is not None:
            if self._failure is not None:
                continue
            try:
                data = future.result()
                self._out.update(data)
                self._out_size += len(data)
                self._sink.write(data)
                if self._on_compressed is not None:
                    self._on_compressed(data)
            except BaseException as e:  # carried to the writer's thread
                self._failure = e
