"""`imagesmith mirror`: all images of a list, several at the same time.

Threads: one a copy, and the caller's, which tells of them in the order of the list.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.cli.common import add_transfer_flags, opened, print_descriptor
from imagesmith.cli.copying import add_choice_flags, copied, platforms_of
from imagesmith.cli.flags import add_policy
from imagesmith.errors import ImagesmithError, RegistryError, UsageError
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef

if TYPE_CHECKING:
    from concurrent.futures import Future

    from imagesmith.transports.names import PlaceName

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_transfer_flags(parser, one=False)
    add_policy(parser)
    parser.add_argument(
        "list", help="a file with a line for each image: SOURCE [TARGET]; `-` for standard input"
    )
    parser.add_argument(
        "--to",
        default="",
        metavar="PREFIX",
        help="host[:port][/path] for lines without a target; paths are kept",
    )
    parser.add_argument(
        "-j",
        "--jobs",
        type=_jobs_at_once,
        default=4,
        metavar="N",
        help="images at the same time (default: 4)",
    )
    add_choice_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    jobs = list(_jobs(args.list, args.to))
    platforms = platforms_of(args.platform)
    failed = 0
    with opened(args) as (session, store):

        def copy(source: PlaceName, target: PlaceName) -> Descriptor:
            return copied(
                session, store, source, target, platforms,
                whole=args.all, referrers=args.referrers, family=args.format,
            )  # fmt: skip

        for target, done in _mirrored(jobs, copy, args.jobs):
            try:
                found = done.result()
            except ImagesmithError as e:
                from imagesmith.cli.errors import show_error

                failed += 1
                show_error(e, sys.stderr)
                continue
            if args.json:
                print_descriptor(args, found, str(target))
            else:
                sys.stdout.write(f"{found.digest} {target}\n")
    if failed:
        raise RegistryError(f"{failed} of {len(jobs)} images were not mirrored")
    return 0


def _jobs_at_once(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 64")
    return int(text)


def _mirrored(
    jobs: Sequence[tuple[PlaceName, PlaceName]],
    copy: Callable[[PlaceName, PlaceName], Descriptor],
    most: int,
) -> Iterator[tuple[PlaceName, Future[Descriptor]]]:
    """Copy at most so many images at the same time; each as it is done, in the order of the list.

    A line waits for those above it that write what it reads or writes.
    """
    from concurrent.futures import ThreadPoolExecutor, wait

    begun: list[tuple[PlaceName, Future[Descriptor]]] = []
    writers: dict[str, Future[Descriptor]] = {}

    def after(before: set[Future[Descriptor]], source: PlaceName, target: PlaceName) -> Descriptor:
        wait(before)  # they were submitted earlier, so that they run or ran
        return copy(source, target)

    pool = ThreadPoolExecutor(most, thread_name_prefix="mirror")
    try:
        for source, target in jobs:
            before = {writers[key] for key in (_place(source), _place(target)) if key in writers}
            writers[_place(target)] = done = pool.submit(after, before, source, target)
            begun.append((target, done))
        for target, done in begun:
            wait([done])
            yield target, done
    finally:  # whoever is interrupted does not wait for what runs
        pool.shutdown(wait=False, cancel_futures=True)


def _place(name: PlaceName) -> str:
    """What a copy has for itself: an image's name, or a folder or file with all that is in it."""
    return str(name) if name.image is not None else f"{name.kind}:{Path(name.path).absolute()}"


def _jobs(file: str, prefix: str) -> Iterator[tuple[PlaceName, PlaceName]]:
    """The lines of a list; `#` begins a comment. All are read before anything is copied."""
    from imagesmith.transports.names import PlaceName

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as e:
        raise UsageError(f"cannot read {file}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise UsageError(f"{file}: not a list: {e}") from e
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            source = PlaceName.parse(words[0])
            if len(words) == 1 and prefix and source.image is not None:
                yield source, PlaceName.parse(_below(prefix, source.image))
            elif len(words) == 2:
                yield source, PlaceName.parse(words[1])
            else:
                raise UsageError("expected SOURCE TARGET, or SOURCE alone with --to")
        except UsageError as e:
            raise UsageError(f"{file}:{number}: {e.message}", hint=e.hint) from e


def _below(prefix: str, image: ImageRef) -> str:
    tag = f":{image.tag}" if image.tag else f":{image.digest.hex[:32]}" if image.digest else ""
    return f"{prefix.rstrip('/')}/{image.repository}{tag}"
