"""`imagesmith logout`: the credentials for a registry are forgotten."""

from __future__ import annotations

import argparse
import sys

from imagesmith.cli.accounts import add_account
from imagesmith.cli.flags import add_authfile

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_account(parser)
    add_authfile(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.credentials.dockerconfig import Credentials
    from imagesmith.credentials.login import account_of, forget

    host, path = account_of(args.registry)
    removed = forget(host, Credentials(authfile=args.authfile), path)
    sys.stdout.write(
        f"removed the credentials for {args.registry}\n" if removed else f"not logged in to {args.registry}\n"
    )
    return 0
