"""`imagesmith registry serve` and `imagesmith registry gc`: the embedded OCI registry."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from imagesmith.errors import UsageError

__all__ = ["configure", "run"]

#: Where the password for --proxy-user is taken from, so that no process list shows it.
PROXY_PASSWORD = "IMAGESMITH_PROXY_PASSWORD"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `registry`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="serve|gc")
    serve = verbs.add_parser("serve", help="serve a registry until it is stopped")
    _folder(serve)
    serve.add_argument(
        "--addr",
        default="127.0.0.1:5000",
        metavar="HOST:PORT",
        help="address to listen on; port 0 takes a free one",
    )
    serve.add_argument("--tls-cert", default="", metavar="FILE", help="serve HTTPS with this certificate")
    serve.add_argument("--tls-key", default="", metavar="FILE", help="the certificate's key")
    serve.add_argument(
        "--htpasswd", default="", metavar="FILE", help="ask for a user and password of this file"
    )
    serve.add_argument(
        "--auth",
        choices=("basic", "bearer"),
        default="basic",
        help="how users of --htpasswd come in: by password, or by tokens issued at /token",
    )
    serve.add_argument("--anonymous-pull", action="store_true", help="let everybody read")
    serve.add_argument("--proxy", default="", metavar="URL", help="be a pull-through cache of this registry")
    serve.add_argument(
        "--proxy-user", default="", metavar="USER", help=f"user for it; the password is in {PROXY_PASSWORD}"
    )
    serve.add_argument("--proxy-ca", default="", metavar="FILE", help="certificates to trust for it")
    serve.set_defaults(run=_serve)
    collect = verbs.add_parser("gc", help="delete what no manifest needs")
    _folder(collect)
    collect.add_argument("--untagged", action="store_true", help="delete manifests that no tag leads to, too")
    collect.set_defaults(run=_gc)


def _folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", default="registry-data", metavar="DIR", help="where its content is kept")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    return int(args.run(args))


def _serve(args: argparse.Namespace) -> int:
    from imagesmith.embedded.registry import Registry, serve
    from imagesmith.embedded.upstream import Upstream

    host, port = _address(args.addr)
    if bool(args.tls_cert) != bool(args.tls_key):
        raise UsageError("--tls-cert and --tls-key go together")
    if not args.htpasswd and (args.auth == "bearer" or args.anonymous_pull):
        raise UsageError("--auth bearer and --anonymous-pull need the users of --htpasswd")
    if not args.proxy and (args.proxy_user or args.proxy_ca):
        raise UsageError("--proxy-user and --proxy-ca belong to --proxy")
    upstream = None
    if args.proxy:
        password = os.environ.get(PROXY_PASSWORD, "")
        if args.proxy_user and not password:
            raise UsageError(f"--proxy-user {args.proxy_user}: {PROXY_PASSWORD} is not set")
        upstream = Upstream(args.proxy, args.proxy_user, password, ca=args.proxy_ca)
    registry = Registry(
        Path(args.dir),
        host,
        port,
        tls=(Path(args.tls_cert), Path(args.tls_key)) if args.tls_cert else None,
        htpasswd=Path(args.htpasswd) if args.htpasswd else None,
        bearer=args.auth == "bearer",
        anonymous=args.anonymous_pull,
        upstream=upstream,
    )
    return serve(registry)


def _gc(args: argparse.Namespace) -> int:
    from imagesmith.embedded.gc import collect
    from imagesmith.embedded.storage import Storage

    folder = Path(args.dir)
    if not (folder / "blobs").is_dir():
        raise UsageError(f"{folder} is not the folder of a registry")
    storage = Storage(folder)
    try:
        done = collect(storage, untagged=args.untagged)
    finally:
        storage.close()
    sys.stdout.write(f"deleted {done.manifests} manifests and {done.blobs} blobs, {done.size} bytes\n")
    return 0


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--addr {text}: must be HOST:PORT")
    everywhere = "0.0.0.0"  # noqa: S104 - what `:5000` means to everybody
    return host.removeprefix("[").removesuffix("]") or everywhere, int(port)
