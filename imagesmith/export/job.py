"""What an exporter is given, and what all of them need of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagesmith.errors import NotFound, UsageError
from imagesmith.events import EventSink, Vertex
from imagesmith.fs.entry import Entry
from imagesmith.fs.view import LayerIndex, View
from imagesmith.image.commit import Image
from imagesmith.image.result import BuildResult
from imagesmith.oci.mediatype import is_nondistributable
from imagesmith.oci.names import ImageRef
from imagesmith.oci.times import format_ns
from imagesmith.request import BuildRequest, Output
from imagesmith.solve.result import BuiltLayer, Result
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases
from imagesmith.values import field, frozen

__all__ = ["Export", "is_split"]


def is_split(output: Output, request: BuildRequest) -> bool:
    """True if an output of files has a folder a platform: where there is an index, or that is asked for."""
    return output.flag("platform-split", request.indexed)


@frozen(kw_only=True)
class Export:
    """What was built, its file systems by platform, where it comes from, and who is told.

    `beside` are files that go with those of each: statements about them.
    """

    built: BuildResult
    results: Mapping[str, Result]
    tags: tuple[ImageRef, ...]
    store: Store
    images: Bases
    request: BuildRequest
    events: EventSink
    vertex: Vertex
    beside: Mapping[str, Sequence[Entry]] = field(default_factory=dict)

    @property
    def image(self) -> Image:
        """The one image, or the first."""
        return self.built.image

    def files(self, platform: str) -> View:
        """The files of a platform's result, and those beside them."""
        view, beside = self.results[platform].view, self.beside.get(platform, ())
        return view.plus(LayerIndex(list(beside))) if beside else view

    @property
    def created(self) -> str:
        """The time of the export, as index.json has it: the epoch, or else the image's."""
        epoch = self.image.form.epoch
        if epoch is not None:
            return format_ns(epoch * 1_000_000_000)
        return self.image.config.created or format_ns(0)

    @property
    def layers(self) -> list[BuiltLayer]:
        """The layers of all images, each once."""
        found = [layer for image in self.built.images.values() for layer in image.layers]
        return list({layer.descriptor.digest: layer for layer in found}.values())

    def complete(self, *, base: bool = True) -> None:
        """Fetch the layers that nothing has needed so far: of an imported cache, and of the base image."""
        for layer in self.layers:
            if self.image.form.foreign and is_nondistributable(layer.descriptor.media_type):
                continue  # stays where its addresses say
            if base or layer.created_ns is not None:
                layer.stored.bring(layer.descriptor.digest)

    def bring_foreign(self) -> None:
        """Fetch the base's layers that may not be distributed, where they are to be as others.

        Why: such a layer is often in no registry, but at an address that its descriptor names, and addresses
        are not followed. An image that names it as a usual one, which BuildKit makes unless
        prefer-nondist-layers=true, must come with it.

        Raises:
            UsageError: one is not where the base is.
        """
        for layer in () if self.image.form.foreign else self.layers:
            d = layer.descriptor
            if not is_nondistributable(d.media_type) or self.store.blobs.has(d.digest):
                continue
            try:
                layer.stored.bring(d.digest)
            except NotFound as e:
                raise UsageError(
                    f"layer {d.digest} of the base may not be distributed, and its registry has not got it",
                    hint="prefer-nondist-layers=true leaves it where its manifest says",
                ) from e
