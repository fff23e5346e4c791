"""login and logout: credentials for registries, kept where Docker keeps them."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable

from imagesmith.errors import UsageError

__all__ = ["configure"]


def configure(name: str, parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """Declare the flags of login or logout."""
    parser.add_argument("registry", nargs="?", default="docker.io", help="host[:port] (default: Docker Hub)")
    if name == "logout":
        return _logout
    parser.add_argument("-u", "--username", default="", help="user name")
    parser.add_argument(
        "-p", "--password", default="", help="password; --password-stdin keeps it out of the process list"
    )
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    parser.add_argument("--insecure", action="store_true", help="plain HTTP, or any certificate")
    return _login


def _login(args: argparse.Namespace) -> int:
    from imagesmith.credentials.login import login

    if args.password_stdin and args.password:
        raise UsageError("--password and --password-stdin are mutually exclusive")
    user, password = args.username, args.password
    if args.password_stdin:
        if not user:
            raise UsageError("must provide --username with --password-stdin")
        password = sys.stdin.read().rstrip("\r\n")
    if not user or not password:
        if not sys.stdin.isatty():
            raise UsageError(
                "cannot ask for a password without a terminal", hint="use -u USER --password-stdin"
            )
        user = user or input("Username: ")
        password = password or getpass.getpass("Password: ")
    where = login(args.registry, user, password, insecure=args.insecure)
    sys.stdout.write(f"logged in to {args.registry}; kept in {where}\n")
    return 0


def _logout(args: argparse.Namespace) -> int:
    from imagesmith.credentials.login import logout

    removed = logout(args.registry)
    sys.stdout.write(
        f"removed the credentials for {args.registry}\n" if removed else f"not logged in to {args.registry}\n"
    )
    return 0
