"""`imagesmith attest`: what is said of an image, signed, as cosign does it with a key."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imagesmith.cli.common import add_transfer_flags, input_file, platform_of
from imagesmith.cli.flags import add_platform
from imagesmith.cli.keyflags import add_private_key
from imagesmith.cli.signflags import add_signing_flags, print_made, signing_at, signing_of
from imagesmith.errors import InvalidDocument, LimitExceeded, UsageError
from imagesmith.oci.times import format_ns

if TYPE_CHECKING:
    from imagesmith.attest.statement import Claim

__all__ = ["TYPES", "configure", "run", "type_of"]

#: cosign's words for types of predicates.
TYPES = {
    "slsaprovenance": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance02": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance1": "https://slsa.dev/provenance/v1",
    "link": "https://in-toto.io/Link/v1",
    "spdxjson": "https://spdx.dev/Document",
    "cyclonedx": "https://cyclonedx.org/bom",
    "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
    "openvex": "https://openvex.dev/ns",
    "custom": "https://cosign.sigstore.dev/attestation/v1",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("ref", help="the image, by its digest: in a registry, a layout or the store")
    add_private_key(parser)
    parser.add_argument(
        "--predicate", required=True, metavar="FILE", help="what is said, as JSON; - for standard input"
    )
    parser.add_argument(
        "--type", default="custom", metavar="TYPE", help=f"of the predicate: {', '.join(TYPES)}, or a URI"
    )
    add_platform(parser, "say it of this platform's image, not of the index")
    add_signing_flags(parser)
    add_transfer_flags(parser, one=False)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.copier import choose
    from imagesmith.trust.signing import attest

    signing = signing_of(args)
    claim = _claim(args, signing.time_s)
    with signing_at(args) as desk:
        d = choose(desk.source, desk.root, platform_of(args))[0] if args.platform else desk.root
        made = attest(desk.signatures, d, desk.beside, desk.store.blobs, signing, claim)
    print_made(args, made)
    return 0


def type_of(text: str) -> str:
    """The predicate type behind one of cosign's words, or a URI.

    Raises:
        UsageError: it is neither.
    """
    if text in TYPES or "://" in text:
        return TYPES.get(text, text)
    raise UsageError(f"--type {text}: no predicate type", hint=f"one of {', '.join(TYPES)}, or a URI")


def _claim(args: argparse.Namespace, time_s: int) -> Claim:
    """What is said; of the type `custom` cosign's own predicate, which holds any text."""
    from imagesmith.attest.reading import MAX_STATEMENT_BYTES
    from imagesmith.attest.statement import Claim
    from imagesmith.fs.results import input_name
    from imagesmith.oci.codec import parse_object

    kind, name = type_of(args.type), input_name(args.predicate)
    with input_file(args.predicate) as f:
        raw = f.read(MAX_STATEMENT_BYTES + 1)
    if len(raw) > MAX_STATEMENT_BYTES:
        raise LimitExceeded(f"{name}: more than {MAX_STATEMENT_BYTES} bytes are too many for a predicate")
    if args.type == "custom":
        try:
            data = raw.decode()
        except UnicodeDecodeError as e:  # JSON could only hold other bytes than were given
            raise InvalidDocument(f"{name}: not UTF-8 at byte {e.start}, and --type custom holds text") from e
        return Claim(kind, {"Data": data, "Timestamp": format_ns(time_s * 1_000_000_000)})
    return Claim(kind, parse_object(raw, name).data)
