"""What login and logout share: the registry that is meant, as Docker names the Hub."""

from __future__ import annotations

import argparse

from imagesmith.errors import UsageError

__all__ = ["account_of", "add_account"]


def add_account(parser: argparse.ArgumentParser) -> None:
    """The word that names a registry."""
    parser.add_argument(
        "registry", nargs="?", default="docker.io", help="host[:port][/path] (default: Docker Hub)"
    )


def account_of(text: str) -> tuple[str, str]:
    """Registry and path of what the user wrote: Docker's names for the Hub, without the API's."""
    host, _, rest = text.removeprefix("https://").removeprefix("http://").partition("/")
    path = rest.strip("/")
    if not host:
        raise UsageError(f"{text!r} names no registry", hint="give host[:port]")
    hub = host in ("index.docker.io", "registry-1.docker.io", "hub.docker.com")
    return "docker.io" if hub else host, "" if path in ("v1", "v2") else path
