"""`imagesmith login`: credentials for a registry, checked first and kept where Docker keeps them."""

from __future__ import annotations

import argparse
import getpass
import sys

from imagesmith.cli.accounts import add_account
from imagesmith.cli.flags import access_of, add_registry_flags
from imagesmith.errors import UsageError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_account(parser)
    parser.add_argument("-u", "--username", default="", help="user name")
    parser.add_argument(
        "-p", "--password", default="", help="password; --password-stdin keeps it out of the process list"
    )
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    add_registry_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.credentials.dockerconfig import Credentials
    from imagesmith.credentials.login import account_of, keep
    from imagesmith.credentials.model import Credential
    from imagesmith.registry.hosts import hosts_of
    from imagesmith.registry.ping import check

    host, path = account_of(args.registry)
    access = access_of(args, login=True)
    credential = Credential(*_user_and_password(args))
    check(host, credential, hosts_of(access))
    where = keep(host, credential, Credentials(authfile=args.authfile), path)
    sys.stdout.write(f"logged in to {args.registry}; kept in {where}\n")
    return 0


def _user_and_password(args: argparse.Namespace) -> tuple[str, str]:
    if args.password_stdin and args.password:
        raise UsageError("--password and --password-stdin are mutually exclusive")
    user, password = args.username, args.password
    if args.password_stdin:
        if not user:
            raise UsageError("must provide --username with --password-stdin")
        password = sys.stdin.read().rstrip("\r\n")
        if not password:
            raise UsageError("no password on standard input")
    if not user or not password:
        if not sys.stdin.isatty():
            raise UsageError(
                "cannot ask for a password without a terminal", hint="use -u USER --password-stdin"
            )
        user = user or input("Username: ")
        password = password or getpass.getpass("Password: ")
    if ":" in user:
        raise UsageError("a user name cannot hold a colon")
    return user, password
