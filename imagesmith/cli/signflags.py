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
from imagesmith.oci.times import parse_epoch
from imagesmith.transports.names import PlaceName

if TYPE_CHECKING:
    from imagesmith.trust.desk import Desk
    from imagesmith.trust.finding import Form
    from imagesmith.trust.signing import Made, Signing

__all__ = [
    "add_signing_flags",
    "print_made",
    "signing_at",
    "signing_of",
    "time_now",
]


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
    from imagesmith.trust.desk import reference_of
    from imagesmith.trust.signing import FORMS, Signing

    place = PlaceName.parse(args.ref)
    forms: Sequence[Form] = FORMS if args.form == "both" else (args.form,)
    return Signing(
        reference=reference_of(place, identity=args.sign_container_identity, tag=args.tag),
        forms=forms,
        annotations=annotations or {},
        time_s=time_now(),
        key=open_key(args.key, args.password_file),
    )


@contextlib.contextmanager
def signing_at(args: argparse.Namespace) -> Iterator[Desk]:
    """The image that the flags name, ready to be signed; see trust/desk.py."""
    from imagesmith.trust import desk

    with (
        opened(args) as (session, store),
        desk.signing_at(PlaceName.parse(args.ref), session, store, tag=args.tag) as found,
    ):
        yield found


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
