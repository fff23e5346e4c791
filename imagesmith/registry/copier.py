"""One loop for pull, push, copy, save and load: an image from a place to a place.

Order: documents are read first, blobs go in parallel, then manifests, children before their index, the named
one last. What is interrupted leaves content without a name, which the next try finds and does not send again.
Trust: indexes nest, and may name themselves; depth, number and size are bounded.
Threads: blobs on a pool; the first failure stops the others at their next piece.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Self

from imagesmith.concurrency import Cancel
from imagesmith.errors import InvalidDocument, LimitExceeded, NotFound
from imagesmith.events import EventSink, Progress
from imagesmith.interfaces import ImageSource, ImageTarget
from imagesmith.oci import mediatype as mt
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index, Manifest, parse_document
from imagesmith.oci.names import Platform, choose_platform
from imagesmith.registry.convert import Family, converted
from imagesmith.values import frozen

__all__ = ["Choice", "Plan", "choose", "chosen", "copy_image", "plan_copy"]

_DEPTH = 5
_MOST_MANIFESTS = 5_000
#: How much (bytes) of manifests a plan holds.
_MOST_BYTES = 64 << 20
_TELL_EVERY_S = 0.1


@frozen(kw_only=True)
class Choice:
    """What of an image is taken.

    platforms     of an index; empty for all of it
    sparse        with platforms: the index stays as it is, and its other manifests are left out
    referrers     take along what refers to the image
    family        rewrite manifests to Docker's or OCI's types
    """

    platforms: tuple[Platform, ...] = ()
    sparse: bool = False
    referrers: bool = False
    family: Family = ""


@dataclass(slots=True, eq=False)
class Plan:
    """What is to be sent: blobs, manifests in order with their bytes, and the root, which comes last."""

    root: Descriptor | None = None
    raw: dict[Digest, bytes] = field(default_factory=dict)
    manifests: list[Descriptor] = field(default_factory=list)
    blobs: dict[Digest, Descriptor] = field(default_factory=dict)

    def the_root(self) -> Descriptor:
        """The root of a finished plan."""
        assert self.root is not None
        return self.root


def choose(
    source: ImageSource, root: Descriptor, platform: Platform
) -> tuple[Descriptor, dict[Digest, bytes]]:
    """The manifest for a platform below a descriptor, and the documents on the way to it, with its own.

    Raises:
        NotFound: there is none for it.
    """
    documents: dict[Digest, bytes] = {}
    d = root
    for _ in range(_DEPTH):
        raw = source.document(d)
        documents[d.digest] = raw
        document = parse_document(raw, d.media_type)
        if isinstance(document, Manifest):
            return d, documents
        offers = [m for m in document.manifests if not m.is_attestation]
        n = choose_platform(platform, [m.platform or _config_platform(source, m) for m in offers])
        if n is None:
            have = ", ".join(sorted({str(m.platform) for m in offers if m.platform})) or "none"
            raise NotFound(
                f"no match for platform in manifest {d.digest}: not found",
                hint=f"it has {have}; see --platform",
            )
        d = offers[n]
    raise InvalidDocument(f"{source.name}: indexes nested too deeply")


def chosen(source: ImageSource, root: Descriptor, platform: Platform) -> bytes:
    """The document of the manifest for a platform below a descriptor.

    Raises:
        NotFound: there is none for it.
    """
    found, documents = choose(source, root, platform)
    return documents[found.digest]


def _config_platform(source: ImageSource, d: Descriptor) -> Platform | None:
    """The platform of an entry that does not say it."""
    document = parse_document(source.document(d), d.media_type)
    if isinstance(document, Index) or not mt.is_image_config(document.config.media_type):
        return None
    return ImageConfig.parse(source.document(document.config)).platform


def plan_copy(source: ImageSource, choice: Choice, root: Descriptor | None = None) -> Plan:
    """Read all documents of what is to be copied.

    Raises:
        NotFound: a document or a wanted platform is missing.
        LimitExceeded: too many manifests, too large together, or nested too deeply.
    """
    plan = Plan()
    top = root or source.root()
    if choice.platforms and not choice.sparse and len(choice.platforms) == 1:
        top = choose(source, top, choice.platforms[0])[0]
    walker = _Walker(source, choice, plan)
    plan.root = walker.visit(top, 0, choice.platforms)
    if choice.referrers:
        for d in list(plan.manifests):
            walker.visit_referrers(d, 0)
    plan.manifests.remove(plan.root)
    plan.manifests.append(plan.root)
    return plan


class _Walker:
    """Collects what hangs below a manifest or index."""

    def __init__(self, source: ImageSource, choice: Choice, plan: Plan) -> None:
        self._source, self._choice, self._plan = source, choice, plan
        self._done: dict[Digest, Descriptor] = {}
        self._size = 0

    def visit(self, d: Descriptor, depth: int, platforms: Sequence[Platform]) -> Descriptor:
        """Plan a manifest or index; returns its descriptor as it will be there."""
        if d.digest in self._done:
            return self._done[d.digest]
        if depth > _DEPTH or len(self._done) > _MOST_MANIFESTS:
            raise LimitExceeded(f"{self._source.name}: indexes nested too deeply, or too many manifests")
        raw = self._source.document(d)
        self._size += len(raw)
        if self._size > _MOST_BYTES:
            raise LimitExceeded(f"{self._source.name}: more than {_MOST_BYTES} bytes of manifests")
        document = parse_document(raw, d.media_type)
        children: dict[Digest, Descriptor] = {}
        if isinstance(document, Index):
            for child in self._wanted(document, platforms):
                children[child.digest] = self.visit(child, depth + 1, ())
            if platforms and not self._choice.sparse:
                document = _only(document, children)
        else:
            for blob in (document.config, *document.layers):
                if blob.urls and mt.is_nondistributable(blob.media_type):
                    continue  # stays where its urls say; registries are not allowed to have it
                self._plan.blobs.setdefault(blob.digest, blob)
        document = converted(document, self._choice.family, children)
        found = document.descriptor()
        self._done[d.digest] = found
        self._plan.raw[found.digest] = document.raw
        self._plan.manifests.append(found)
        return found

    def _wanted(self, index: Index, platforms: Sequence[Platform]) -> list[Descriptor]:
        if not platforms:
            return list(index.manifests)
        offers = [m for m in index.manifests if not m.is_attestation]
        known = [m.platform or _config_platform(self._source, m) for m in offers]
        out: dict[Digest, Descriptor] = {}
        for platform in platforms:
            n = choose_platform(platform, known)
            if n is None:
                raise NotFound(f"{self._source.name}: no match for platform {platform}: not found")
            out[offers[n].digest] = offers[n]
        kept = {str(digest) for digest in out}
        for m in index.manifests:
            if m.is_attestation and m.annotations.get("vnd.docker.reference.digest") in kept:
                out[m.digest] = m
        return list(out.values())

    def visit_referrers(self, d: Descriptor, depth: int) -> None:
        """Plan what refers to a manifest, and what refers to that."""
        if depth > _DEPTH:
            return
        for r in self._source.referrers(d.digest):
            if r.digest not in self._done:
                self.visit_referrers(self.visit(r, 0, ()), depth + 1)


def _only(index: Index, children: dict[Digest, Descriptor]) -> Index:
    """The index with the chosen manifests alone."""
    return Index.build(
        [m for m in index.manifests if m.digest in children],
        media_type=index.media_type,
        subject=index.subject,
        artifact_type=index.artifact_type,
        annotations=index.annotations,
    )


def copy_image(
    source: ImageSource,
    target: ImageTarget,
    plan: Plan,
    *,
    step: int,
    events: EventSink,
    transfers: int = 4,
    finished: Callable[[Descriptor, str], None] = lambda _d, _how: None,
) -> Descriptor:
    """Send what a plan holds, and return the root's descriptor.

    Args:
        source: where blobs are read.
        target: where all goes.
        plan: of `plan_copy`.
        step: the vertex that progress belongs to.
        events: is told of each blob.
        transfers: blobs at the same time.
        finished: is told of each blob and how it came there: exists, mounted or sent.
    """
    teller, slots = _Teller(step, events, Cancel()), threading.BoundedSemaphore(max(1, transfers))

    def blob(d: Descriptor) -> None:
        with _Slot(slots) as slot:
            teller.cancel.check()
            progress = teller.progress(d, slot.free)
            how = "exists" if target.has(d) else target.put_blob(d, source, progress)
        teller.done(d, how)
        finished(d, how)

    if target.in_order:
        _in_order(target, plan, blob)
    else:
        _in_parallel(list(plan.blobs.values()), blob, transfers, teller.cancel)
        for d in plan.manifests[:-1]:
            target.put_document(d, plan.raw[d.digest])
    root = plan.the_root()
    target.finish(root, plan.raw[root.digest])
    return root


def _in_order(target: ImageTarget, plan: Plan, blob: Callable[[Descriptor], None]) -> None:
    documents = {d.digest: d for d in plan.manifests}
    for digest in sorted({**plan.blobs, **documents}):
        if digest in documents:
            target.put_document(documents[digest], plan.raw[digest])
        else:
            blob(plan.blobs[digest])


def _in_parallel(
    blobs: Sequence[Descriptor], blob: Callable[[Descriptor], None], transfers: int, cancel: Cancel
) -> None:
    """Run `blob` on all, largest first; on a failure the others stop, and the first error is raised."""
    largest = sorted(blobs, key=lambda d: -d.size)
    if len(largest) < 2 or transfers < 2:
        for d in largest:
            blob(d)
        return
    # Twice as many threads as transfers: those whose bytes are all sent wait for a disk or a registry.
    with ThreadPoolExecutor(min(2 * transfers, len(largest)), thread_name_prefix="transfer") as pool:
        futures = [pool.submit(blob, d) for d in largest]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:
            cancel.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        failed = [e for f in futures if f in done and (e := f.exception()) is not None]
        if failed:
            cancel.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise failed[0]


class _Slot:
    """The right to move bytes; given back at the blob's last byte, before it is on disk or acknowledged."""

    def __init__(self, slots: threading.BoundedSemaphore) -> None:
        self._slots, self._held = slots, False

    def __enter__(self) -> Self:
        self._slots.acquire()
        self._held = True
        return self

    def __exit__(self, *_: object) -> None:
        self.free()

    def free(self) -> None:
        """Let the next blob begin."""
        if self._held:
            self._held = False
            self._slots.release()


class _Teller:
    """Passes progress on, not too often, and stops a transfer that nobody wants any more."""

    def __init__(self, step: int, events: EventSink, cancel: Cancel) -> None:
        self._step, self._events, self.cancel = step, events, cancel

    def progress(self, d: Descriptor, moved: Callable[[], None]) -> Callable[[int], None]:
        """What a transfer of a blob calls with the bytes that arrived; at the last one, `moved` is called."""
        last = 0.0

        def tell(current: int) -> None:
            nonlocal last
            if self.cancel.is_set:
                self.cancel.check()
            if current >= d.size:
                moved()
            now = time.monotonic()
            if now - last >= _TELL_EVERY_S:
                last = now
                self._events(Progress(step=self._step, id=str(d.digest), current=current, total=d.size))

        return tell

    def done(self, d: Descriptor, how: str) -> None:
        """A blob is there."""
        name = str(d.digest) if how == "sent" else f"{d.digest} {how}"
        self._events(Progress(step=self._step, id=name, current=d.size, total=d.size, done=True))
