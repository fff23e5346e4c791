"""Whom to believe about signers without a key of their own: trusted roots, certificates, and who is expected.

Trust: the files are the user's word for whom to believe, and read as strictly as strangers' documents.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imagesmith.cli.common import input_file
from imagesmith.errors import UsageError

if TYPE_CHECKING:
    from imagesmith.trust.certificates import Certificate
    from imagesmith.trust.notation import Trust
    from imagesmith.trust.verifying import Keyless

__all__ = ["add_keyless", "add_notation", "keyless_judge", "notation_trust"]

_MOST_BYTES = 8 << 20


def add_keyless(parser: argparse._ActionsContainer) -> None:
    """--trusted-root, and who is expected by a certificate of its authorities."""
    parser.add_argument(
        "--trusted-root", default="", metavar="FILE",
        help="sigstore's trusted_root.json: signatures without a key count, verified offline",
    )  # fmt: skip
    for flag, what in (("identity", "name in the certificate"), ("oidc-issuer", "one who knows them by it")):
        for suffix, how in (("", ""), ("-regexp", ", as a regular expression")):
            parser.add_argument(
                f"--certificate-{flag}{suffix}", default="", metavar="TEXT", help=f"the signer's {what}{how}"
            )


def keyless_judge(args: argparse.Namespace) -> Keyless | None:
    """The judge of signatures without a key that the flags describe; None where they name no root.

    Raises:
        UsageError: the file cannot be read, or who is expected is not said.
        InvalidDocument: it is no trusted root.
    """
    expected = {
        "identity": args.certificate_identity,
        "identity_regexp": args.certificate_identity_regexp,
        "issuer": args.certificate_oidc_issuer,
        "issuer_regexp": args.certificate_oidc_issuer_regexp,
    }
    if not args.trusted_root:
        if any(expected.values()):
            raise UsageError(
                "--trusted-root is missing: who issues certificates to signers must be said",
                hint="`cosign trusted-root create`, or the trusted_root.json that sigstore's tools keep",
            )
        return None
    from imagesmith.trust.judges import keyless
    from imagesmith.trust.sigstore import Expected
    from imagesmith.trust.trustedroot import TrustedRoot

    root = TrustedRoot.parse(_read(args.trusted_root), args.trusted_root)
    return keyless(root, Expected.parse(**expected))


def add_notation(parser: argparse._ActionsContainer) -> None:
    """--notation-root, and what goes with it."""
    parser.add_argument(
        "--notation-root", action="append", default=[], metavar="FILE",
        help="certificates in PEM or DER: Notation's signatures count that lead to one",
    )  # fmt: skip
    parser.add_argument(
        "--notation-tsa-root", action="append", default=[], metavar="FILE",
        help="the same for timestamps of theirs; without one, certificates must be valid now",
    )  # fmt: skip
    parser.add_argument(
        "--notation-identity", action="append", default=[], metavar="DN",
        help="attributes that a signer's subject must have, 'C=US, ST=WA, O=example'; of several any one",
    )  # fmt: skip


def notation_trust(args: argparse.Namespace) -> Trust | None:
    """Who is believed about Notation's signatures, by the flags; None where they name no root.

    Raises:
        UsageError: a file cannot be read, or a flag is without the root that it is of.
        InvalidDocument: a file holds no certificates.
    """
    if not args.notation_root:
        if args.notation_tsa_root or args.notation_identity:
            raise UsageError("--notation-root is missing: whose certificates count must be said")
        return None
    from imagesmith.trust.notation import Trust

    return Trust(
        roots=_certificates(args.notation_root),
        clocks=_certificates(args.notation_tsa_root),
        identities=tuple(Trust.parse_identity(text) for text in args.notation_identity),
    )


def _certificates(files: list[str]) -> tuple[Certificate, ...]:
    from imagesmith.trust.certificates import Certificate

    return tuple(one for file in files for one in Certificate.parse_all(_read(file), file))


def _read(file: str) -> bytes:
    with input_file(file) as f:
        return f.read(_MOST_BYTES)
