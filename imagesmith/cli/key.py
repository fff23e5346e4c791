"""`imagesmith key generate|show`: keys for signatures."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.cli.common import print_json, say
from imagesmith.cli.keyflags import add_password, new_password, public_half
from imagesmith.errors import UsageError, cannot_write
from imagesmith.fs.atomic import put_whole
from imagesmith.trust.keys import KINDS, generate

if TYPE_CHECKING:
    from imagesmith.trust.keys import PublicKey

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="generate|show")
    make = verbs.add_parser("generate", help="make a key: PREFIX.key, under a password, and PREFIX.pub")
    make.add_argument("prefix", nargs="?", default="", help="of the files' names (default: cosign)")
    make.add_argument("--output-key-prefix", default="", metavar="PREFIX", help="the same, as cosign has it")
    make.add_argument(
        "--type", default=KINDS[0], choices=KINDS, help="the kind of key (default: %(default)s)"
    )
    make.add_argument(
        "--plain", action="store_true", help="PKCS#8 in PEM without a password, not cosign's file"
    )
    make.add_argument("--force", action="store_true", help="replace files that are there")
    show = verbs.add_parser("show", help="print the public key of a private or public one")
    show.add_argument("key", metavar="FILE", help="the key: a file, or env://NAME")
    for sub in (make, show):
        add_password(sub)
        sub.add_argument("--json", action="store_true", help="kind, hint and public key as JSON")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    if args.verb == "show":
        _tell(args, public_half(args.key, args.password_file), args.key)
        return 0
    if args.prefix and args.output_key_prefix:
        raise UsageError("the prefix is given twice: as a word, and as --output-key-prefix")
    if args.plain and args.password_file:
        raise UsageError("--plain and --password-file exclude each other")
    prefix = args.prefix or args.output_key_prefix or "cosign"
    files = [Path(f"{prefix}.key"), Path(f"{prefix}.pub")]
    for file in files:
        if not args.force and os.path.lexists(file):
            raise UsageError(
                f"{file} is there already", hint="--force replaces it, and the key in it is lost"
            )
    password = None if args.plain else new_password(args.password_file)
    key = generate(args.type, str(files[0]))
    _write(files[0], key.pem if password is None else key.encrypted(password), 0o600, args.force)
    _write(files[1], key.public.pem, None, args.force)
    if args.json:
        _tell(args, key.public, str(files[1]))
    else:
        say(f"{files[0]}: the private key, {key.public.kind}", f"{files[1]}: the public key, for others")
    return 0


def _write(file: Path, data: bytes, mode: int | None, force: bool) -> None:
    """A new file, whole; with force in the place of another."""
    try:
        put_whole(file.absolute(), data, mode=mode, new=not force)
    except OSError as e:
        raise cannot_write(e, file) from e


def _tell(args: argparse.Namespace, key: PublicKey, name: str) -> None:
    if args.json:
        print_json({"name": name, "kind": key.kind, "hint": key.hint, "pem": key.pem.decode()})
    else:
        sys.stdout.write(key.pem.decode())
