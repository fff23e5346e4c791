"""What is in an image, as claims: the SBOM of each platform's result, and of stages and contexts that ask.

Why beside provenance: both are made when all is built, and go the same ways. A build knows more than a
scanner: which line of the Dockerfile made the layer that brought a package.
Spec: BuildKit's sbom-protocol.md (ARG BUILDKIT_SBOM_SCAN_STAGE and _CONTEXT, names of the further documents).
Trust: what is in images and contexts is read by sbom/ alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from imagesmith.attest.statement import CYCLONEDX, SPDX, Claim
from imagesmith.dockerfile.nodes import Dockerfile
from imagesmith.fs.tree import Tree
from imagesmith.fs.view import View
from imagesmith.image.commit import Image
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import ImageRef
from imagesmith.plan.plan import PlannedImage
from imagesmith.request import SbomWanted
from imagesmith.sbom.attribution import Line
from imagesmith.sbom.making import sbom_of
from imagesmith.solve.graph import chain
from imagesmith.values import field, frozen

__all__ = ["Bills", "lines_of"]

#: The type of a format's documents, and the ending of their files' names.
_FORMATS = {"spdx": (SPDX, "spdx.json"), "cyclonedx": (CYCLONEDX, "cdx.json")}


@frozen(eq=False)
class Bills:
    """Makes the SBOMs of one build.

    wanted      the format
    dockerfile  whose lines made the layers
    scanned     by platform the names and files of what is looked at besides: stages and the context
    folder      of the store, for copies that need a file
    warn        is told what cannot be read
    made        what was made of `scanned`, by platform and epoch: it is the same in all outputs
    """

    wanted: SbomWanted
    dockerfile: Dockerfile
    scanned: Mapping[str, Sequence[tuple[str, Tree]]]
    folder: Path
    warn: Callable[[str], object]
    made: dict[tuple[str, int | None], list[Claim]] = field(default_factory=dict)

    def claims(self, image: Image, planned: PlannedImage, names: Sequence[ImageRef]) -> list[Claim]:
        """The SBOM of an image, and then those of what it was made from and asks for."""
        epoch = image.form.epoch
        raw = sbom_of(
            View([layer.stored.index() for layer in image.layers]),
            name=names[0].familiar if names else "image",
            format_=self.wanted.format,
            reference=names[0] if names else None,
            digest=image.manifest.digest,
            config=image.config,
            annotations=image.manifest.annotations,
            lines=lines_of(image, planned, self.dockerfile.file),
            epoch=epoch,
            folder=self.folder,
            warn=self.warn,
        )
        return [self._claim("sbom", raw), *self._besides(str(planned.platform), epoch)]

    def _besides(self, platform: str, epoch: int | None) -> list[Claim]:
        """The SBOMs of what is looked at besides the image."""
        key = platform, epoch
        if key not in self.made:
            self.made[key] = [
                self._claim(
                    f"sbom-{name}",
                    sbom_of(
                        tree, name=name, format_=self.wanted.format, epoch=epoch, folder=self.folder,
                        warn=self.warn,
                    ),
                )
                for name, tree in self.scanned.get(platform, ())
            ]  # fmt: skip
        return self.made[key]

    def _claim(self, name: str, raw: bytes) -> Claim:
        kind, ending = _FORMATS[self.wanted.format]
        return Claim(kind, json.loads(raw), f"{name}.{ending}")


def lines_of(image: Image, planned: PlannedImage, file: str) -> dict[Digest, Line]:
    """The line of the Dockerfile that brought each layer, by diff_id; for those of a base image its FROM."""
    steps = list(chain(planned.tip))[::-1]
    own = [step for step in steps if step.op.makes_layer]
    own = own[-1:] if image.form.squash else own
    below = len(image.layers) - len(own)
    out: dict[Digest, Line] = {}
    for n, layer in enumerate(image.layers):
        step = own[n - below] if n >= below else steps[0]
        if step.span.first:
            out.setdefault(layer.diff_id, (file, step.span.first))
    return out
