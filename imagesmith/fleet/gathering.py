"""The end of a bake by many machines: what they pushed by digest becomes the images that were asked for.

An image for several platforms gets the very index that a bake on one machine writes: images in the order of
the platforms, then what is attested of them.
Trust: verdicts name manifests by digest; what these say comes through the strict door.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from imagesmith.errors import InvalidDocument
from imagesmith.export.writing import names_of_output
from imagesmith.fleet.endurance import ENDURED_S, endure
from imagesmith.fleet.units import Unit
from imagesmith.fleet.verdicts import Verdict
from imagesmith.image.forms import Form, form_of
from imagesmith.image.indexes import entries_of, index_of
from imagesmith.interfaces import ImageSource
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.request import BuildRequest, Output
from imagesmith.values import frozen, replace

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["Gathered", "gather"]


@frozen
class Gathered:
    """An image that was written, and its names."""

    descriptor: Descriptor
    tags: tuple[ImageRef, ...]

    def document(self) -> dict[str, object]:
        """What `bake --metadata-file` tells of it."""
        return {
            "containerimage.descriptor": self.descriptor.to_json(),
            "containerimage.digest": str(self.descriptor.digest),
            "image.name": ",".join(map(str, self.tags)),
        }


def gather(
    request: BuildRequest,
    units: Sequence[Unit],
    verdicts: Mapping[str, Verdict],
    session: Session,
    store: Store,
    *,
    endured_s: float = ENDURED_S,
) -> Gathered | None:
    """Name what the units of a target have pushed; None where it pushes nothing, or not all are done.

    Args:
        request: the target's.
        units: of the bake.
        verdicts: on them, by their ids.
        session: connections to registries.
        store: where an index is put together.
        endured_s: how long a registry may be away.

    Raises:
        RegistryError: the registry refused or failed.
    """
    own = [unit for unit in units if unit.target == request.name and not unit.stage and unit.push]
    pushed = [verdict.pushed for unit in own if (verdict := verdicts.get(str(unit.id))) and verdict.is_done]
    found = [d for d in pushed if d is not None]
    if not own or len(found) < len(own):
        return None
    return endure(lambda: _named(request, own, found, session, store), for_s=endured_s)


def _named(
    request: BuildRequest, own: Sequence[Unit], pushed: Sequence[Descriptor], session: Session, store: Store
) -> Gathered:
    tags = tuple(dict.fromkeys(ref for o in request.outputs for ref in names_of_output(o, request)))
    places = [
        session.repository(replace(ImageRef.parse(unit.push[0], default_tag=False), digest=d.digest))
        for unit, d in zip(own, pushed, strict=True)
    ]
    several = len(own) > 1 or request.indexed
    source: ImageSource = places[0]
    if several:
        output = next((o for o in request.outputs if o.type != "cacheonly"), Output(type="image"))
        forms = [form_of(output, request, None, Platform.parse(unit.platform), several=True) for unit in own]
        source = _index(request.name, places, forms, store)
    for tag in tags:
        session.copy(source, session.repository(tag))
    d = source.root()
    if several and forms[0].index_descriptor:
        d = replace(d, annotations=dict(forms[0].index_descriptor))
    return Gathered(d, tags)


def _index(name: str, places: Sequence[ImageSource], forms: Sequence[Form], store: Store) -> ImageSource:
    images, statements = [], []
    for place, form in zip(places, forms, strict=True):
        entries = entries_of(place)
        own = [entry for entry in entries if not entry.is_attestation]
        if len(own) != 1:
            raise InvalidDocument(f"{place.name}: {len(own)} images, where there should be one")
        images.append((place, [replace(own[0], annotations=dict(form.descriptor) or own[0].annotations)]))
        statements.append((place, [entry for entry in entries if entry.is_attestation]))
    first = forms[0]
    return index_of(
        name, [*images, *statements], store.blobs, annotations=dict(first.index), docker=not first.oci_types
    )
