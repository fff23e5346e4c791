"""`imagesmith verify`: whether an image is signed by whom it should be."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imagesmith.cli.common import add_session_flags, opened, platform_of, print_json, say
from imagesmith.cli.flags import add_platform, pairs
from imagesmith.cli.identityflags import add_keyless, add_notation, keyless_judge, notation_trust
from imagesmith.cli.keyflags import add_public_keys, public_keys
from imagesmith.cli.lines import one_line
from imagesmith.errors import UsageError
from imagesmith.transports.names import PlaceName

if TYPE_CHECKING:
    from imagesmith.trust.verifying import Findings, Verified

__all__ = ["add_verify_flags", "configure", "findings_of", "line_of", "run", "said_of"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_verify_flags(parser)
    add_notation(parser)
    parser.add_argument(
        "--rebuild", action="store_true", help="it is also what its provenance makes, built again here"
    )


def add_verify_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of both verbs that verify."""
    parser.add_argument("ref", help="the image: in a registry, a layout, an archive or the store")
    add_public_keys(parser)
    add_keyless(parser)
    parser.add_argument(
        "-a", "--annotations", action="append", default=[], metavar="K=V", help="must be said in it"
    )
    add_platform(parser, "verify this platform's image by its own signature, not the index")
    parser.add_argument(
        "-o", "--output", default="text", choices=("text", "json"), help="how it is told (default: text)"
    )
    parser.add_argument(
        "--json", action="store_const", const="json", dest="output", help="the same as -o json"
    )
    add_session_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    asks_who = bool(args.key or args.trusted_root or args.notation_root or not args.rebuild)
    good = findings_of(args).need() if asks_who else ()
    made = _rebuilt(args, good) if args.rebuild else []
    if args.output == "json":
        print_json([_document(v) for v in good])
    else:
        say(*(one_line(line_of(v)) for v in good), *made)
    return 0


def _rebuilt(args: argparse.Namespace, good: Sequence[Verified]) -> list[str]:
    """A line for each platform of what is verified, if it is what its provenance makes.

    Raises:
        Different: it is not.
    """
    from imagesmith.cli.rebuilding import rebuilt_alike

    place = PlaceName.parse(args.ref)
    if good and place.kind == "registry" and place.image is not None:  # a tag may move meanwhile
        return rebuilt_alike(str(place.image.with_digest(good[0].digest)), args)
    return rebuilt_alike(args.ref, args)


def findings_of(
    args: argparse.Namespace, *, predicate_type: str = "", attestations: bool = False
) -> Findings:
    """What is found for the image that the flags name; what does not count is told on standard error."""
    from imagesmith.trust.desk import findings_at
    from imagesmith.trust.verifying import Asked

    trusted = None if attestations else notation_trust(args)
    if not (args.key or args.trusted_root or trusted):
        raise UsageError(
            "--key is missing: whose signature counts must be said",
            hint="or --trusted-root for signatures without a key, or --notation-root for Notation's",
        )
    asked = Asked(
        keys=public_keys(args.key),
        keyless=keyless_judge(args),
        annotations=pairs(args.annotations, "--annotations"),
        attestations=attestations,
        predicate_type=predicate_type,
    )
    place, platform = PlaceName.parse(args.ref), platform_of(args) if args.platform else None
    with opened(args, spare=True) as (session, store):
        found = findings_at(
            place, session, store, asked, platform=platform, trust=trusted, now_s=int(time.time())
        )
    for refused in found.refused:
        sys.stderr.write(f"{one_line(f'does not count: {refused.where}: {refused.why}')}\n")
    return found


def line_of(v: Verified) -> str:
    """A good signature in a line: what is signed, by whom, in which form, when, and what it says."""
    parts = [str(v.digest), f"signed by {v.signer.name} ({v.signer.kind}),", v.form]
    if v.time:
        parts.append(f"of {v.time}" if v.vouched else f"dated {v.time}")
    if v.reference:
        parts.append(f"as {v.reference}")
    parts += [f"{key}={value}" for key, value in v.annotations.items() if key != "timestamp"]
    return " ".join(parts)


def _document(v: Verified) -> dict[str, Any]:
    """A good signature as cosign prints it, with who signed, how and when beside it."""
    return {
        "critical": {
            "identity": {"docker-reference": v.reference},
            "image": {"docker-manifest-digest": str(v.digest)},
            "type": v.predicate_type or "cosign container image signature",
        },
        "optional": dict(v.annotations) or None,
        **said_of(v),
    }


def said_of(v: Verified) -> dict[str, Any]:
    """Who signed, how and when."""
    return {
        "signer": {"name": v.signer.name, "kind": v.signer.kind},
        "form": v.form,
        "where": v.where,
        "time": v.time,
        "timeIsSigned": v.vouched,
    }
