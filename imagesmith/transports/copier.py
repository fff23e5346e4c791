"""What pull, push, copy, save and load send: all documents of an image are read before anything moves.

Documents that the target has are not read again: registries count each as a pull. sender.py sends the plan.
Trust: indexes nest, and may name themselves; depth, number and size are bounded. A policy is asked here,
about each manifest that is copied, as it was read: what could be run is never copied unasked.
Threads: a plan is made by one; documents are asked for on a pool.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from imagesmith.errors import InvalidDocument, LimitExceeded, NotFound, Unsupported
from imagesmith.interfaces import Admission, ImageSource
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index, Manifest, parse_document
from imagesmith.oci.names import Platform, choose_platform
from imagesmith.transports.asking import Asking
from imagesmith.transports.choice import Choice, Plan
from imagesmith.transports.convert import converted
from imagesmith.transports.documents import config_of, document_of, parsed
from imagesmith.transports.lacking import left_out

__all__ = ["Choice", "Plan", "attested", "choose", "chosen", "plan_copy"]

_DEPTH = 5
_MOST_MANIFESTS = 5_000
#: How much (bytes) of manifests a plan holds.
_MOST_BYTES = 64 << 20
#: Documents that are read at the same time.
_ASKED_AT_ONCE = 8


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
        document = parsed(source, d, raw)
        if isinstance(document, Manifest):
            return d, documents
        offers = [m for m in document.manifests if not m.is_attestation and not source.lacks(m)]
        n = choose_platform(platform, [m.platform or _config_platform(source, m) for m in offers])
        if n is None:
            have = ", ".join(sorted({str(m.platform) for m in offers if m.platform})) or "none"
            lacking = len(offers) < sum(not m.is_attestation for m in document.manifests)
            raise NotFound(
                f"no match for platform in manifest {d.digest}: not found",
                hint=f"{source.name} has {have} alone of it"
                if lacking
                else f"it has {have}, not {platform}; see --platform",
            )
        d = offers[n]
    raise InvalidDocument(f"{source.name}: indexes nested too deeply")


def chosen(source: ImageSource, root: Descriptor, platform: Platform) -> Manifest:
    """The manifest for a platform below a descriptor.

    Raises:
        NotFound: there is none for it.
    """
    d, documents = choose(source, root, platform)
    found = parsed(source, d, documents[d.digest])
    assert isinstance(found, Manifest)
    return found


def attested(documents: Iterable[Manifest | Index], digest: Digest) -> list[Descriptor]:
    """The attestations of an image that indexes among some documents list."""
    indexes = [document for document in documents if isinstance(document, Index)]
    return [m for index in indexes for m in index.manifests if m.about == str(digest)]


def _config_platform(source: ImageSource, d: Descriptor) -> Platform | None:
    """The platform of an entry that does not say it."""
    document = document_of(source, d)
    if isinstance(document, Index) or not mt.is_image_config(document.config.media_type):
        return None
    return config_of(source, document).platform


def plan_copy(
    source: ImageSource,
    choice: Choice,
    root: Descriptor | None = None,
    *,
    read: Callable[[Descriptor], bytes] | None = None,
    known: Callable[[Descriptor], bool] = lambda _d: False,
    keep_index: bool = False,
    admission: Admission | None = None,
) -> Plan:
    """Read all documents of what is to be copied.

    Args:
        source: where they are.
        choice: what of it is taken.
        root: the manifest or index; by default what the source's name stands for.
        read: reads a document, where that is not done by the source alone.
        known: true for a manifest that the target has; it is left out where it is taken as it is.
        keep_index: leave an index as it is where not all that it names is there.
        admission: is asked about every image; then all manifests are read, those too that the target has.

    Raises:
        NotFound: a document or a wanted platform is missing.
        LimitExceeded: too many manifests, too large together, or nested too deeply.
        Untrusted: one of the images may not be used.
    """
    plan = Plan()
    walker = _Walker(
        source,
        choice,
        plan,
        read or source.document,
        known if admission is None else lambda _d: False,
        keep_index=keep_index,
        admission=admission,
    )
    platforms = choice.platforms or ((choice.default,) if choice.default and choice.sparse else ())
    top = walker.top(root or source.root())
    plan.root = walker.visit(top, 0, platforms)
    walker.asking.finish(top)
    if choice.referrers:
        for d in walker.about:
            walker.visit(d, 0, ())
    else:
        plan.unsaid += walker.about
    if choice.referrers:
        for d in [*plan.manifests, *plan.there]:
            walker.visit_referrers(d, 0)
    if choice.whole and plan.absent:
        said = left_out(source.name, plan.absent).replace("left out ", "")
        raise NotFound(said, hint="a pull with --all brings all of an index")
    plan.manifests.remove(plan.root)
    plan.manifests.append(plan.root)
    return plan


class _Walker:
    """Collects what hangs below a manifest or index."""

    def __init__(
        self,
        source: ImageSource,
        choice: Choice,
        plan: Plan,
        read: Callable[[Descriptor], bytes],
        known: Callable[[Descriptor], bool],
        *,
        keep_index: bool,
        admission: Admission | None,
    ) -> None:
        self._source, self._choice, self._plan = source, choice, plan
        self._read, self._known, self._keep_index = read, known, keep_index
        self.asking = Asking(source, admission)
        #: What the index says of the one image that is taken out of it.
        self.about: list[Descriptor] = []
        self._done: dict[Digest, Descriptor] = {}
        #: Documents that were asked for ahead; None for what the target has.
        self._ahead: dict[Digest, bytes | None] = {}
        self._size = 0

    def top(self, root: Descriptor, depth: int = 0) -> Descriptor:
        """What is taken of an index: itself, the one image that was chosen, or the only one there."""
        choice = self._choice
        document = parsed(self._source, root, self._read(root))
        if isinstance(document, Manifest):
            self._check_platform(document)
            return root
        if not choice.attestations and depth < _DEPTH and (one := _attested_image(document)) is not None:
            return self.top(one, depth + 1)
        if choice.sparse or len(choice.platforms) > 1:
            return root
        if choice.platforms:
            return self._alone(root, choice.platforms[0])
        there, absent = self._split(document)
        images = [m for m in there if not m.is_attestation]
        if len(images) == 1 and depth < _DEPTH and (choice.default or (absent and not self._keep_index)):
            self._plan.absent += absent
            self._note_about([document], images[0].digest)
            return self.top(images[0], depth + 1)
        return self._alone(root, choice.default) if choice.default else root

    def _alone(self, root: Descriptor, platform: Platform) -> Descriptor:
        """The image for a platform, taken out of its index; what that says of it stands in `about`."""
        found, documents = choose(self._source, root, platform)
        self._note_about([parse_document(raw) for raw in documents.values()], found.digest)
        return found

    def _note_about(self, documents: Iterable[Manifest | Index], digest: Digest) -> None:
        for m in attested(documents, digest) if self._choice.attestations else ():
            (self._plan.absent if self._source.lacks(m) else self.about).append(m)

    def _check_platform(self, manifest: Manifest) -> None:
        """Refuse a single image that is for none of the platforms that were asked for."""
        if not self._choice.platforms or not mt.is_image_config(manifest.config.media_type):
            return
        have = config_of(self._source, manifest).platform
        if have.architecture and not any(choose_platform(p, [have]) == 0 for p in self._choice.platforms):
            wanted = ", ".join(map(str, self._choice.platforms))
            raise NotFound(f"{self._source.name}: the image is for {have}, not for {wanted}")

    def _split(self, index: Index) -> tuple[list[Descriptor], list[Descriptor]]:
        """The manifests of an index that the source has, and those that it lacks."""
        found = {m.digest: self._source.lacks(m) for m in {m.digest: m for m in index.manifests}.values()}
        lacking = {str(digest) for digest, lacks in found.items() if lacks}
        if not lacking:
            return list(index.manifests), []
        there: list[Descriptor] = []
        absent: list[Descriptor] = []
        for m in index.manifests:
            of_none = not self._keep_index and m.about in lacking
            (absent if found[m.digest] or of_none else there).append(m)
        return there, absent

    def visit(self, d: Descriptor, depth: int, platforms: Sequence[Platform]) -> Descriptor:
        """Plan a manifest or index; returns its descriptor as it will be there."""
        if d.digest in self._done:
            return self._done[d.digest]
        if depth > _DEPTH or len(self._done) > _MOST_MANIFESTS:
            raise LimitExceeded(f"{self._source.name}: indexes nested too deeply, or too many manifests")
        if d.digest in self._ahead:
            raw = self._ahead.pop(d.digest)
        else:
            raw = self._look(d) if depth else self._read(d)
        if raw is None:
            self._done[d.digest] = d
            self._plan.there.append(d)
            return d
        self._size += len(raw)
        if self._size > _MOST_BYTES:
            raise LimitExceeded(f"{self._source.name}: more than {_MOST_BYTES} bytes of manifests")
        document = parsed(self._source, d, raw)
        children: dict[Digest, Descriptor] = {}
        changed: set[str] = set()
        if isinstance(document, Index):
            wanted = self._wanted(document, platforms)
            self._look_ahead([m for m in wanted if m.digest not in self._done])
            outdated: dict[Digest, Descriptor] = {}
            for child in sorted(wanted, key=lambda m: m.is_attestation):
                if child.is_attestation and not self._choice.attestations:
                    continue
                if child.about in changed:
                    outdated[child.digest] = child
                    continue
                children[child.digest] = self.visit(child, depth + 1, ())
                if children[child.digest].digest != child.digest:
                    changed.add(str(child.digest))
            self._plan.outdated += outdated.values()
            named = {m.digest for m in document.manifests}
            kept = named - outdated.keys() if self._choice.sparse or self._keep_index else children.keys()
            if not self._choice.attestations:
                kept = kept - {m.digest for m in document.manifests if m.is_attestation}
            if kept != named:
                document = _only(document, kept)
        else:
            self.asking.about(d, document)
            if self._choice.reform is not None:
                document = self._choice.reform(self._source, document)
            for blob in document.parts:
                if blob.urls and mt.is_nondistributable(blob.media_type):
                    continue  # stays where its urls say; registries are not allowed to have it
                self._plan.blobs.setdefault(blob.digest, blob)
        document = converted(document, self._choice.family, children)
        found = document.descriptor()
        if self._choice.exact and found.digest != d.digest:
            raise _changes(self._source, d)
        self._done[d.digest] = found
        self._plan.raw[found.digest] = document.raw
        self._plan.manifests.append(found)
        return found

    def _look(self, d: Descriptor) -> bytes | None:
        """A document below the root; None if the target has it, and it would go there as it is."""
        kinds = mt.MANIFEST_TYPES if self._choice.referrers else mt.MANIFEST_TYPES | mt.INDEX_TYPES
        choice = self._choice
        if not choice.family and choice.reform is None and d.media_type in kinds and self._known(d):
            return None
        return self._read(d)

    def _look_ahead(self, children: Sequence[Descriptor]) -> None:
        """Ask for documents at the same time where each takes a journey."""
        if len(children) < 2:
            return
        from concurrent.futures import ThreadPoolExecutor

        from imagesmith.registry.repository import Repository

        if not isinstance(self._source, Repository):
            return
        with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="documents") as pool:
            for n in range(0, len(children), _ASKED_AT_ONCE):
                some = children[n : n + _ASKED_AT_ONCE]
                self._ahead.update(zip((d.digest for d in some), pool.map(self._look, some), strict=True))
                if self._size + sum(len(raw or b"") for raw in self._ahead.values()) > _MOST_BYTES:
                    return  # `visit` refuses it

    def _wanted(self, index: Index, platforms: Sequence[Platform]) -> list[Descriptor]:
        there, absent = self._split(index)
        if not platforms:
            self._plan.absent += absent
            if absent and all(m.is_attestation for m in there):
                names = ", ".join(str(m.platform) for m in absent if m.platform and not m.is_attestation)
                raise NotFound(f"{self._source.name}: none of the index's images is there: {names or 'none'}")
            return there
        offers = [m for m in there if not m.is_attestation]
        known = [m.platform or _config_platform(self._source, m) for m in offers]
        out: dict[Digest, Descriptor] = {}
        for platform in platforms:
            n = choose_platform(platform, known)
            if n is None:
                have = ", ".join(sorted({str(p) for p in known if p})) or "none"
                raise NotFound(
                    f"{self._source.name}: no match for platform {platform}: not found", hint=f"it has {have}"
                )
            out[offers[n].digest] = offers[n]
        kept = {str(digest) for digest in out}
        for m in there:
            if m.is_attestation and m.about in kept:
                out[m.digest] = m
        return list(out.values())

    def visit_referrers(self, d: Descriptor, depth: int) -> None:
        """Plan what refers to a manifest or stands beside it, and what refers to that."""
        from imagesmith.transports.cosigntags import companions

        if depth > _DEPTH:
            return
        for tag, c in companions(self._source, d.digest):
            new = c.digest not in self._done
            self._plan.tags.append((tag, self.visit(c, 0, ())))
            if new:
                self.visit_referrers(c, depth + 1)
        for r in self._source.referrers(d.digest):
            if r.digest not in self._done:
                self.visit_referrers(self.visit(r, 0, ()), depth + 1)


def _attested_image(index: Index) -> Descriptor | None:
    """The image of an index that has one, and what is attested of it."""
    images = [m for m in index.manifests if not m.is_attestation]
    return images[0] if len(images) == 1 < len(index.manifests) else None


def _changes(source: ImageSource, d: Descriptor) -> Unsupported:
    return Unsupported(
        f"{source.name}: {d.digest} would become another manifest, and digests are to be kept",
        hint="leave out --preserve-digests, or what changes manifests",
    )


def _only(index: Index, kept: Collection[Digest]) -> Index:
    """The index with some of its manifests alone."""
    return Index.build(
        [m for m in index.manifests if m.digest in kept],
        media_type=index.media_type,
        subject=index.subject,
        artifact_type=index.artifact_type,
        annotations=index.annotations,
    )
