"""Flags that say who one is to a registry and how it is reached: for one side of a copy, or for all there is.

Why: those who come from skopeo have them in their scripts, and the two registries of a copy are rarely one
user's. What they say goes before files and environment, for registries and not for mirrors.
Spec: skopeo-copy(1), skopeo-inspect(1) for the names.
Trust: a password on a command line is seen by whoever lists processes; USER alone asks for it. It stands in
no message and in no log.
"""

from __future__ import annotations

import argparse
import os
import sys

from imagesmith.cli.flags import access_of
from imagesmith.errors import UsageError
from imagesmith.settings import Access, Login
from imagesmith.values import replace

__all__ = ["add_own_flags", "add_retry_flags", "add_side_flags", "own_access_of", "sides_of"]

_SIDES = {"src": "the source", "dest": "the target"}


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= 100):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 100")
    return int(text)


def _seconds(text: str) -> float:
    from imagesmith.options import parse_timeout

    try:
        return parse_timeout(text, "a pause")
    except UsageError as e:
        raise argparse.ArgumentTypeError(e.message) from e


def add_retry_flags(group: argparse._ActionsContainer) -> None:
    """How often requests that failed are tried again."""
    group.add_argument(
        "--retry", "--retry-times", dest="retry", type=_count, default=-1, metavar="N",
        help="try requests that failed N times again (default: up to 7, as is worth it)",
    )  # fmt: skip
    group.add_argument(
        "--retry-delay", type=_seconds, default=0.0, metavar="TIME",
        help="the pause before each, as 2s (default: one that grows)",
    )  # fmt: skip


def _add(group: argparse._ActionsContainer, prefix: str, whose: str) -> None:
    """The flags of one side, and of the only one where the prefix is empty."""
    dash = f"--{prefix}-" if prefix else "--"
    whole = f"{prefix}_" if prefix else "own_"
    for name, metavar, text in (
        ("creds", "USER[:PASS]", f"who you are to {whose}; without PASS it is asked for, or a line of stdin"),
        ("username", "USER", "the same, with the password in a flag of its own, or asked for"),
        ("password", "PASS", "the password; whoever lists processes sees it"),
        ("registry-token", "TOKEN", f"a bearer token for {whose}"),
    ):
        dest = f"{whole}{name.replace('-', '_')}"
        group.add_argument(f"{dash}{name}", dest=dest, default="", metavar=metavar, help=text)
    group.add_argument(
        f"{dash}no-creds", dest=f"{whole}no_creds", action="store_true", help=f"show {whose} no credentials"
    )
    group.add_argument(
        f"{dash}tls-verify", dest=f"{whole}tls_verify", action=argparse.BooleanOptionalAction, default=None,
        help=f"HTTPS and good certificates for {whose}; =false for plain HTTP, or any certificate",
    )  # fmt: skip


def add_own_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of verbs that speak to one registry."""
    group = parser.add_argument_group("who you are to the registry, instead of a login")
    _add(group, "", "the registry")
    add_retry_flags(group)


def add_side_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of verbs that copy from a registry to another."""
    for prefix, whose in _SIDES.items():
        group = parser.add_argument_group(f"how {whose} is reached, where that is not how both are")
        _add(group, prefix, whose)
        group.add_argument(
            f"--{prefix}-authfile", default="", metavar="FILE", help=f"credentials for {whose}"
        )
        group.add_argument(
            f"--{prefix}-cert-dir", default="", metavar="DIR", help=f"more certificates for {whose}"
        )
    add_retry_flags(parser)


def own_access_of(args: argparse.Namespace) -> Access:
    """How the registry is reached, by the flags of add_own_flags where the verb has them.

    Raises:
        UsageError: flags exclude each other, or name what is not there.
    """
    access = access_of(args)
    if not hasattr(args, "own_creds"):
        return access
    return _with(access, args, "", "the registry")


def sides_of(args: argparse.Namespace) -> tuple[Access, Access]:
    """How the source and the target are reached, by the flags of add_side_flags.

    Raises:
        UsageError: flags exclude each other, or name what is not there.
    """
    base, made = access_of(args), []
    for prefix, whose in _SIDES.items():
        authfile, folder = getattr(args, f"{prefix}_authfile"), getattr(args, f"{prefix}_cert_dir")
        if authfile and not os.path.isfile(authfile):
            raise UsageError(f"--{prefix}-authfile {authfile}: no such file")
        if folder and not os.path.isdir(folder):
            raise UsageError(f"--{prefix}-cert-dir {folder}: no such folder")
        access = replace(base, authfile=authfile or base.authfile, cert_dir=folder or base.cert_dir)
        made.append(_with(access, args, prefix, whose))
    return made[0], made[1]


def _with(access: Access, args: argparse.Namespace, prefix: str, whose: str) -> Access:
    whole, dash = f"{prefix}_" if prefix else "own_", f"--{prefix}-" if prefix else "--"
    verify = getattr(args, f"{whole}tls_verify")
    if verify and access.insecure is True:
        raise UsageError(f"--insecure and {dash}tls-verify exclude each other")
    return replace(
        access,
        insecure=access.insecure if verify is None else not verify,
        login=_login(args, whole, dash, whose),
        retries=args.retry,
        retry_delay_s=args.retry_delay,
    )


def _login(args: argparse.Namespace, whole: str, dash: str, whose: str) -> Login | None:
    creds, user, password, token, nobody = (
        getattr(args, f"{whole}{name}")
        for name in ("creds", "username", "password", "registry_token", "no_creds")
    )
    given = [
        f"{dash}{name}"
        for name, value in (
            ("creds", creds), ("username", user), ("registry-token", token), ("no-creds", nobody)
        )
        if value
    ]  # fmt: skip
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other")
    if password and not user:
        raise UsageError(f"{dash}password without {dash}username")
    if nobody:
        return Login()
    if token:
        return Login("bearer", "", token)
    if creds:
        user, _, password = creds.partition(":")
        if not user:
            raise UsageError(f"{dash}creds: expected USER:PASSWORD, or USER")
    if not user:
        return None
    if ":" in user:
        raise UsageError(f"{dash}username: a user name cannot hold a colon")
    return Login("basic", user, password or _asked(user, dash, whose))


def _asked(user: str, dash: str, whose: str) -> str:
    """The password, from the terminal or a line of standard input."""
    if sys.stdin.isatty():
        import getpass

        found = getpass.getpass(f"Password of {user} for {whose}: ")
    else:
        found = sys.stdin.readline().rstrip("\r\n")
    if not found:
        raise UsageError(f"{dash}creds {user}: no password on standard input", hint="USER:PASSWORD has it")
    return found
