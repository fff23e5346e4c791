"""`imagesmith images`: what has a name in the store, with its platforms and its size."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from imagesmith.cli.common import human, print_json, table
from imagesmith.cli.flags import add_root, settings_of
from imagesmith.cli.lines import one_line
from imagesmith.errors import IntegrityError, NotFound
from imagesmith.oci.digest import Digest
from imagesmith.oci.mediatype import is_image_config
from imagesmith.oci.model import Descriptor, Index
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_root(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("-q", "--quiet", action="store_true", help="digests only")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    with Store(settings_of(args.root).root) as store:
        rows = [_row(store, ref, d) for ref, d in store.images()]
    if args.json:
        print_json(rows)
    elif args.quiet:
        sys.stdout.write("".join(f"{r['digest']}\n" for r in rows))
    else:
        table(
            ["NAME", "DIGEST", "PLATFORM", "SIZE"],
            [[r["name"], r["digest"][:19], r["platform"], human(r["size"])] for r in rows],
        )
    return 0


def _row(store: Store, ref: ImageRef, d: Descriptor) -> dict[str, Any]:
    platforms: list[str] = []
    blobs: dict[Digest, int] = {}
    try:
        _weigh(store, d, platforms, blobs, set())
    except (IntegrityError, NotFound) as e:  # one bad image does not hide the others
        sys.stderr.write(f"warning: {one_line(f'{ref.familiar}: {e.message}')}\n")
    return {
        "name": ref.familiar,
        "digest": str(d.digest),
        "platform": ",".join(dict.fromkeys(platforms)),
        "size": sum(blobs.values()),
    }


def _weigh(
    store: Store, d: Descriptor, platforms: list[str], blobs: dict[Digest, int], seen: set[Digest]
) -> None:
    """Collect the platforms of an image, or of an index those that are here, and blobs' sizes (bytes)."""
    seen.add(d.digest)
    document = store.document(d.digest, d.media_type)
    if isinstance(document, Index):
        for m in document.manifests:
            if m.digest not in seen and store.blobs.has(m.digest):
                _weigh(store, m, platforms, blobs, seen)
        return
    blobs |= {b.digest: b.size for b in document.parts}
    if d.is_attestation:
        return
    platform = str(d.platform or "")
    if is_image_config(document.config.media_type) and store.blobs.has(document.config.digest):
        platform = platform or str(store.config(document).platform)
    if platform:
        platforms.append(platform)
