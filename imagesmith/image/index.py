"""The index of a build: its images, one a platform, and what is attested of them, as BuildKit lists them.

Spec: OCI image-spec 1.1, image-index.md; BuildKit's exporter/containerimage/writer.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from imagesmith.image.commit import Image
from imagesmith.image.forms import Form
from imagesmith.oci import mediatype as mt
from imagesmith.oci.model import Descriptor, Index
from imagesmith.store.store import Store
from imagesmith.values import replace

__all__ = ["commit_index"]


def commit_index(
    images: Iterable[Image], attestations: Iterable[Descriptor], form: Form, store: Store
) -> Descriptor:
    """Write the index of some images, in their order, into the store, and return what names it.

    Args:
        images: whose manifests are in the store.
        attestations: the entries of what is attested of them, which come after all images.
        form: the media types and the annotations that are wanted.
        store: where the document goes.
    """
    index = Index.build(
        [*(image.entry for image in images), *attestations],
        media_type=mt.OCI_INDEX if form.oci_types else mt.DOCKER_INDEX,
        annotations=dict(form.index),
    )
    store.blobs.put(index.raw)
    return replace(index.descriptor(), annotations=dict(form.index_descriptor))
