"""Where images are signed and verified: the image, its signatures, and the name that it is signed by.

Why: commands and programs sign and verify alike; only how keys and answers come and go differs.
Trust: a tag may be moved by others: what it stands for is asked once, and signed only where that was meant.
Threads: one for each image.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from imagesmith.errors import InvalidReference, UsageError
from imagesmith.interfaces import ImageSource
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.transports.beside import Beside
from imagesmith.transports.listing import descriptor_of
from imagesmith.transports.names import PlaceName, open_source
from imagesmith.trust.signing import Made, Signing, sign, signed_parts
from imagesmith.trust.verifying import Asked, Findings, verify
from imagesmith.values import frozen, replace

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session
    from imagesmith.trust.notation import Trust

__all__ = ["Desk", "findings_at", "place_of_signatures", "reference_of", "sign_at", "signing_at"]

#: Another repository for all signatures, as cosign has it.
_REPOSITORY = "COSIGN_REPOSITORY"


@frozen(eq=False)
class Desk:
    """Where something is signed: the image, what its name stands for, and where its signatures are and go."""

    source: ImageSource
    root: Descriptor
    signatures: ImageSource
    beside: Beside
    store: Store


@contextlib.contextmanager
def signing_at(
    place: PlaceName, session: Session, store: Store, *, tag: bool, env: Mapping[str, str] = os.environ
) -> Iterator[Desk]:
    """An image, ready to be signed; a tag is asked for once.

    Args:
        place: the image.
        session, store: what it is reached by.
        tag: what a tag stands for now may be signed.
        env: may name another repository for signatures.

    Raises:
        UsageError: it is a tag in a registry, which may have been moved by others.
    """
    there = place_of_signatures(place, env)
    with (
        open_source(place, session, store) as source,
        open_source(there, session, store) as signatures,
    ):
        root = source.root()
        image = place.image
        if place.kind == "registry" and image is not None and image.digest is None and not tag:
            raise UsageError(
                f"{place} is a tag, which others may move: sign what it should stand for by its digest",
                hint=f"now that is {image.name}@{root.digest}; --tag signs what it stands for now",
            )
        yield Desk(source, root, signatures, Beside(there, session, store), store)


def sign_at(desk: Desk, signing: Signing, *, recursive: bool = True) -> list[Made]:
    """Sign an image; of an index, with `recursive`, each of its images too.

    Raises:
        RegistryError: a signature cannot be written.
    """
    parts = signed_parts(desk.source, desk.root) if recursive else [desk.root]
    return [m for d in parts for m in sign(desk.signatures, d, desk.beside, desk.store.blobs, signing)]


def findings_at(
    place: PlaceName,
    session: Session,
    store: Store,
    asked: Asked,
    *,
    platform: Platform | None = None,
    trust: Trust | None = None,
    now_s: int = 0,
    env: Mapping[str, str] = os.environ,
) -> Findings:
    """What is found for an image: signatures that count, and what does not.

    Args:
        place: the image.
        session, store: what it is reached by.
        asked: whose signature counts.
        platform: of an index, this platform's image by its own signature; None for the index.
        trust: who is believed about signatures of the Notary Project; None for nobody.
        now_s: the time for those, in seconds since 1970.
        env: may name another repository for signatures.

    Raises:
        RegistryError: the place cannot be asked.
    """
    with (
        open_source(place, session, store) as source,
        open_source(place_of_signatures(place, env), session, store) as signatures,
    ):
        d = descriptor_of(source, platform)
        if trust is not None:
            from imagesmith.trust.judges import notation

            asked = replace(asked, notation=notation(trust, d, now_s))
        return verify(signatures, d.digest, asked)


def place_of_signatures(place: PlaceName, env: Mapping[str, str] = os.environ) -> PlaceName:
    """Where an image's signatures are: beside it, or in the repository that COSIGN_REPOSITORY names."""
    named = env.get(_REPOSITORY, "")
    if not named:
        return place
    try:
        ref = ImageRef.parse(named, default_tag=False)
    except InvalidReference as e:
        raise UsageError(f"{_REPOSITORY}: {e.message}") from e
    return PlaceName(kind="registry", image=ref.with_tag(None))


def reference_of(place: PlaceName, *, identity: str = "", tag: bool = False) -> str:
    """The name that an image is signed by.

    Args:
        place: the image.
        identity: another name, instead.
        tag: the name with its tag.

    Raises:
        UsageError: there is no name.
    """
    if identity:
        return identity
    image = place.image
    if image is None:
        image = _name_in_layout(place)
    return f"{image.name}:{image.tag}" if tag and image.tag else image.name


def _name_in_layout(place: PlaceName) -> ImageRef:
    """The name that a layout has for an image; a word alone, as `1.0`, is a tag of whoever has the layout.

    Raises:
        UsageError: there is none.
    """
    with contextlib.suppress(InvalidReference):
        if any(sign in place.ref for sign in "/:@"):
            return ImageRef.parse(place.ref)
    raise UsageError(
        f"{place}: the image has no name to be signed by",
        hint="give one: --sign-container-identity NAME",
    )
