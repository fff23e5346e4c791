"""`imagesmith registry serve`: the embedded OCI registry."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from imagesmith.errors import UsageError

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
    serve.add_argument("--tls-cert", default="", metavar="FILE", help="serve HTTPS with this certificate")
    serve.add_argument("--tls-key", default="", metavar="FILE", help="the certificate's key")
    return _serve


def _serve(args: argparse.Namespace) -> int:
    from imagesmith.embedded.registry import Registry, serve

    host, port = _address(args.addr)
    if bool(args.tls_cert) != bool(args.tls_key):
        raise UsageError("--tls-cert and --tls-key go together")
    tls = (Path(args.tls_cert), Path(args.tls_key)) if args.tls_cert else None
    return serve(Registry(Path(args.dir), host, port, tls=tls))


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--addr {text}: must be HOST:PORT")
    everywhere = "0.0.0.0"  # noqa: S104 - what `:5000` means to everybody
    return host.removeprefix("[").removesuffix("]") or everywhere, int(port)
