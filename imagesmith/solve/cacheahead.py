"""Ask registries for their caches while the Dockerfile is planned, where the store cannot know a step.

Why: planning waits for the base images' manifests and configs, and the first step for the caches'. On an
empty machine both are needed always, so that one waiting is enough.
Threads: one for each cache; who asks for a root waits for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

from imagesmith.concurrency import Background
from imagesmith.errors import ImagesmithError
from imagesmith.interfaces import ImageSource
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.request import CachePlace
from imagesmith.transports.bases import Bases

__all__ = ["CachesAhead"]


class CachesAhead:
    """What was asked of some places; documents stay with the sources, which have them for who comes next."""

    def __init__(self, places: Sequence[CachePlace], images: Bases) -> None:
        """Begin to ask those that are in registries."""
        self._images = images
        self._roots: dict[CachePlace, Descriptor] = {}
        self._asking = {p: Background(partial(self._ask, p), "cache") for p in places if p.ref is not None}

    def _ask(self, place: CachePlace) -> None:
        from imagesmith.solve.cacheio import CONFIG_TYPE
        from imagesmith.transports.documents import document_of

        assert place.ref is not None
        source = self._images.session().repository(place.ref)
        root = source.root()
        document = document_of(source, root)
        if isinstance(document, Manifest) and document.config.media_type == CONFIG_TYPE:
            source.document(document.config)
        self._roots[place] = root

    def root(self, place: CachePlace, source: ImageSource) -> Descriptor:
        """What the place's name stands for; asked now, where it was not before.

        Raises:
            RegistryError: it is not there, or the registry failed.
        """
        asking = self._asking.get(place)
        if asking is not None:
            with contextlib.suppress(ImagesmithError, OSError):  # met again by who reads the cache
                asking.join()
        return self._roots.get(place) or source.root()
