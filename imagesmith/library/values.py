"""What functions of the library return: values with few fields and short reprs.

Trust: names, labels and contents of images are others'; reprs show names with what a terminal would take for
a command escaped.
"""

from __future__ import annotations

from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import Platform
from imagesmith.values import field, frozen, printable

__all__ = ["Completed", "Image"]


@frozen(kw_only=True)
class Image:
    """An image at a place.

    name        how it is found there; empty for one of an archive without a name
    descriptor  what the name stands for: a manifest, or an index
    platforms   of its images, as far as they are known without asking again
    size        what its documents and blobs take (bytes) where that is known, else 0
    """

    name: str
    descriptor: Descriptor
    platforms: tuple[Platform, ...] = ()
    size: int = 0

    @property
    def digest(self) -> Digest:
        """The digest of the manifest or index; `str` of it is `sha256:…`."""
        return self.descriptor.digest

    @property
    def media_type(self) -> str:
        """Of the manifest or index."""
        return self.descriptor.media_type

    def __repr__(self) -> str:
        known = self.platforms or ((self.descriptor.platform,) if self.descriptor.platform else ())
        shown = [*map(str, known[:4]), *(["…"] if len(known) > 4 else [])]
        return printable(f"Image({', '.join(filter(None, [self.name, self.digest.short, *shown]))})")


@frozen(kw_only=True)
class Completed:
    """What came of a command in an image: its status, and what it wrote.

    status          of the command: 0 where it went well, 128 and the signal's number where one ended it
    stdout, stderr  what it wrote
    """

    status: int
    stdout: bytes = field(default=b"", shown=False)
    stderr: bytes = field(default=b"", shown=False)

    @property
    def text(self) -> str:
        """Standard output as text; what is not UTF-8 is replaced."""
        return self.stdout.decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"Completed({self.status}, {len(self.stdout)} bytes out, {len(self.stderr)} err)"
