"""`imagesmith tag`: further names for an image, in the store or in its registry."""

from __future__ import annotations

import argparse
import sys

from imagesmith.cli.common import add_session_flags, opened
from imagesmith.cli.flags import settings_of
from imagesmith.errors import NotFound
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_session_flags(parser)
    parser.add_argument("ref", help="a name in the store, or docker://REF for one in a registry")
    parser.add_argument("new", nargs="+", help="further names; in a registry, tags of the same repository")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
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
