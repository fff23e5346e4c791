"""The images that FROM and --from name: resolved to digest and config first, brought layer by layer later.

Why: planning needs the config alone. The order of look-up is: the memo of tags (unless `--pull`, or `CI` is
set), the store, the registry. A build whose bases are pinned and stored makes no network call.
Trust: a registry or layout decides which digest a tag has, where nothing is pinned; manifests, configs and
layers are held against their digests and come through the strict door.
Threads: methods may be called from any.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.concurrency import Cancel, Once
from imagesmith.errors import (
    Denied,
    DockerfileError,
    InvalidReference,
    NotAnImage,
    NotFound,
    RegistryError,
    Unauthorized,
)
from imagesmith.events import EventSink
from imagesmith.interfaces import Admission
from imagesmith.oci.config import check_image
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Index, Manifest
from imagesmith.oci.names import ImageRef, Platform, host_platform
from imagesmith.request import BuildRequest
from imagesmith.settings import Settings
from imagesmith.store.store import Store
from imagesmith.transports.bringing import LAYOUT, ImageBlobs, ResolvedImage, open_layout
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.pins import Pinning

__all__ = ["Bases", "ResolvedImage"]

#: How long (seconds) a tag's digest is believed without asking again, outside CI.
_TAG_MEMO_S = 24 * 3600


class Bases(ImageBlobs):
    """Resolves and brings images for one build."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        request: BuildRequest,
        events: EventSink,
        numbers: Iterator[int] | None = None,
        cancel: Cancel | None = None,
        pinning: Pinning | None = None,
        admission: Admission | None = None,
        beside: Bases | None = None,
    ) -> None:
        """Prepare.

        Args:
            store: where images go.
            settings: of this machine's user.
            request: the build.
            events: is told what happens.
            numbers: of the vertices on the screen; the build's steps take theirs from it, too.
            cancel: ends transfers.
            pinning: what references must stand for.
            admission: is asked about each image before anybody gets it.
            beside: those of a build that is solved with this one: what both need is asked for once.
        """
        super().__init__(store, settings, request, events, numbers, cancel, beside)
        self._known: Once[tuple[str, str], ResolvedImage] = Once()
        #: What references stand for in this build: all platforms are those of one index.
        self._pinned: dict[str, Digest] = {}
        self._resolved: dict[tuple[str, Digest], ResolvedImage] = {}
        self._pinning, self._admission = pinning, admission
        if beside is not None and beside.asks_as(request, admission):
            self._known, self._pinned, self._resolved = beside._known, beside._pinned, beside._resolved

    def asks_as(self, request: BuildRequest, admission: Admission | None) -> bool:
        """True if another build would be told the same of every image."""
        return self._reaches_as(request) and admission is self._admission

    # --- resolving -----------------------------------------------------------------------------

    def resolve(self, name: str, platform: Platform | None) -> ResolvedImage:
        """The image that a reference stands for; see planner.ImageResolver.

        Raises:
            DockerfileError: in BuildKit's words, if it is no image.
            RegistryError: there is none, or the registry refused or failed.
        """
        try:
            return self._locked(name, platform)
        except InvalidReference as e:
            raise DockerfileError(f'failed to parse stage name "{name}": {e.reason}') from e
        except NotAnImage as e:
            raise DockerfileError(e.message, hint=e.hint) from e

    def _locked(self, name: str, platform: Platform | None) -> ResolvedImage:
        """The image of a reference as it is pinned, as if the digest stood in the Dockerfile."""
        ref = ImageRef.parse(name)
        if self._pinning is None or ref.digest is not None:
            return self.find(name, platform)
        pin = self._pinning.of("images", str(ref), lambda: str(self.newest(ref, platform)))
        try:
            return self.find(f"{ref}@{pin}" if pin else name, platform)
        except NotFound as e:
            e.hint = self._pinning.hint("images", str(ref)) or e.hint
            raise

    def newest(self, ref: ImageRef, platform: Platform | None) -> Digest:
        """The digest that a registry has for a reference now; the store's where no registry has the name.

        Raises:
            NotFound: there is no such image, or none for the platform.
            RegistryError: the registry failed.
        """
        wanted = platform or host_platform()
        try:
            with self._about(str(ref), ref, wanted):
                return self._ask(ref, wanted).descriptor.digest
        except (NotFound, Unauthorized, Denied):
            if (here := self.store.find(ref)) is None:
                raise
            return here.digest

    def find(self, name: str, platform: Platform | None) -> ResolvedImage:
        """The image that a reference stands for, without a Dockerfile that names it.

        Raises:
            InvalidReference: the name is none.
            NotFound: there is no such image, or none for the platform.
            NotAnImage: it is an artifact.
            RegistryError: the registry refused or failed.
        """
        found = self._known.get((name, str(platform or "")), lambda: self._resolve(name, platform))
        return self._resolved.setdefault((found.name, found.manifest.digest), found)

    def _resolve(self, name: str, platform: Platform | None) -> ResolvedImage:
        ref = ImageRef.parse(name)
        wanted = platform or host_platform()
        with self._about(name, ref, wanted):
            found = self._here(ref, wanted) or self._ask(ref, wanted)
        self._pinned.setdefault(str(ref), found.descriptor.digest)
        if self._admission is not None:  # wherever its bytes are, it is what the registry's name stands for
            self._admission.admit(self.session().repository(ref), found.manifest.descriptor())
        return found

    @contextlib.contextmanager
    def _about(self, name: str, ref: ImageRef, wanted: Platform) -> Iterator[None]:
        """A `with` within which errors tell which image was asked for."""
        try:
            yield
        except (RegistryError, NotAnImage) as e:
            said = f"{name}: failed to resolve source metadata for {ref}: {e.message}"
            raise type(e)(f"{said}{self._others(ref, wanted)}", hint=e.hint) from e

    def _others(self, ref: ImageRef, wanted: Platform) -> str:
        """What to add to an error about a reference: for which other platforms the store has it, if any."""
        found = None if self._request.pull else self.store.find(ref)
        index = self.store.document(found.digest, found.media_type) if found is not None else None
        offers = index.manifests if isinstance(index, Index) else ()
        here = [d for d in offers if not d.is_attestation and self.store.blobs.has(d.digest)]
        platforms = ", ".join(sorted({str(d.platform) for d in here if d.platform not in (None, wanted)}))
        return f"; the store has it for {platforms}, not for {wanted}" if platforms else ""

    def _here(self, ref: ImageRef, platform: Platform) -> ResolvedImage | None:
        """The image without its registry, if that need not be asked.

        Where a policy is, the digest of something in the store makes it no image of any repository: a name in
        the store says so, or the registry, once.
        """
        if self._admission is not None and ref.digest is not None:
            named = {d.digest for name, d in self.store.images() if name.name == ref.name}
            if ref.digest not in named and self.store.cache.tag(str(ref), str(platform)) is None:
                return None
        return self._remembered(ref, platform) or self._stored(ref, platform)

    def _remembered(self, ref: ImageRef, platform: Platform) -> ResolvedImage | None:
        """What a tag was resolved to, for another platform or not long ago, if its documents are stored."""
        digest = ref.digest or self._pinned.get(str(ref))
        if digest is None:
            if self._request.pull or self._settings.ci:
                return None
            memo = self.store.cache.tag(str(ref), str(platform))
            if memo is None or time.time() - memo[1] > _TAG_MEMO_S:
                return None
            digest = Digest.parse(memo[0])
        return self._from_store(ref, digest, platform)

    def _stored(self, ref: ImageRef, platform: Platform) -> ResolvedImage | None:
        """An image that has the name in the store, made here or pulled, unless the registry is asked."""
        if self._request.pull or str(ref) in self._pinned:
            return None
        found = self.store.find(ref)
        return None if found is None else self._from_store(ref, found.digest, platform)

    def _from_store(self, ref: ImageRef, digest: Digest, platform: Platform) -> ResolvedImage | None:
        if not self.store.blobs.has(digest):
            return None
        document = self.store.document(digest)
        try:
            manifest = self.store.manifest(document.descriptor(), platform)
            config = self.store.config(manifest)
        except NotFound:
            return None
        return ResolvedImage(
            name=str(ref), descriptor=document.descriptor(), manifest=manifest, config=config, place=str(ref)
        )

    def _ask(self, ref: ImageRef, platform: Platform) -> ResolvedImage:
        where = f"{platform} " if self._request.indexed else ""
        with self.step(f"[{where}internal] load metadata for {ref}"):
            found = self.session().resolve(
                replace(ref, digest=self._pinned.get(str(ref), ref.digest)), platform
            )
        for digest, raw in found.documents.items():
            self.store.blobs.put(raw, digest.algorithm)
        self.store.cache.put_tag(str(ref), str(platform), str(found.descriptor.digest))
        config = self.store.config(found.manifest)
        return ResolvedImage(
            name=str(ref), descriptor=found.descriptor, manifest=found.manifest, config=config, place=str(ref)
        )

    def from_layout(self, name: str, folder: Path, ref: str, platform: Platform | None) -> ResolvedImage:
        """The image of a layout folder; its documents are copied into the store.

        Args:
            name: what the Dockerfile calls it.
            folder: the layout.
            ref: its name there, a digest with `@` before it, or empty: `latest`, or the only one.
            platform: which of an index.

        Raises:
            NotFound: the layout has no such image.
            DockerfileError: it is an artifact.
        """
        from imagesmith.transports.copier import choose

        layout = open_layout(folder, ref)
        entry = (layout.tagged("latest") if not ref else None) or layout.root()
        found, documents = choose(layout, entry, platform or host_platform())
        manifest = Manifest.parse(documents[found.digest], found.media_type)
        try:
            check_image(manifest)
        except NotAnImage as e:
            raise DockerfileError(f"{name}: {e.message}") from e
        if self._admission is not None:
            self._admission.admit(layout, found)
        documents[manifest.config.digest] = layout.document(manifest.config)
        for digest, raw in documents.items():
            self.store.blobs.put(raw, digest.algorithm)
        config, place = self.store.config(manifest), f"{LAYOUT}{folder}"
        image = ResolvedImage(name=name, descriptor=entry, manifest=manifest, config=config, place=place)
        return self._resolved.setdefault((name, manifest.digest), image)

    def image(self, name: str, digest: Digest, place: str) -> ResolvedImage:
        """The image of a manifest that was resolved before, by this build or by who wrote its plan.

        Raises:
            NotFound: it is not there any more.
            RegistryError: the registry refused or failed.
        """
        found = self._resolved.get((name, digest))
        if found is None:
            if place.startswith(LAYOUT):
                return self.from_layout(name, Path(place.removeprefix(LAYOUT)), f"@{digest}", None)
            ref = replace(ImageRef.parse(place, default_tag=False), digest=digest)
            found = self._resolved.setdefault((name, digest), self._resolve(str(ref), None))
        return found
