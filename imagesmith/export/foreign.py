"""Layers of a base that may not be distributed, where they are to be as others: they must be brought here.

Why: such a layer is often in no registry, but at an address that its descriptor names. An image that names it
as a usual one, which BuildKit makes unless prefer-nondist-layers=true, must come with it.
Spec: OCI image-spec 1.1, layer.md, "Non-Distributable Layers".
Trust: the addresses are those of a manifest, and are not followed.
"""

from __future__ import annotations

from imagesmith.errors import NotFound, UsageError
from imagesmith.export.job import Export
from imagesmith.oci.mediatype import is_nondistributable

__all__ = ["bring_foreign"]


def bring_foreign(export: Export) -> None:
    """Fetch such layers from where the base is.

    Raises:
        UsageError: one is not there.
    """
    if export.image.form.foreign:
        return
    for layer in export.layers:
        d = layer.descriptor
        if not is_nondistributable(d.media_type) or export.store.blobs.has(d.digest):
            continue
        try:
            layer.stored.bring(d.digest)
        except NotFound as e:
            raise UsageError(
                f"layer {d.digest} of the base may not be distributed, and its registry has not got it",
                hint="prefer-nondist-layers=true leaves it where its manifest says",
            ) from e
