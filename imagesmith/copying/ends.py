"""The two sides of a copy: each with its own credentials and trust, and one store between them.

Why: a password for one registry is not shown to the other. Where both sides are reached alike there is one
session, which knows of blobs what either has learned.
Threads: any.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping

from imagesmith.events import EventSink, nobody
from imagesmith.interfaces import Admission, ImageSource, ImageTarget
from imagesmith.settings import Access
from imagesmith.store.store import Store
from imagesmith.transports.names import PlaceName, open_source, open_target
from imagesmith.transports.transfer import Session
from imagesmith.values import field, frozen

__all__ = ["Ends", "open_ends"]


@frozen(kw_only=True, eq=False)
class Ends:
    """Where images are read and where they are written.

    source    reads registries
    target    writes them, and makes the copies
    store     what names without a registry mean, and what is worked out on the way
    others    who reads single registries, where a list says how
    """

    source: Session
    target: Session
    store: Store
    others: Mapping[str, Session] = field(default_factory=dict)

    def reader(self, place: PlaceName) -> Session:
        """Who reads a place."""
        registry = place.image.registry if place.kind == "registry" and place.image else ""
        return self.others.get(registry, self.source)

    def opened(self, place: PlaceName) -> contextlib.AbstractContextManager[ImageSource]:
        """An image to read; see open_source."""
        return open_source(place, self.reader(place), self.store)

    def made(self, place: PlaceName) -> contextlib.AbstractContextManager[ImageTarget]:
        """A place to write to; see open_target."""
        return open_target(place, self.target, self.store)


@contextlib.contextmanager
def open_ends(
    store: Store,
    *,
    source: Access | None = None,
    target: Access | None = None,
    others: Mapping[str, Access] | None = None,
    events: EventSink = nobody,
    transfers: int = 4,
    admission: Admission | None = None,
) -> Iterator[Ends]:
    """The sides of copies, which are closed in the end.

    Args:
        store: see Ends.
        source, target: how registries are reached to read, and to write.
        others: how single registries are reached to read.
        events: is told what happens.
        transfers: blobs moved at the same time.
        admission: is asked about each image.
    """
    numbers = itertools.count(1)
    source, target = source or Access(), target or Access()
    with contextlib.ExitStack() as stack:

        def session(access: Access) -> Session:
            made = Session(
                store, events=events, transfers=transfers, access=access, numbers=numbers, admission=admission
            )
            return stack.enter_context(made)

        writes = session(target)
        reads = writes if source == target else session(source)
        yield Ends(
            source=reads,
            target=writes,
            store=store,
            others={registry: session(access) for registry, access in (others or {}).items()},
        )
