"""What the registry verbs share: their flags, a session with its screen, and how results are printed."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from imagesmith.cli.flags import add_registry_flags, add_root, admission_of, new_file, settings_of
from imagesmith.cli.fronts import make_front
from imagesmith.cli.lines import clean, harmless, harmless_json
from imagesmith.cli.sides import add_own_flags, add_side_flags, own_access_of, sides_of
from imagesmith.errors import UsageError
from imagesmith.fs.results import put_file
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import Platform, host_platform
from imagesmith.store.opening import open_store
from imagesmith.store.store import Store

if TYPE_CHECKING:
    from imagesmith.cli.progress import Front
    from imagesmith.copying.ends import Ends
    from imagesmith.copying.syncfile import Reached
    from imagesmith.interfaces import ImageSource
    from imagesmith.settings import Settings
    from imagesmith.transports.names import PlaceName
    from imagesmith.transports.transfer import Session

__all__ = [
    "add_session_flags",
    "add_transfer_flags",
    "descriptor_at",
    "human",
    "input_file",
    "opened",
    "opened_ends",
    "place_of",
    "platform_of",
    "print_descriptor",
    "print_json",
    "print_json_list",
    "print_list",
    "say",
    "source_at",
    "table",
]

#: The control characters that JSON lets stand, those that turn the order of text, and bytes of no UTF-8.
_C1 = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def add_session_flags(
    parser: argparse.ArgumentParser,
    *,
    root: bool = True,
    registries: Literal["one", "sides", "several"] = "one",
) -> None:
    """The flags of every verb that may speak to a registry.

    Args:
        parser: takes them.
        root: also --root, where nothing else declares it.
        registries: the verb speaks to one, for which there are credentials; to one at each of two sides,
            with flags of their own; or to several, where nobody could tell for which a password is.
    """
    if root:
        add_root(parser)
    add_registry_flags(parser)
    if registries == "sides":
        add_side_flags(parser)
    elif registries == "one":
        add_own_flags(parser)


def add_transfer_flags(
    parser: argparse.ArgumentParser,
    *,
    one: bool = True,
    registries: Literal["one", "sides", "several"] = "one",
) -> None:
    """The flags of verbs that move blobs; --digest-file where `one` comes out; see add_session_flags."""
    add_session_flags(parser, registries=registries)
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
def opened(args: argparse.Namespace, *, spare: bool = False) -> Iterator[tuple[Session, Store]]:
    """A session with the store and a screen, as the flags say.

    Args:
        args: what was given.
        spare: for verbs that only look: they go on where the store cannot be used.
    """
    from imagesmith.transports.transfer import Session

    access = own_access_of(args)  # may ask for a password
    with _begun(args, spare) as (settings, front, store):
        admission = admission_of(args.policy, settings) if hasattr(args, "policy") else None
        with Session(
            store, events=front, transfers=settings.transfers, access=access, admission=admission
        ) as session:
            yield session, store


@contextlib.contextmanager
def opened_ends(args: argparse.Namespace, others: Mapping[str, Reached] | None = None) -> Iterator[Ends]:
    """The two sides of copies with the store and a screen, as the flags say.

    Args:
        args: what was given.
        others: how single registries are reached to read, besides.
    """
    from imagesmith.copying.ends import open_ends

    source, target = sides_of(args)  # may ask for passwords
    single = {registry: reached.access(source) for registry, reached in (others or {}).items()}
    with (
        _begun(args, False) as (settings, front, store),
        open_ends(
            store, source=source, target=target, others=single, events=front,
            transfers=settings.transfers, admission=admission_of(args.policy, settings),
        ) as ends,
    ):  # fmt: skip
        yield ends


@contextlib.contextmanager
def _begun(args: argparse.Namespace, spare: bool) -> Iterator[tuple[Settings, Front, Store]]:
    """The settings, a screen and the store."""
    settings = settings_of(args.root)
    quiet = getattr(args, "quiet", True)
    mode = (
        "rawjson"
        if getattr(args, "json", False) and hasattr(args, "progress")
        else getattr(args, "progress", "")
    )
    front = make_front("quiet" if quiet else mode or "quiet")
    front.title = "Transferring"

    def warn(text: str) -> None:
        sys.stderr.write(f"warning: {text}\n")

    try:
        with open_store(settings.root, spare=warn if spare else None) as store:
            yield settings, front, store
    finally:
        front.close()


@contextlib.contextmanager
def source_at(text: str, session: Session, store: Store) -> Iterator[ImageSource]:
    """The image that a word names; see place_of."""
    from imagesmith.transports.names import image_at

    with image_at(text, session, store) as source:
        yield source


def place_of(text: str, store: Store) -> PlaceName:
    """The place that a word names; a bare reference is the store's if the store has it, else a registry's."""
    from imagesmith.transports.names import place_at

    return place_at(text, store)


def descriptor_at(args: argparse.Namespace, source: ImageSource) -> Descriptor:
    """The manifest for the platform that was asked for, or what the source's name stands for."""
    from imagesmith.transports.listing import descriptor_of

    return descriptor_of(source, platform_of(args) if args.platform else None)


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
    sys.stdout.write(_document(value) + "\n")


def print_json_list(values: Iterable[Any]) -> None:
    """The same of a list, one value after the other: a long one is not held."""
    before = "["
    for value in values:
        sys.stdout.write(f"{before}\n  " + _document(value).replace("\n", "\n  "))
        before = ","
    sys.stdout.write("[]\n" if before == "[" else "\n]\n")


def _document(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    text = harmless_json(json.dumps(value, indent=2, ensure_ascii=False))
    return _C1.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


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
