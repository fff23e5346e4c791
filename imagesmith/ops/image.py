"""The file system of an image, as FROM and --from name one."""

from __future__ import annotations

from imagesmith.oci.digest import Digest
from imagesmith.solve.result import BuiltLayer, Result
from imagesmith.solve.step import Op, Work
from imagesmith.transports.bringing import ResolvedImage
from imagesmith.values import frozen

__all__ = ["ImageOp"]


@frozen(kw_only=True)
class ImageOp(Op):
    """An image.

    name     the reference
    named    the digest that it stands for: of a manifest, or of an index
    digest   the manifest's
    place    where its layers are: a reference, or `oci:` and the folder of a layout
    """

    name: str
    named: Digest
    digest: Digest
    place: str

    makes_layer = False

    @classmethod
    def of(cls, image: ResolvedImage) -> ImageOp:
        """The op that stands for an image that was resolved."""
        named, digest = image.descriptor.digest, image.manifest.digest
        return cls(name=image.name, named=named, digest=digest, place=image.place)

    def start(self, work: Work) -> Result:
        """The image's layers; what of them is not here comes when somebody looks into it."""
        bases = work.tools.bases
        image = bases.image(self.name, self.digest, self.place)
        pairs = zip(image.config.diff_ids, image.manifest.layers, bases.layers(image), strict=True)
        return Result([BuiltLayer(diff_id, d, layer) for diff_id, d, layer in pairs], image=image)
