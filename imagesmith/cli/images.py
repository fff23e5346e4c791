"""The verbs of the store: images, tag, rmi, prune."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from typing import Any

from imagesmith.cli.common import add_session_flags, human, opened, print_json, table
from imagesmith.cli.flags import settings_of
from imagesmith.errors import InvalidDocument, NotFound
from imagesmith.oci.digest import Digest
from imagesmith.oci.mediatype import is_image_config
from imagesmith.oci.model import Descriptor, Index, parse_document
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store

__all__ = ["configure"]

Handler = Callable[[argparse.Namespace], int]


def configure(name: str, parser: argparse.ArgumentParser) -> Handler:
    """Declare a verb's flags and return its handler."""
    if name == "tag":
        add_session_flags(parser)
    else:
        parser.add_argument("--root", default="", metavar="DIR", help="the store")
    return _VERBS[name](parser)


def _images(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("-q", "--quiet", action="store_true", help="digests only")

    def run(args: argparse.Namespace) -> int:
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

    return run


def _row(store: Store, ref: ImageRef, d: Descriptor) -> dict[str, Any]:
    platforms: list[str] = []
    blobs: dict[Digest, int] = {}
    _weigh(store, d, platforms, blobs, set())
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
    document = parse_document(store.blobs.read(d.digest), d.media_type)
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
        with contextlib.suppress(InvalidDocument):  # one bad image does not hide the others
            platform = platform or str(store.config(document).platform)
    if platform:
        platforms.append(platform)


def _tag(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="a name in the store, or docker://REF for one in a registry")
    parser.add_argument("new", nargs="+", help="further names; in a registry, tags of the same repository")

    def run(args: argparse.Namespace) -> int:
        if args.ref.startswith("docker://"):
            return _tag_remote(args)
        with Store(settings_of(args.root).root) as store:
            ref = ImageRef.parse(args.ref.removeprefix("store:"))
            found = store.find(ref)
            if found is None:
                raise NotFound(
                    f"no image named {ref.familiar} in the store",
                    hint="`imagesmith images` lists them; docker://REF means one in a registry",
                )
            for new in args.new:
                store.name(ImageRef.parse(new), found)
        return 0

    return run


def _tag_remote(args: argparse.Namespace) -> int:
    """Store the manifest again under other tags; no blob moves."""
    ref = ImageRef.parse(args.ref.removeprefix("docker://"))
    with opened(args) as (session, _):
        source = session.repository(ref)
        root = source.root()
        raw = source.document(root)
        for new in args.new:
            bare = "/" not in new and ":" not in new
            target = ref.with_tag(new) if bare else ImageRef.parse(new.removeprefix("docker://"))
            if target.name != ref.name:
                session.copy(source, session.repository(target))
            else:
                session.repository(target).finish(root, raw)
            sys.stdout.write(f"{target}\n")
    return 0


def _rmi(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", nargs="+", help="names in the store")

    def run(args: argparse.Namespace) -> int:
        with Store(settings_of(args.root).root) as store:
            for text in args.ref:
                store.unname(ImageRef.parse(text))
                sys.stdout.write(f"untagged: {ImageRef.parse(text).familiar}\n")
        return 0

    return run


def _prune(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("-a", "--all", action="store_true", help="forget cached steps and cache mounts too")
    parser.add_argument(
        "--older-than", default="60d", metavar="AGE", help="forget steps that were of no use for so long"
    )

    def run(args: argparse.Namespace) -> int:
        from imagesmith.cli.cache import parse_age
        from imagesmith.worker.sandbox import world

        world.enter("auto")  # trees of a user's builds belong to ids that only its namespace may touch
        with Store(settings_of(args.root).root) as store:
            gone = store.prune(everything=args.all, unused_s=parse_age(args.older_than, "--older-than"))
        sys.stdout.write(
            f"deleted {gone.blobs} blobs, {gone.layers} layers and {gone.steps} cached steps; "
            f"freed {human(gone.freed_bytes)}\n"
        )
        return 0

    return run


_VERBS: dict[str, Callable[[argparse.ArgumentParser], Handler]] = {
    "images": _images,
    "tag": _tag,
    "rmi": _rmi,
    "prune": _prune,
}
