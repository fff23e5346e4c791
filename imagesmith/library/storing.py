"""The names of images: those in the store, and giving and taking them anywhere; what the store holds.

Trust: names are the caller's own; what is listed of images is theirs.
Threads: any; a prune waits until nobody uses the store.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.events import EventSink, Warned, nobody
from imagesmith.library.credentials import Insecure, Logins
from imagesmith.library.documented import documented
from imagesmith.library.opening import opened
from imagesmith.library.values import Image
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.settings import Settings
from imagesmith.store.store import UNUSED_S, Pruned, Store
from imagesmith.values import frozen

if TYPE_CHECKING:
    from imagesmith.worker.sandbox.world import World

__all__ = ["delete", "images", "prune", "rmi", "tag"]


@documented
def images(*, root: str | Path = "", events: EventSink = nobody) -> list[Image]:
    """The images that have a name in the store, by name.

    Returns:
        Images with `name`, `digest`, `platforms` and `size` (bytes).

    Example:
        >>> [image for image in imagesmith.images() if image.name == "other:1"]
        [Image(other:1, sha256:...…, linux/amd64)]
    """
    from imagesmith.store.weighing import stored_images

    with Store(Settings.load(str(root)).root) as store:
        found = stored_images(store, lambda text: events(Warned(rule="", text=text)))
        return [
            Image(
                name=one.ref.familiar, descriptor=one.descriptor,
                platforms=tuple(map(Platform.parse, one.platforms)), size=one.size,
            )
            for one in found
        ]  # fmt: skip


@documented
def tag(
    ref: str,
    *new: str,
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> None:
    """Give an image further names; no blob moves where they are in one place.

    Args:
        ref: a name in the store, or `docker://REF` for one in its registry.
        new: further names; in a registry tags of the same repository are enough.

    Raises:
        NotFound: there is no such image.

    Example:
        >>> imagesmith.tag("other:1", "other:stable")
        >>> imagesmith.tag("docker://registry.example/team/base:1", "stable")
        >>> imagesmith.tags("registry.example/team/base")
        ['1', 'stable']
    """
    from imagesmith.transports.naming import tag_remote, tag_stored

    if not ref.startswith("docker://"):
        with Store(Settings.load(str(root)).root) as store:
            tag_stored(ref, new, store)
        return
    with opened(ref, insecure=insecure, credentials=credentials, root=root, events=events) as (session, _):
        list(tag_remote(ref, new, session))


@documented
def rmi(*refs: str, root: str | Path = "") -> None:
    """Take names away from images of the store; what nothing else needs goes with `prune`.

    Args:
        refs: names in the store.

    Raises:
        NotFound: no image has that name.

    Example:
        >>> imagesmith.tag("other:1", "other:gone")
        >>> imagesmith.rmi("other:gone")
    """
    with Store(Settings.load(str(root)).root) as store:
        for ref in refs:
            store.unname(ImageRef.parse(ref.removeprefix("store:")))


@documented
def delete(
    *refs: str,
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> None:
    """Delete tags, or by their digests images, from registries, layouts and the store.

    Args:
        refs: a tag alone; `REF@DIGEST` with all its tags; `oci:DIR:REF` or `store:REF`.

    Raises:
        UsageError: it is in an archive, which cannot be changed.
        NotFound: it is not there.
        RegistryError: the registry refused, or does not delete.

    Example:
        >>> imagesmith.delete("registry.example/team/app:old")
        >>> "old" in imagesmith.tags("registry.example/team/app")
        False
    """
    from imagesmith.transports.naming import delete_at

    with opened(
        *refs, insecure=insecure, credentials=credentials, root=root, events=events
    ) as (session, store):  # fmt: skip
        for ref in refs:
            delete_at(ref, session, store)


@documented
def prune(
    *,
    everything: bool = False,
    unused_s: float = UNUSED_S,
    root: str | Path = "",
    events: EventSink = nobody,
) -> Pruned:
    """Delete from the store what no named image and no cached step needs.

    Args:
        everything: forget cached steps and cache mounts, too.
        unused_s: forget steps that were of no use for so many seconds; by default 60 days.

    Returns:
        Counts of `blobs`, `layers` and `steps`, and `freed_bytes`.

    Raises:
        LockTimeout: a build is running.

    Example:
        >>> imagesmith.prune().steps
        0
    """
    from imagesmith.child import in_child

    # In a child: trees of a user's builds belong to ids that only its namespace may touch.
    return in_child(_PruneJob(everything, int(unused_s)), str(root), "auto", events)


@frozen
class _PruneJob:
    """Prune the store; see child.Job."""

    everything: bool
    unused_s: int

    def prepare(self) -> None:
        """See Job."""

    def perform(self, settings: Settings, here: World, events: EventSink) -> Pruned:
        """See Job."""
        del here, events
        with Store(settings.root) as store:
            return store.prune(everything=self.everything, unused_s=self.unused_s)
