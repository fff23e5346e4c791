"""Ask registries for their caches while the Dockerfile is planned, where the store cannot know a step.

Why: planning waits for the base images' manifests and configs, and the first step for the caches'. On an
empty machine both are needed always, so that one waiting is enough.
Threads: one for each cache; who asks for a root waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from imagesmith.errors import ImagesmithError
from imagesmith.interfaces import ImageSource
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.request import CachePlace
from imagesmith.solve.cacheio import CONFIG_TYPE
from imagesmith.transports.bases import Bases

__all__ = ["CachesAhead"]


class CachesAhead:
    """What was asked of some places; documents stay with the sources, which have them for who comes next."""

    def __init__(self, places: Sequence[CachePlace], images: Bases) -> None:
        """Begin to ask those that are in registries."""
        self._images = images
        self._roots: dict[CachePlace, Descriptor] = {}
        self._threads = {
            p: threading.Thread(target=self._ask, args=(p,), daemon=True) for p in places if p.ref
        }
        for thread in self._threads.values():
            thread.start()

    def _ask(self, place: CachePlace) -> None:
        from imagesmith.transports.documents import document_of

        assert place.ref is not None
        try:
            source = self._images.session().repository(place.ref)
            root = source.root()
            document = document_of(source, root)
            if isinstance(document, Manifest) and document.config.media_type == CONFIG_TYPE:
                source.document(document.config)
        except (ImagesmithError, OSError):
            return  # who reads the cache meets it again, and tells of it
        self._roots[place] = root

    def root(self, place: CachePlace, source: ImageSource) -> Descriptor:
        """What the place's name stands for; asked now, where it was not before.

        Raises:
            RegistryError: it is not there, or the registry failed.
        """
        thread = self._threads.get(place)
        if thread is not None:
            thread.join()
        return self._roots.get(place) or source.root()
