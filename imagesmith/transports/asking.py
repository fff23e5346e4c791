"""Whether what is copied may be: a policy is asked about every image, and so about what could be run.

What tells of an image and is none (an attestation in an index, a signature or SBOM beside it) goes with it;
where no image is among what is copied, the policy is asked about the root.
Trust: manifests are others'; what is an image is told by what is in it, never by what an index says of it.
Threads: one.
"""

from __future__ import annotations

from imagesmith.errors import NotAnImage
from imagesmith.interfaces import Admission, ImageSource
from imagesmith.oci.config import check_image
from imagesmith.oci.model import Descriptor, Manifest

__all__ = ["Asking"]


class Asking:
    """Asks about the manifests of one copy."""

    def __init__(self, source: ImageSource, admission: Admission | None) -> None:
        """Prepare to ask, if there is anybody who is asked."""
        self._source, self._admission = source, admission
        #: Whether an image was asked about; whether what comes now stands beside the image.
        self._asked, self._beside = False, False

    def about(self, d: Descriptor, manifest: Manifest) -> None:
        """Ask whether a manifest may be used.

        Raises:
            Untrusted: it may not.
        """
        if self._admission is None:
            return
        if d.is_attestation or self._beside:
            try:
                check_image(manifest)
            except NotAnImage:
                return
        self._admission.admit(self._source, d)
        self._asked = True

    def finish(self, top: Descriptor) -> None:
        """Ask about the root of what holds no image; all that comes now stands beside it."""
        if self._admission is not None and not self._asked:
            self._admission.admit(self._source, top)
        self._beside = True
