"""`imagesmith verify-attestation`: what is said of an image, by whom it should be."""

from __future__ import annotations

import argparse
import json

from imagesmith.attest.predicates import TYPES, type_of
from imagesmith.cli.common import say
from imagesmith.cli.lines import harmless_json, one_line
from imagesmith.cli.verify import add_verify_flags, findings_of, line_of, said_of

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_verify_flags(parser)
    parser.add_argument(
        "--type",
        default="",
        metavar="TYPE",
        help=f"of what is said: {', '.join(TYPES)}, or a URI (default: any)",
    )


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    kind = type_of(args.type) if args.type else ""
    good = findings_of(args, predicate_type=kind, attestations=True).need("attestation")
    for v in good:
        if args.output == "json":  # an envelope a line, as cosign prints them
            envelope = v.envelope.to_json() if v.envelope else {}
            say(harmless_json(json.dumps({**envelope, "digest": str(v.digest), **said_of(v)})))
        else:
            say(one_line(f"{line_of(v)} says {v.predicate_type}"))
    return 0
