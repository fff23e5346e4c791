"""One copy, as flags or a program describe it: what is taken, in which form, and what of it is there already.

Why: `copy`, `mirror` and the library make the same copies; here is what they have in common.
Threads: any; a How may be shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagesmith.copying.ends import Ends
from imagesmith.errors import UsageError
from imagesmith.layer.codecs import Codec
from imagesmith.oci.model import Descriptor
from imagesmith.transports.choice import Choice
from imagesmith.transports.names import PlaceName
from imagesmith.values import field, frozen, replace

if TYPE_CHECKING:
    from imagesmith.copying.looking import Look

__all__ = ["How", "copy_image", "look"]


@frozen(kw_only=True)
class How:
    """How images are copied.

    choice   what is taken
    codec    the compression of layers; None for the one that they have
    force    layers that have it are compressed again, too
    """

    choice: Choice = field(default_factory=Choice)
    codec: Codec | None = None
    force: bool = False

    def checked(self) -> How:
        """The same, with OCI's media types where the compression needs them.

        Raises:
            UsageError: what is asked for excludes each other.
        """
        if self.codec is None:
            if self.force:
                raise UsageError("a compression is forced, but none is named")
            return self
        if self.choice.exact:
            raise UsageError("layers that are compressed otherwise have other digests, which are to be kept")
        if self.choice.referrers:
            raise UsageError(
                "what refers to an image is about it as it was: it has no place beside other layers",
                hint="copy it as it is, or without what refers to it",
            )
        if not self.codec.only_oci:
            return self
        if self.choice.family == "docker":
            raise UsageError(
                f"{self.codec.name} layers have no place in images of Docker's types",
                hint="leave out the format, or take gzip",
            )
        return replace(self, choice=replace(self.choice, family="oci"))

    def foreseen(self) -> How:
        """The same as `checked`, for a look.

        Raises:
            UsageError: what comes out shows when it is done.
        """
        if self.codec is not None:
            raise UsageError(
                "what comes of another compression is not known before it is done",
                hint="leave out the compression, or the dry run",
            )
        return self.checked()


def copy_image(ends: Ends, source: PlaceName, target: PlaceName, how: How | None = None) -> Descriptor:
    """Copy an image from a place to a place; returns what is there now.

    Raises:
        UsageError: what is asked for excludes each other, or a place is none.
        NotFound: the image, or a platform of it, is not there.
        Untrusted: a policy refuses it.
        RegistryError: a registry refused or failed.
    """
    how = (how or How()).checked()
    with ends.opened(source) as a, ends.made(target) as b:
        if how.codec is None:
            return ends.target.copy(a, b, how.choice)
        from imagesmith.copying.recompress import Recompressed, Recompressor  # most copies need none of it

        recompressor = Recompressor(ends.store, how.codec, force=how.force, vertex=ends.target.vertex)
        choice = replace(how.choice, reform=recompressor.reform)
        return ends.target.copy(Recompressed(a, recompressor), b, choice)


def look(ends: Ends, source: PlaceName, target: PlaceName, how: How | None = None) -> Look:
    """What a copy would do, and how much of it is there; nothing is written.

    Raises:
        UsageError: layers would be compressed otherwise: what comes out shows when it is done.
        ImagesmithError: as `copy_image`.
    """
    from imagesmith.copying.looking import look_at

    how = (how or How()).foreseen()
    with ends.opened(source) as a:
        return look_at(a, target, ends.target, ends.store, how.choice)
