"""`blob get|put|head|delete` and `manifest get|put|delete`: single objects of a repository, as bytes."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from imagesmith.cli.common import opened, platform_of, source_at
from imagesmith.errors import InvalidDocument, NotFound, UsageError
from imagesmith.fs.results import input_name
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import MAX_MANIFEST_BYTES, Descriptor, Index, Manifest, parse_document
from imagesmith.oci.names import ImageRef
from imagesmith.transports.stored import file_pieces

__all__ = ["run", "run_manifest"]


def run(args: argparse.Namespace) -> int:
    """Do what `blob` was asked."""
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

    ref = ImageRef.parse(args.repository.removeprefix("docker://"))
    with opened(args) as (session, store):
        client = session.repository(ref.with_tag(None)).writer
        with _input(args.file) as pieces, store.blobs.writer() as blob:
            for piece in pieces:
                blob.write(piece)
            digest, size = blob.commit()  # the digest must be known before the last byte is sent
        if client.head_blob(digest) is None:
            upload(client, digest, size, lambda offset: file_pieces(store.blobs, digest, offset))
    sys.stdout.write(f"{digest}\n")
    return 0


@contextlib.contextmanager
def _input(file: str) -> Iterator[Iterator[bytes]]:
    if file == "-":
        yield iter(lambda: sys.stdin.buffer.read(1 << 18), b"")
        return
    try:
        f = Path(file).open("rb")
    except OSError as e:
        raise UsageError(f"cannot read {file}: {e.strerror}") from e
    with f:
        yield iter(lambda: f.read(1 << 18), b"")


def run_manifest(args: argparse.Namespace) -> int:
    """Do what `manifest` was asked."""
    if args.verb == "get":
        from imagesmith.transports.copier import chosen

        with opened(args) as (session, store), source_at(args.ref, session, store) as source:
            root = source.root()
            raw = chosen(source, root, platform_of(args)) if args.platform else source.document(root)
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
        return 0
    ref = ImageRef.parse(args.ref.removeprefix("docker://"))
    with opened(args) as (session, _):
        place = session.repository(ref)
        if args.verb == "delete":
            place.delete()
            sys.stdout.write(f"deleted {ref}\n")
            return 0
        raw = _read(args.file)
        document = _document(args.file, raw, args.media_type)
        d = document.descriptor()
        place.finish(d, raw)
    sys.stdout.write(f"{d.digest}\n")
    return 0


def _document(file: str, raw: bytes, media_type: str) -> Manifest | Index:
    try:
        return parse_document(raw, media_type)
    except InvalidDocument as e:
        raise e.of(input_name(file)) from e.__cause__


def _read(file: str) -> bytes:
    with _input(file) as pieces:
        raw = b""
        for piece in pieces:
            raw += piece
            if len(raw) > MAX_MANIFEST_BYTES:
                raise UsageError(f"{file}: longer than a manifest may be ({MAX_MANIFEST_BYTES} bytes)")
    return raw
