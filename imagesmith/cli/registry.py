"""`imagesmith registry serve`: the embedded OCI registry."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["configure"]


def configure(_name: str, parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """Declare the flags of `registry`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="serve")
    serve = verbs.add_parser("serve", help="serve a registry until it is stopped")
    serve.add_argument("--dir", default="registry-data", metavar="DIR", help="where its content is kept")
    serve.add_argument(
        "--addr",
        default="127.0.0.1:5000",
        metavar="HOST:PORT",
        help="address to listen on; port 0 takes a free one",
    )
    serve.add_argument(
        "--htpasswd", default="", metavar="FILE", help="ask for a user and password of this file"
    )
    serve.add_argument("--tls-cert", default="", metavar="FILE", help="serve HTTPS with this certificate")
    serve.add_argument("--tls-key", default="", metavar="FILE", help="the certificate's key")
    return _run


def _run(args: argparse.Namespace) -> int:
    from imagesmith.embedded.registry import main

    return main(args)
