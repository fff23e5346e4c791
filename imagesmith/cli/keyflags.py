"""Keys and passwords on command lines: which flags name them, and where a password comes from.

Trust: a password is never an argument, which other users could see, and is shown nowhere.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from typing import TYPE_CHECKING

from imagesmith.cli.common import input_file
from imagesmith.errors import UsageError

if TYPE_CHECKING:
    from imagesmith.trust.keys import PrivateKey, PublicKey

__all__ = [
    "add_password",
    "add_private_key",
    "add_public_keys",
    "new_password",
    "open_key",
    "public_half",
    "public_keys",
]

_VARIABLES = ("IMAGESMITH_KEY_PASSWORD", "COSIGN_PASSWORD")
_MOST_BYTES = 64 << 10
#: Services and devices that keep keys; cosign can ask them.
_ELSEWHERE = ("awskms", "azurekms", "gcpkms", "hashivault", "k8s", "pkcs11", "gitlab", "github", "kms")
_ENV = "env://"


def add_private_key(parser: argparse._ActionsContainer) -> None:
    """--key for the one that signs, and its password."""
    parser.add_argument(
        "--key", default="", metavar="FILE", help="the private key: a file, or env://NAME of a variable"
    )
    add_password(parser)


def add_password(parser: argparse._ActionsContainer) -> None:
    """--password-file."""
    parser.add_argument(
        "--password-file", default="", metavar="FILE",
        help="the key's password, - for standard input (default: $IMAGESMITH_KEY_PASSWORD, "
        "$COSIGN_PASSWORD, or asked)",
    )  # fmt: skip


def add_public_keys(parser: argparse._ActionsContainer) -> None:
    """--key for those that verify."""
    parser.add_argument(
        "--key", action="append", default=[], metavar="FILE",
        help="a public key: a file, or env://NAME; of several any one is enough",
    )  # fmt: skip


def public_keys(texts: list[str]) -> list[PublicKey]:
    """The public keys that flags name.

    Raises:
        UsageError: one cannot be read.
        InvalidDocument: one is none.
    """
    from imagesmith.trust.keys import PublicKey

    return [PublicKey.parse(_read(text), text) for text in texts]


def public_half(text: str, password_file: str) -> PublicKey:
    """The public key in a file of either half; see `open_key`."""
    from imagesmith.trust.keys import PublicKey, is_private

    data = _read(text)
    return open_key(text, password_file).public if is_private(data, text) else PublicKey.parse(data, text)


def open_key(text: str, password_file: str, flag: str = "--key") -> PrivateKey:
    """The private key that a flag names, opened.

    Raises:
        UsageError: it is not given, cannot be read, or its password is another, or nowhere.
        InvalidDocument: it is none.
    """
    from imagesmith.trust.keys import open_private

    if not text:
        raise UsageError(
            f"{flag} is missing: signing without a key (Fulcio, Rekor) is not done here",
            hint="`imagesmith key generate` makes a key",
        )
    return open_private(_read(text), text, lambda: _password(text, password_file))


def _read(text: str) -> bytes:
    """The content of a key's file, or of a variable."""
    scheme, colon, rest = text.partition("://")
    if text.startswith(_ENV):
        value = os.environ.get(rest)
        if value is None:
            raise UsageError(f"--key {text}: there is no variable {rest}")
        return value.encode("utf-8", "surrogateescape")
    if colon and scheme in _ELSEWHERE:
        raise UsageError(f"--key {text}: keys of {scheme} are not known; a file, or env://NAME of a variable")
    with input_file(text) as f:
        return f.read(_MOST_BYTES + 1)


def new_password(password_file: str) -> bytes:
    """The password for a new key; typed twice where it is asked for."""
    return _password("the new key", password_file, again=True)


def _password(name: str, password_file: str, *, again: bool = False) -> bytes:
    if password_file:
        with input_file(password_file) as f:
            return f.read(_MOST_BYTES).removesuffix(b"\n").removesuffix(b"\r")
    for variable in _VARIABLES:
        if variable in os.environ:
            return os.fsencode(os.environ[variable])
    if not sys.stdin.isatty():
        raise UsageError(
            f"{name}: there is no terminal to ask for the password",
            hint="use --password-file FILE, or the variable IMAGESMITH_KEY_PASSWORD",
        )
    typed = getpass.getpass(f"Password for {name}: ")
    if again and getpass.getpass("Again: ") != typed:
        raise UsageError("the two passwords differ")
    return typed.encode()
