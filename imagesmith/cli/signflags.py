"""What the verbs that sign, and those that verify, share: how and where is signed, and what comes out."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from imagesmith.cli.common import opened, print_json, say
from imagesmith.cli.keyflags import open_key
from imagesmith.errors import InvalidReference, UsageError
from imagesmith.oci.names import ImageRef
from imagesmith.oci.times import parse_epoch
from imagesmith.transports.names import PlaceName
from imagesmith.values import frozen

if TYPE_CHECKING:
    from imagesmith.interfaces import ImageSource
    from imagesmith.oci.model import Descriptor
    from imagesmith.store.store import Store
    from imagesmith.transports.beside import Beside
    from imagesmith.trust.finding import Form
    from imagesmith.trust.signing import Made, Signing

__all__ = [
    "Desk",
    "add_signing_flags",
    "place_of_signatures",
    "print_made",
    "signing_at",
    "signing_of",
    "time_now",
]

#: Another repository for all signatures, as cosign has it.
_REPOSITORY = "COSIGN_REPOSITORY"


def add_signing_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the verbs that sign."""
    parser.add_argument(
        "--form", default="both", choices=("both", "bundle", "tag"),
        help="bundle: a referrer, as cosign 3; tag: sha256-….sig or .att, as podman and cosign 2",
    )  # fmt: skip
    parser.add_argument("--tag", action="store_true", help="sign what a tag stands for now, and say the tag")
    parser.add_argument(
        "--sign-container-identity", default="", metavar="NAME",
        help="the name in the signature (default: the repository)",
    )  # fmt: skip


def signing_of(args: argparse.Namespace, annotations: Mapping[str, str] | None = None) -> Signing:
    """How the flags want it signed; the key's password may be asked for.

    Raises:
        UsageError: the image has no name to be signed by, or the key cannot be opened.
    """
    from imagesmith.trust.signing import FORMS, Signing

    forms: Sequence[Form] = FORMS if args.form == "both" else (args.form,)
    return Signing(
        reference=_reference_of(args, PlaceName.parse(args.ref)),
        forms=forms,
        annotations=annotations or {},
        time_s=time_now(),
        key=open_key(args.key, args.password_file),
    )


@frozen(eq=False)
class Desk:
    """Where something is signed: the image, what its name stands for, and where its signatures are and go."""

    source: ImageSource
    root: Descriptor
    signatures: ImageSource
    beside: Beside
    store: Store


@contextlib.contextmanager
def signing_at(args: argparse.Namespace) -> Iterator[Desk]:
    """The image that the flags name, ready to be signed; a tag is asked for once.

    Raises:
        UsageError: it is a tag in a registry, which may have been moved by others.
    """
    from imagesmith.transports.beside import Beside
    from imagesmith.transports.names import open_source

    place = PlaceName.parse(args.ref)
    there = place_of_signatures(place)
    with (
        opened(args) as (session, store),
        open_source(place, session, store) as source,
        open_source(there, session, store) as signatures,
    ):
        root = source.root()
        image = place.image
        if place.kind == "registry" and image is not None and image.digest is None and not args.tag:
            raise UsageError(
                f"{place} is a tag, which others may move: sign what it should stand for by its digest",
                hint=f"now that is {image.name}@{root.digest}; --tag signs what it stands for now",
            )
        yield Desk(source, root, signatures, Beside(there, session, store), store)


def place_of_signatures(place: PlaceName) -> PlaceName:
    """Where an image's signatures are: beside it, or in the repository that COSIGN_REPOSITORY names."""
    named = os.environ.get(_REPOSITORY, "")
    if not named:
        return place
    try:
        ref = ImageRef.parse(named, default_tag=False)
    except InvalidReference as e:
        raise UsageError(f"{_REPOSITORY}: {e.message}") from e
    return PlaceName(kind="registry", image=ref.with_tag(None))


def _reference_of(args: argparse.Namespace, place: PlaceName) -> str:
    """The name that an image is signed by.

    Raises:
        UsageError: it is a tag, which may move, or there is no name.
    """
    if args.sign_container_identity:
        return str(args.sign_container_identity)
    image = place.image
    if image is None:
        image = _name_in_layout(place)
    return f"{image.name}:{image.tag}" if args.tag and image.tag else image.name


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


def time_now() -> int:
    """Seconds since 1970: now, or SOURCE_DATE_EPOCH."""
    asked = parse_epoch(os.environ.get("SOURCE_DATE_EPOCH", ""))
    return int(time.time()) if asked is None else asked


def print_made(args: argparse.Namespace, made: Sequence[Made]) -> None:
    """A line for each manifest that has signatures now."""
    if args.json:
        print_json(
            [
                {
                    "digest": str(m.subject.digest),
                    "mediaType": m.subject.media_type,
                    "form": m.form,
                    "new": m.new,
                }
                for m in made
            ]
        )
        return
    for digest in dict.fromkeys(m.subject.digest for m in made):
        said = ", ".join(
            f"{m.form}{'' if m.new else ' (was there)'}" for m in made if m.subject.digest == digest
        )
        say(str(digest) if args.quiet else f"{digest} {said}")
