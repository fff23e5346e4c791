"""login and logout: credentials for registries, checked first and kept where Docker keeps them."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable

from imagesmith.cli.flags import access_of, add_authfile, add_registry_flags
from imagesmith.errors import UsageError

__all__ = ["configure"]


def configure(name: str, parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """Declare the flags of login or logout."""
    parser.add_argument(
        "registry", nargs="?", default="docker.io", help="host[:port][/path] (default: Docker Hub)"
    )
    if name == "logout":
        add_authfile(parser)
        return _logout
    parser.add_argument("-u", "--username", default="", help="user name")
    parser.add_argument(
        "-p", "--password", default="", help="password; --password-stdin keeps it out of the process list"
    )
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    add_registry_flags(parser)
    return _login


def _place(text: str) -> tuple[str, str]:
    """Registry and path of what the user wrote: Docker's names for the Hub, without the API's."""
    host, _, rest = text.removeprefix("https://").removeprefix("http://").partition("/")
    path = rest.strip("/")
    if not host:
        raise UsageError(f"{text!r} names no registry", hint="give host[:port]")
    hub = host in ("index.docker.io", "registry-1.docker.io", "hub.docker.com")
    return "docker.io" if hub else host, "" if path in ("v1", "v2") else path


def _login(args: argparse.Namespace) -> int:
    from imagesmith.credentials.dockerconfig import Credentials
    from imagesmith.credentials.login import keep
    from imagesmith.credentials.model import Credential
    from imagesmith.registry.hosts import hosts_of
    from imagesmith.registry.ping import check

    host, path = _place(args.registry)
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


def _logout(args: argparse.Namespace) -> int:
    from imagesmith.credentials.dockerconfig import Credentials
    from imagesmith.credentials.login import forget

    host, path = _place(args.registry)
    removed = forget(host, Credentials(authfile=args.authfile), path)
    sys.stdout.write(
        f"removed the credentials for {args.registry}\n" if removed else f"not logged in to {args.registry}\n"
    )
    return 0
