"""What login and logout share: the registry that is meant."""

from __future__ import annotations

import argparse

__all__ = ["add_account"]


def add_account(parser: argparse.ArgumentParser) -> None:
    """The word that names a registry."""
    parser.add_argument(
        "registry", nargs="?", default="docker.io", help="host[:port][/path] (default: Docker Hub)"
    )
