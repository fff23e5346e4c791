"""`imagesmith blob get|put|head|delete`: single blobs of a repository, as bytes."""

from __future__ import annotations

import argparse
import sys

from imagesmith.cli.common import add_session_flags, input_file, opened
from imagesmith.errors import InvalidDocument, NotFound, UsageError
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="get|put|head|delete")
    for verb, help_ in (("get", "write a blob to standard output"), ("head", "print a blob's size"),
                        ("put", "upload a file, print its digest"), ("delete", "delete a blob")):  # fmt: skip
        sub = verbs.add_parser(verb, help=help_)
        sub.add_argument("repository", help="host[:port]/path, or with get and head REPOSITORY@DIGEST")
        if verb == "put":
            sub.add_argument("file", nargs="?", default="-", help="`-` for standard input")
        else:
            sub.add_argument("digest", nargs="?", default="", help="sha256:…")
        add_session_flags(sub)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    if args.verb == "put":
        return _put(args)
    text, _, digest_text = args.repository.removeprefix("docker://").partition("@")
    if bool(digest_text) == bool(args.digest):
        raise UsageError("give one digest: REPOSITORY DIGEST, or REPOSITORY@DIGEST")
    ref = ImageRef.parse(text)
    try:
        digest = Digest.parse(digest_text or args.digest)
    except InvalidDocument as e:
        raise UsageError(e.message) from e
    with opened(args) as (session, _):
        place = session.repository(ref.with_tag(None))
        if args.verb == "delete":
            place.writer.delete_blob(digest)
            sys.stdout.write(f"deleted {digest}\n")
            return 0
        size = place.writer.head_blob(digest)
        if size is None:
            raise NotFound(f"{ref.name}: no blob {digest}")
        if args.verb == "head":
            sys.stdout.write(f"{size}\n")
            return 0
        for piece in place.pieces(Descriptor(media_type="", digest=digest, size=size)):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    return 0


def _put(args: argparse.Namespace) -> int:
    from imagesmith.registry.upload import upload
    from imagesmith.transports.stored import file_pieces

    ref = ImageRef.parse(args.repository.removeprefix("docker://"))
    with opened(args) as (session, store):
        client = session.repository(ref.with_tag(None)).writer
        with input_file(args.file) as file, store.blobs.writer() as blob:
            while piece := file.read(1 << 18):
                blob.write(piece)
            digest, size = blob.commit()  # the digest must be known before the last byte is sent
        if client.head_blob(digest) is None:
            upload(client, digest, size, lambda offset: file_pieces(store.blobs, digest, offset))
    sys.stdout.write(f"{digest}\n")
    return 0
