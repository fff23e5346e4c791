"""What a copy would do: the digest that would be there, and how much of it is there already.

Why: before many images are moved one wants to know what that is. Everything is read that a copy reads before
it sends, each blob is asked for by HEAD where it would go, and nothing is written.
Threads: any.
"""

from __future__ import annotations

from pathlib import Path

from imagesmith.interfaces import ImageSource, ImageTarget
from imagesmith.oci.model import Descriptor
from imagesmith.registry.repository import Repository
from imagesmith.store.store import Store
from imagesmith.transports.choice import Choice
from imagesmith.transports.copier import plan_copy
from imagesmith.transports.layout import LayoutFolder
from imagesmith.transports.names import PlaceName
from imagesmith.transports.stored import StorePlace
from imagesmith.transports.transfer import Session
from imagesmith.values import frozen

__all__ = ["Look", "look_at"]


@frozen(kw_only=True)
class Look:
    """What would be there, and what of it is.

    descriptor      of the manifest or index that the target's name would stand for
    there           the name stands for it already: nothing would be done
    blobs           how many the image has
    missing         how many of them would go over
    missing_bytes   how long those are together
    """

    descriptor: Descriptor
    there: bool = False
    blobs: int = 0
    missing: int = 0
    missing_bytes: int = 0


def look_at(source: ImageSource, target: PlaceName, session: Session, store: Store, choice: Choice) -> Look:
    """Look at a copy without making it.

    Args:
        source: the image.
        target: where it would go.
        session: speaks to the target's registry.
        store: the store.
        choice: what would be taken.

    Raises:
        ImagesmithError: what cannot be read; a target that is not there is empty.
    """
    plan = plan_copy(source, choice, keep_index=target.kind == "store", admission=session.admission)
    root, blobs = plan.the_root(), list(plan.blobs.values())
    place = _there(target, session, store)
    standing = None if place is None else place[1]
    if standing is not None and standing.digest == root.digest and not choice.referrers:
        return Look(descriptor=root, there=True, blobs=len(blobs))
    missing = blobs if place is None else [d for d in blobs if not place[0].has(d)]
    return Look(
        descriptor=root, blobs=len(blobs), missing=len(missing), missing_bytes=sum(d.size for d in missing)
    )


def _there(target: PlaceName, session: Session, store: Store) -> tuple[ImageTarget, Descriptor | None] | None:
    """The place that is written to, if there is one, and what its name stands for."""
    if target.kind == "registry":
        assert target.image is not None
        repository: Repository = session.repository(target.image)
        return repository, repository.standing()
    if target.kind == "store":
        return StorePlace(store, target.image), store.find(target.image) if target.image else None
    if target.kind == "oci" and (Path(target.path) / "index.json").exists():
        layout = LayoutFolder(Path(target.path), target.ref)
        return layout, layout.tagged(target.ref) if target.ref else None
    return None
