"""The verbs that make an image of another: append, mutate, flatten, rebase."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from imagesmith.cli.common import add_transfer_flags, opened, place_of, print_descriptor, source_at
from imagesmith.cli.flags import add_platform
from imagesmith.errors import NotFound, UsageError
from imagesmith.interfaces import ImageSource
from imagesmith.oci.model import Manifest
from imagesmith.oci.names import ImageRef, Platform, host_platform
from imagesmith.oci.times import format_ns, parse_epoch
from imagesmith.values import frozen

if TYPE_CHECKING:
    from imagesmith.image.edited import Change, Edited
    from imagesmith.image.mutate import Changes
    from imagesmith.oci.digest import Digest
    from imagesmith.store.store import Store
    from imagesmith.transports.names import PlaceName
    from imagesmith.transports.transfer import Session

__all__ = ["configure", "created_now", "pairs", "write_edited"]

Handler = Callable[[argparse.Namespace], int]


def configure(name: str, parser: argparse.ArgumentParser) -> Handler:
    """Declare a verb's flags and return its handler."""
    add_transfer_flags(parser)
    handler = _VERBS[name](parser)
    parser.add_argument(
        "-t", "--tag", default="", metavar="TARGET", help="where to (default: the same repository, by digest)"
    )
    parser.add_argument(
        "--push", action="store_true", help="what was found in the store goes to the registry of its name"
    )
    return handler


@frozen
class _Open:
    """A source, and what it is worked on with."""

    source: ImageSource
    session: Session
    store: Store


@contextlib.contextmanager
def _opened(args: argparse.Namespace, text: str) -> Iterator[_Open]:
    with opened(args) as (session, store), source_at(text, session, store) as source:
        yield _Open(source, session, store)


def _target_of(args: argparse.Namespace, text: str, digest: Digest, store: Store) -> PlaceName:
    """Where a new image goes: to --tag, or beside the one that it was made of.

    What was found in the store stays there under a bare name, unless --push says otherwise.
    """
    from imagesmith.transports.names import PlaceName

    source = place_of(text, store) if text else None
    here = source is not None and source.kind == "store"
    if args.tag:
        target = PlaceName.parse(args.tag)
        if args.push and target.kind != "registry":
            raise UsageError(f"--push: {args.tag} is in no registry")
        bare = target.kind == "registry" and not args.tag.startswith("docker://")
        return PlaceName(kind="store", image=target.image) if here and bare and not args.push else target
    if source is None or source.image is None or (here and not args.push):
        hint = "give --tag NEW for the store, with --push for its registry" if here else "give --tag TARGET"
        raise UsageError("the result needs a name", hint=hint)
    beside = ImageRef(source.image.registry, source.image.repository, None, digest)
    return PlaceName(kind="registry", image=beside)


def write_edited(args: argparse.Namespace, text: str, edited: Edited, session: Session, store: Store) -> None:
    """Copy a new image to where it goes, and print what came of it."""
    from imagesmith.transports.names import open_target

    target = _target_of(args, text, edited.root().digest, store)
    if edited.absent:
        from imagesmith.transports.copier import left_out

        sys.stderr.write(f"warning: {left_out(edited.name, edited.absent)}\n")
    with open_target(target, session, store) as place:
        found = session.copy(edited, place)
    print_descriptor(args, found, str(target), beside=not args.tag)


def created_now() -> str:
    """The time for configs and history: SOURCE_DATE_EPOCH, or now."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    epoch = parse_epoch(text)
    if text and epoch is None:
        raise UsageError(f"invalid SOURCE_DATE_EPOCH: {text}")
    return format_ns((int(time.time()) if epoch is None else epoch) * 1_000_000_000)


def pairs(texts: list[str], what: str) -> dict[str, str]:
    """`K=V` words as a map; `K=` removes."""
    out = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"{what} {text!r}: expected KEY=VALUE", hint="KEY= removes it")
        out[key] = value
    return out


# --- mutate --------------------------------------------------------------------------------------


def _mutate(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="an image, in any place; of an index, every image is changed")
    words = "a JSON list, or words as a shell splits them; empty removes it"
    parser.add_argument("--entrypoint", metavar="WORDS", help=words)
    parser.add_argument("--cmd", metavar="WORDS", help=words)
    for flag, metavar, what in (("--env", "K=V", "a variable"), ("--label", "K=V", "a label"),
                                ("--annotation", "K=V", "an annotation of the manifest")):  # fmt: skip
        parser.add_argument(
            f"-{flag[2]}", flag, action="append", default=[], metavar=metavar, help=f"{what}; K= removes it"
        )
    parser.add_argument("-u", "--user", help="the user that processes run as")
    parser.add_argument("-w", "--workdir", help="the working directory")
    parser.add_argument("--stop-signal", metavar="SIGNAL", help="the signal that stops a container")
    parser.add_argument("--author", help="who is responsible")
    parser.add_argument("--created", metavar="TIME", help="RFC 3339")
    parser.add_argument(
        "--set-platform", default="", metavar="OS/ARCH", help="the platform that the config names"
    )
    parser.add_argument("--exposed-ports", metavar="PORTS", help="8080,53/udp; empty removes all")
    parser.add_argument("--volumes", metavar="PATHS", help="/data,/log; empty removes all")

    def run(args: argparse.Namespace) -> int:
        from imagesmith.image.edited import edit_image

        changes = _changes(args)
        with _opened(args, args.ref) as o:
            root = o.source.root()
            edited = edit_image(
                o.source, root, o.store.blobs, changes.apply, index_annotations=changes.annotations
            )
            write_edited(args, args.ref, edited, o.session, o.store)
        return 0

    return run


def _changes(args: argparse.Namespace) -> Changes:
    from imagesmith.image.mutate import Changes

    return Changes(
        entrypoint=_words(args.entrypoint),
        cmd=_words(args.cmd),
        user=args.user,
        workdir=args.workdir,
        stop_signal=args.stop_signal,
        created=args.created,
        author=args.author,
        platform=Platform.parse(args.set_platform) if args.set_platform else None,
        env=pairs(args.env, "--env"),
        labels=pairs(args.label, "--label"),
        annotations=pairs(args.annotation, "--annotation"),
        ports=_list(args.exposed_ports),
        volumes=_list(args.volumes),
    )


def _list(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(w.strip() for w in text.split(",") if w.strip())


def _words(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    try:
        if text.startswith("["):
            value = json.loads(text)
            if all(isinstance(w, str) for w in value):
                return tuple(value)
            raise ValueError("not all of it is text")
        return tuple(shlex.split(text))
    except ValueError as e:
        raise UsageError(f"{text!r}: {e}", hint='give words, or a JSON list such as ["a","b"]') from e


# --- layers --------------------------------------------------------------------------------------


def _append(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument(
        "layers", nargs="+", metavar="LAYER", help="tar files, plain or compressed, bottom first"
    )
    parser.add_argument(
        "-b", "--base", default="", metavar="REF", help="what they are put on (default: nothing)"
    )
    add_platform(parser, "of an image without a base")

    def run(args: argparse.Namespace) -> int:
        from imagesmith.image.edited import Edited, edit_image
        from imagesmith.image.layers import appended, layer_of_file, scratch

        if not args.base and not args.tag:
            raise UsageError("the result needs a name", hint="give --tag TARGET")
        if args.base and args.platform:
            raise UsageError("--platform is for an image without a base")
        created = created_now()
        with opened(args) as (session, store):
            layers = [layer_of_file(file, store) for file in args.layers]
            by = f"imagesmith append {' '.join(args.layers)}"

            def change(manifest: Manifest, config: bytes) -> tuple[Manifest, bytes]:
                return appended(manifest, config, layers, by, created)

            if args.base:
                with source_at(args.base, session, store) as source:
                    edited = edit_image(source, source.root(), store.blobs, change)
                    write_edited(args, args.base, edited, session, store)
                return 0
            platform = Platform.parse(args.platform) if args.platform else host_platform()
            manifest, config = change(*scratch(platform))
            edited = Edited("scratch", store.blobs)
            edited.add(config)
            edited.add(manifest.raw)
            edited.set_root(manifest.descriptor())
            write_edited(args, "", edited, session, store)
        return 0

    return run


def _flatten(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="an image, in any place; of an index, every image is flattened")

    def run(args: argparse.Namespace) -> int:
        from imagesmith.image.edited import edit_image
        from imagesmith.image.layers import flattened

        created = created_now()
        with _opened(args, args.ref) as o:
            change: Change = lambda m, c: flattened(o.source, m, c, o.store, created)  # noqa: E731 - it has a type here
            edited = edit_image(o.source, o.source.root(), o.store.blobs, change)
            write_edited(args, args.ref, edited, o.session, o.store)
        return 0

    return run


_BASE_NAME, _BASE_DIGEST = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"


def _rebase(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="an image")
    parser.add_argument(
        "--old-base", default="", metavar="REF", help="what it was made on (default: by its annotations)"
    )
    parser.add_argument(
        "--new-base", default="", metavar="REF", help="what it is to be on (default: the newest of the old)"
    )
    add_platform(parser, "platform within indexes")

    def run(args: argparse.Namespace) -> int:
        from imagesmith.image.edited import Edited
        from imagesmith.image.layers import rebased
        from imagesmith.transports.copier import chosen

        platform = Platform.parse(args.platform) if args.platform else host_platform()
        with contextlib.ExitStack() as stack:
            session, store = stack.enter_context(opened(args))

            def image(text: str) -> tuple[ImageSource, Manifest, bytes]:
                source = stack.enter_context(source_at(text, session, store))
                manifest = Manifest.parse(chosen(source, source.root(), platform))
                return source, manifest, source.document(manifest.config)

            source, manifest, config = image(args.ref)
            old_name, new_name = _bases(args, manifest)
            old, new = image(old_name), image(new_name)
            notes = {_BASE_NAME: new_name, _BASE_DIGEST: str(new[1].digest)}
            made, raw = rebased((manifest, config), old[1:], new[1:], notes)
            edited = Edited(args.ref, store.blobs)
            edited.rest(source)
            for d in new[1].layers:
                edited.found_at(d.digest, new[0])
            edited.add(raw)
            edited.add(made.raw)
            edited.set_root(made.descriptor())
            write_edited(args, args.ref, edited, session, store)
        return 0

    return run


def _bases(args: argparse.Namespace, manifest: Manifest) -> tuple[str, str]:
    """The names of the old and the new base."""
    name, digest = manifest.annotations.get(_BASE_NAME, ""), manifest.annotations.get(_BASE_DIGEST, "")
    new = args.new_base or name
    old = args.old_base or (f"{ImageRef.parse(name).name}@{digest}" if name and digest else "")
    if not old or not new:
        raise NotFound("the image does not say what it was made on", hint="give --old-base and --new-base")
    return old, new


_VERBS: dict[str, Callable[[argparse.ArgumentParser], Handler]] = {
    "append": _append,
    "mutate": _mutate,
    "flatten": _flatten,
    "rebase": _rebase,
}
