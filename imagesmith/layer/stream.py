"""Compress a tar stream and hash it on both sides, in one pass and on several threads.

Why: hashing and compressing release the interpreter's lock, so one thread builds the tar while others work
on its blocks. Blocks are compressed in any order and written in theirs, so the bytes do not depend on the
number of threads. Queues are bounded: memory stays at a few blocks however large the layer is. A layer of one
block, as most steps make, starts no thread.
Spec: OCI image-spec 1.1, layer.md (media types), config.md (diff_ids).
Threads: a LayerStream belongs to the thread that writes to it; the sink and `on_compressed` are called from
one other thread, in order, and `on_raw` from a third.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable
from typing import Protocol

from imagesmith.layer.codecs import Codec
from imagesmith.oci.digest import Digest
from imagesmith.values import frozen

__all__ = ["LayerResult", "LayerStream", "Sink"]

#: How much input may wait for a thread, beside the blocks that are being compressed.
_AHEAD_BYTES = 4 << 20
#: How much input may be compressed at once: hashing, which one thread does, is no faster than so many blocks.
_MOST_BYTES = 32 << 20
#: Threads without which nothing goes on: one hashes, one writes, the others compress.
_LEAST = 3


class Sink(Protocol):
    """Takes the compressed bytes in order."""

    def write(self, data: bytes, /) -> object:
        """Append bytes."""


@frozen(kw_only=True)
class LayerResult:
    """A finished layer. Sizes are in bytes."""

    diff_id: Digest
    digest: Digest
    size: int
    uncompressed_size: int
    media_type: str


class _Aborted(Exception):
    """Stands for a failure where the writing side gave up."""


class _Block:
    """A piece of the tar on its way: `done` is set when `output` or `failure` is there."""

    __slots__ = ("done", "failure", "input", "output")

    def __init__(self, data: bytes) -> None:
        self.input, self.output = data, b""
        self.failure: BaseException | None = None
        self.done = threading.Event()


class LayerStream:
    """Bytes of a tar in, compressed blob out to `sink`, digests of both at the end."""

    def __init__(
        self,
        codec: Codec,
        sink: Sink,
        workers: int = 2,
        on_compressed: Callable[[bytes], None] | None = None,
        on_raw: Callable[[bytes], None] | None = None,
    ) -> None:
        self._codec, self._sink, self._on_compressed, self._on_raw = codec, sink, on_compressed, on_raw
        self._raw_hash, self._blob_hash = hashlib.sha256(), hashlib.sha256()
        self._raw_size = self._blob_size = 0
        self._parts: list[bytes] = []
        self._held = 0
        self._failure: BaseException | None = None
        self._ended = False
        self._workers = max(1, min(workers, _MOST_BYTES // codec.block_bytes))
        ahead = max(1, _AHEAD_BYTES // codec.block_bytes)
        self._hashing: queue.Queue[bytes | None] = queue.Queue(ahead)
        self._waiting: queue.Queue[_Block | None] = queue.Queue(ahead)
        self._ordered: queue.Queue[_Block | None] = queue.Queue(ahead + self._workers)
        self._threads: list[threading.Thread] = []

    def write(self, data: bytes) -> None:
        """Append bytes of the tar; blocks of the codec's own size are taken without a copy.

        Raises:
            BaseException: whatever compressing, the sink, `on_compressed` or `on_raw` raised.
        """
        block = self._codec.block_bytes
        if len(data) == block and not self._held:
            self._submit(data)
            return
        self._parts.append(data)
        self._held += len(data)
        if self._held >= block:
            whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            end = len(whole) - len(whole) % block
            for at in range(0, end, block):
                self._submit(whole[at : at + block])
            self._parts = [whole[end:]] if end < len(whole) else []
            self._held = len(whole) - end

    def finish(self) -> LayerResult:
        """End the stream and wait for everything.

        Raises:
            BaseException: whatever compressing, the sink, `on_compressed` or `on_raw` raised.
        """
        last = b"".join(self._parts)
        if not self._threads and not self._ended:
            self._at_once(last)
        elif last:
            self._submit(last)
        self._end()
        if self._failure is not None:
            raise self._failure
        raw = Digest("sha256", self._raw_hash.hexdigest())
        return LayerResult(
            diff_id=raw,
            digest=raw if self._codec.is_plain else Digest("sha256", self._blob_hash.hexdigest()),
            size=self._blob_size,
            uncompressed_size=self._raw_size,
            media_type=self._codec.media_type,
        )

    def abort(self) -> None:
        """Stop the threads; what was written is the sink's to throw away. Harmless after `finish`."""
        self._failure = self._failure or _Aborted()
        self._end()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._parts = []
        if not self._threads:
            return
        self._hashing.put(None)
        self._ordered.put(None)
        for _ in self._threads[_LEAST - 1 :]:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _at_once(self, data: bytes) -> None:
        """The whole layer, which is one block."""
        self._raw_size = len(data)
        self._raw_hash.update(data)
        if self._on_raw is not None:
            self._on_raw(data)
        self._write(self._codec.compressor()(data))

    def _submit(self, data: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        if not self._threads:
            self._start()
        self._raw_size += len(data)
        block = _Block(data)
        self._hashing.put(data)
        self._waiting.put(block)
        self._ordered.put(block)  # after that: interrupted between the two, nobody waits for it

    def _start(self) -> None:
        """Start the threads; with fewer that compress where the machine gives no more."""
        for job in (self._hash_all, self._write_all, *([self._compress_all] * self._workers)):
            thread = threading.Thread(target=job, name="layer", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if len(self._threads) < _LEAST:
                    raise
                break
            self._threads.append(thread)

    # --- the threads; each goes on emptying its queue after a failure, so that nobody waits for ever ----

    def _hash_all(self) -> None:
        while (data := self._hashing.get()) is not None:
            self._raw_hash.update(data)
            if self._on_raw is not None and self._failure is None:
                try:
                    self._on_raw(data)
                except BaseException as e:  # `write` and `finish` raise it
                    self._failure = e

    def _compress_all(self) -> None:
        compress: Callable[[bytes], bytes] | None = None
        while (block := self._waiting.get()) is not None:
            try:
                if self._failure is None:
                    compress = compress or self._codec.compressor()
                    block.output = compress(block.input)
            except BaseException as e:  # the writing thread carries it on
                block.failure = e
            block.input = b""
            block.done.set()

    def _write_all(self) -> None:
        while (block := self._ordered.get()) is not None:
            block.done.wait()
            try:
                if self._failure is not None:
                    continue
                if block.failure is not None:
                    raise block.failure
                self._write(block.output)
            except BaseException as e:  # `write` and `finish` raise it
                self._failure = e

    def _write(self, data: bytes) -> None:
        if not self._codec.is_plain:
            self._blob_hash.update(data)
        self._blob_size += len(data)
        self._sink.write(data)
        if self._on_compressed is not None:
            self._on_compressed(data)
