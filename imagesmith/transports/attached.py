"""What is attached to an image: its referrers, and cosign's companions under tags.

Trust: what is attached is a stranger's; it is listed here, and believed by nobody.
"""

from __future__ import annotations

from imagesmith.interfaces import ImageSource
from imagesmith.oci.model import Descriptor
from imagesmith.transports.cosigntags import companions, described

__all__ = ["attached_things"]


def attached_things(source: ImageSource, subject: Descriptor, artifact_type: str = "") -> list[Descriptor]:
    """What refers to a manifest, and what stands beside it by cosign's tags.

    Args:
        source: the image's place.
        subject: the manifest or index.
        artifact_type: of this type alone; empty for all.

    Raises:
        RegistryError: the registry refused or failed.
    """
    beside = companions(source, subject.digest)
    known = [*source.referrers(subject.digest), *(described(source, tag, d) for tag, d in beside)]
    return [d for d in known if artifact_type in ("", d.artifact_type)]
