"""What the verbs that sign, and those that verify, share: names, the place of signatures, what comes out."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imagesmith.cli.common import print_json, say
from imagesmith.errors import InvalidReference, UsageError
from imagesmith.oci.names import ImageRef
from imagesmith.oci.times import parse_epoch
from imagesmith.transports.names import PlaceName

if TYPE_CHECKING:
    from imagesmith.trust.finding import Form
    from imagesmith.trust.signing import Made

__all__ = ["add_signing_flags", "forms_of", "place_of_signatures", "print_made", "reference_of", "time_now"]

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


def forms_of(args: argparse.Namespace) -> Sequence[Form]:
    """The forms that --form names."""
    from imagesmith.trust.signing import FORMS

    return FORMS if args.form == "both" else (args.form,)


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


def reference_of(args: argparse.Namespace, place: PlaceName) -> str:
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
