"""What the registry verbs share: their flags, a session with its screen, and how results are printed."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from imagesmith.cli.flags import (
    access_of,
    add_registry_flags,
    add_root,
    admission_of,
    new_file,
    settings_of,
)
from imagesmith.cli.fronts import make_front
from imagesmith.cli.lines import clean, harmless, harmless_json
from imagesmith.errors import LockTimeout, StoreError, UsageError
from imagesmith.fs.results import put_file
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import Platform, host_platform
from imagesmith.store.store import Store

if TYPE_CHECKING:
    from imagesmith.interfaces import ImageSource
    from imagesmith.transports.names import PlaceName
    from imagesmith.transports.transfer import Session

__all__ = [
    "add_session_flags",
    "add_transfer_flags",
    "descriptor_at",
    "human",
    "input_file",
    "opened",
    "place_of",
    "platform_of",
    "print_descriptor",
    "print_json",
    "print_list",
    "say",
    "source_at",
    "table",
]

#: The control characters that JSON lets stand.
_C1 = re.compile("[\x7f-\x9f]")


def add_session_flags(parser: argparse.ArgumentParser, *, root: bool = True) -> None:
    """The flags of every verb that may speak to a registry; --root where nothing else declares it."""
    if root:
        add_root(parser)
    add_registry_flags(parser)


def add_transfer_flags(parser: argparse.ArgumentParser, *, one: bool = True) -> None:
    """The flags of verbs that move blobs; --digest-file where `one` thing comes out."""
    add_session_flags(parser)
    parser.add_argument(
        "--progress", default="auto", choices=("auto", "plain", "tty", "rawjson", "quiet"),
        help="how progress is shown",
    )  # fmt: skip
    parser.add_argument("-q", "--quiet", action="store_true", help="print the digest only")
    if one:
        parser.add_argument(
            "--digest-file", "--digestfile", default="", metavar="FILE", type=new_file,
            help="write the digest to a file",
        )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="progress as JSON lines on standard error, the result as JSON"
    )


def platform_of(args: argparse.Namespace) -> Platform:
    """The platform that was asked for, or this machine's."""
    return Platform.parse(args.platform) if args.platform else host_platform()


@contextlib.contextmanager
def _store(root: Path, *, spare: bool) -> Iterator[Store]:
    """The store; with `spare` an empty one for the while, where that cannot be used."""
    try:
        store = Store(root)
    except LockTimeout:
        raise
    except StoreError as e:
        if not spare:
            raise
        sys.stderr.write(f"warning: {e.message}; going on without it\n")
        with tempfile.TemporaryDirectory(prefix="imagesmith-") as folder, Store(Path(folder)) as store:
            yield store
        return
    with store:
        yield store


@contextlib.contextmanager
def opened(args: argparse.Namespace, *, spare: bool = False) -> Iterator[tuple[Session, Store]]:
    """A session with the store and a screen, as the flags say.

    Args:
        args: what was given.
        spare: for verbs that only look: they go on where the store cannot be used.
    """
    from imagesmith.transports.transfer import Session

    settings = settings_of(args.root)
    quiet = getattr(args, "quiet", True)
    mode = (
        "rawjson"
        if getattr(args, "json", False) and hasattr(args, "progress")
        else getattr(args, "progress", "")
    )
    front = make_front("quiet" if quiet else mode or "quiet")
    front.title = "Transferring"
    try:
        with (
            _store(settings.root, spare=spare) as store,
            Session(
                store,
                events=front,
                transfers=settings.transfers,
                access=access_of(args),
                admission=admission_of(args.policy, settings) if hasattr(args, "policy") else None,
            ) as session,
        ):
            yield session, store
    finally:
        front.close()


@contextlib.contextmanager
def source_at(text: str, session: Session, store: Store) -> Iterator[ImageSource]:
    """The image that a word names; see place_of."""
    from imagesmith.transports.names import open_source

    with open_source(place_of(text, store), session, store) as source:
        yield source


def place_of(text: str, store: Store) -> PlaceName:
    """The place that a word names; a bare reference is the store's if the store has it, else a registry's."""
    from imagesmith.transports.names import PlaceName

    name = PlaceName.parse(text)
    if name.kind == "registry" and not text.startswith("docker://"):
        assert name.image is not None
        if store.find(name.image) is not None:
            return PlaceName(kind="store", image=name.image)
    return name


def descriptor_at(args: argparse.Namespace, source: ImageSource) -> Descriptor:
    """The manifest for the platform that was asked for, or what the source's name stands for."""
    from imagesmith.transports.copier import choose

    root = source.root()
    return choose(source, root, platform_of(args))[0] if args.platform else root


@contextlib.contextmanager
def input_file(file: str) -> Iterator[BinaryIO]:
    """A file that is to be read; `-` is standard input.

    Raises:
        UsageError: it cannot be opened.
    """
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        f = open(file, "rb")
    except OSError as e:
        raise UsageError(f"cannot read {file}: {e.strerror}") from e
    with f:
        yield f


def print_descriptor(
    args: argparse.Namespace, d: Descriptor, name: str = "", *, beside: bool = False
) -> None:
    """The result of a transfer: its digest, or with --json its descriptor; also to --digest-file.

    What was written beside something else is told by its name, which nobody gave.
    """
    if getattr(args, "digest_file", ""):
        put_file(args.digest_file, str(d.digest).encode())
    if getattr(args, "json", False):
        print_json({**({"name": name} if name else {}), **d.to_json()})
    else:
        sys.stdout.write(f"{name if beside else d.digest}\n")


def print_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """A JSON document for people and programs; what a terminal would take for a command is escaped in it."""
    text = harmless_json(json.dumps(value, indent=2, ensure_ascii=False))
    sys.stdout.write(_C1.sub(lambda m: f"\\u{ord(m[0]):04x}", text) + "\n")


def print_list(args: argparse.Namespace, document: dict[str, Any], lines: list[str]) -> None:
    """Names in lines, or with --json the document that has them."""
    if args.json:
        print_json(document)
    else:
        say(*lines)


def say(*lines: str) -> None:
    """Write lines that hold words of others, without what a terminal would take for a command."""
    sys.stdout.write("".join(f"{harmless(clean(line))}\n" for line in lines))


def human(count: int) -> str:
    """A number of bytes for people."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def table(head: list[str], rows: list[list[str]]) -> None:
    """Columns under a heading."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    say(
        *(
            "   ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in [head, *rows]
        )
    )
