"""The verbs that move images: push, pull, copy, save, load, mirror."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.cli.common import add_transfer_flags, opened, print_descriptor, say
from imagesmith.cli.flags import add_platform, new_file
from imagesmith.errors import ImagesmithError, InvalidReference, RegistryError, UsageError
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef, Platform, host_platform

if TYPE_CHECKING:
    from concurrent.futures import Future

    from imagesmith.store.store import Store
    from imagesmith.transports.files import TarFiles
    from imagesmith.transports.names import PlaceName
    from imagesmith.transports.transfer import Session

__all__ = ["configure"]

Handler = Callable[[argparse.Namespace], int]


def configure(name: str, parser: argparse.ArgumentParser) -> Handler:
    """Declare a verb's flags and return its handler."""
    add_transfer_flags(parser, one=name in ("push", "pull", "copy"))
    return _VERBS[name](parser)


def _push(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="a name in the store")
    parser.add_argument("to", nargs="?", help="another name, or place, to push it to")
    add_platform(parser, "of an index, push this platform's image alone")

    def run(args: argparse.Namespace) -> int:
        from imagesmith.transports.names import PlaceName
        from imagesmith.transports.stored import StorePlace

        source = PlaceName.parse(args.ref, "store")
        target = PlaceName.parse(args.to or args.ref.removeprefix("store:"))
        platforms = _platforms([args.platform])
        with opened(args) as (session, store):
            if source.kind == "store" and target.kind == "registry" and not platforms:
                assert source.image is not None
                assert target.image is not None
                found = session.push(target.image, StorePlace(store, source.image).root())
            else:
                found = _copy(session, store, source, target, platforms, verb="push")
        print_descriptor(args, found, str(target))
        return 0

    return run


def _pull(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="an image reference")
    which = parser.add_mutually_exclusive_group()
    add_platform(which, "platform to pull (default: this machine's)")
    which.add_argument("-a", "--all", action="store_true", help="all platforms")

    def run(args: argparse.Namespace) -> int:
        ref = ImageRef.parse(args.ref.removeprefix("docker://"))
        with opened(args) as (session, store):
            named = Platform.parse(args.platform) if args.platform else None
            default = None if named or args.all else host_platform()
            descriptor = session.pull(ref, named, default=default)
            store.name(ref.with_tag(ref.tag) if ref.tag else ref, descriptor)
        print_descriptor(args, descriptor, str(ref))
        return 0

    return run


def _copy_verb(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument(
        "source", help="an image: REF, store:REF, oci:DIR[:REF], oci-archive:FILE, docker-archive:FILE"
    )
    parser.add_argument("target", help="where to, in the same forms")
    _choice_flags(parser)

    def run(args: argparse.Namespace) -> int:
        from imagesmith.transports.names import PlaceName

        source, target = PlaceName.parse(args.source), PlaceName.parse(args.target)
        platforms = _platforms(args.platform)
        one = target.kind == "docker-archive" and not platforms and not args.all  # it can hold one only
        with opened(args) as (session, store):
            found = _copy(
                session, store, source, target, platforms,
                default=host_platform() if one else None, whole=args.all,
                referrers=args.referrers, family=args.format,
            )  # fmt: skip
        print_descriptor(args, found, str(target))
        return 0

    return run


def _choice_flags(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "-a", "--all", action="store_true", help="all platforms, or none where one is not there"
    )
    which.add_argument(
        "--platform", action="append", default=[], metavar="OS/ARCH", help="this one alone; may be repeated"
    )
    parser.add_argument("--referrers", action="store_true", help="signatures, attestations and the like, too")
    parser.add_argument(
        "-f", "--format", default="", choices=("oci", "docker"), help="rewrite manifests to these media types"
    )


def _platforms(texts: list[str]) -> tuple[Platform, ...]:
    return tuple(Platform.parse(t) for text in texts for t in text.split(",") if t)


def _copy(
    session: Session,
    store: Store,
    source: PlaceName,
    target: PlaceName,
    platforms: tuple[Platform, ...] = (),
    *,
    default: Platform | None = None,
    whole: bool = False,
    referrers: bool = False,
    family: str = "",
    verb: str = "copy",
) -> Descriptor:
    from imagesmith.transports.copier import Choice
    from imagesmith.transports.names import open_source, open_target

    choice = Choice(
        platforms=platforms,
        default=default,
        whole=whole,
        referrers=referrers,
        family=family,  # type: ignore[arg-type]  # argparse checked it
    )
    with open_source(source, session, store) as a, open_target(target, session, store) as b:
        return session.copy(a, b, choice, verb=verb)


def _save(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", nargs="+", help="images: names in the store, or any place")
    parser.add_argument(
        "-o",
        "--output",
        default="-",
        metavar="FILE",
        type=new_file,
        help="the archive (default: standard output)",
    )
    parser.add_argument(
        "--format", default="docker", choices=("docker", "oci"), help="docker: for `docker load`"
    )
    add_platform(parser, "of an index (default: this machine's for docker, all that is there for oci)")

    def run(args: argparse.Namespace) -> int:
        from imagesmith.transports.archive import archive_target
        from imagesmith.transports.copier import Choice
        from imagesmith.transports.names import PlaceName, open_source

        docker = args.format == "docker"
        platforms = _platforms([args.platform])
        choice = Choice(platforms=platforms, default=host_platform() if docker and not platforms else None)
        names = [PlaceName.parse(text, "store") for text in args.ref]
        with opened(args) as (session, store), archive_target(args.output, docker=docker) as target:
            for name in names:
                target.label = str(name.image) if name.image is not None else name.ref
                with open_source(name, session, store) as source:
                    found = session.copy(source, target, choice)
                if args.output != "-":
                    print_descriptor(args, found, str(name))
        return 0

    return run


def _load(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument(
        "-i", "--input", default="-", metavar="FILE", help="the archive (default: standard input)"
    )
    add_platform(parser, "of an index, load this platform's image alone (default: all that are there)")

    def run(args: argparse.Namespace) -> int:
        import contextlib

        from imagesmith.transports.files import TarFiles
        from imagesmith.transports.layout import is_layout

        platform = Platform.parse(args.platform) if args.platform else None
        with (
            opened(args) as (session, store),
            contextlib.closing(TarFiles(args.input, store.blobs.ingest)) as files,
        ):
            if is_layout(files):
                loaded = list(_load_layout(files, session, store, platform))
            else:
                loaded = list(_load_docker(files, store, platform))
        for name, d in loaded:
            if args.json:
                print_descriptor(args, d, name)
            else:
                say(str(d.digest) if args.quiet else f"loaded {name or d.digest}")
        return 0

    return run


def _load_layout(
    files: TarFiles, session: Session, store: Store, platform: Platform | None
) -> Iterator[tuple[str, Descriptor]]:
    """Load a layout's images; an index stays as it is, also where some of its platforms are not there."""
    from imagesmith.transports.copier import Choice
    from imagesmith.transports.layout import NAME, REF, LayoutSource, is_companion
    from imagesmith.transports.stored import StorePlace

    source = LayoutSource(files)
    beside = any(map(is_companion, source.entries()))
    choice = Choice(platforms=(platform,) if platform else (), sparse=platform is not None, referrers=beside)
    for entry in source.entries():
        if is_companion(entry):
            continue  # comes with what it belongs to
        label = entry.annotations.get(NAME) or entry.annotations.get(REF, "")
        ref = _reference(label)
        yield (
            (ref.familiar if ref else ""),
            session.copy(source, StorePlace(store, ref), choice, root=entry, verb="load"),
        )


def _load_docker(
    files: TarFiles, store: Store, platform: Platform | None
) -> Iterator[tuple[str, Descriptor]]:
    from imagesmith.transports.archive import docker_image, docker_names

    for n, names in enumerate(docker_names(files)):
        d = docker_image(files, f"@{n}", store, platform)
        for text in names or ("",):
            ref = _reference(text)
            if ref is not None:
                store.name(ref, d)
            yield (ref.familiar if ref else ""), d


def _reference(label: str) -> ImageRef | None:
    """The name of an image of an archive; None where it has none that can stand in the store."""
    try:
        return ImageRef.parse(label) if label else None
    except InvalidReference:
        return None


# --- mirror --------------------------------------------------------------------------------------


def _mirror(parser: argparse.ArgumentParser) -> Handler:
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
    _choice_flags(parser)

    def run(args: argparse.Namespace) -> int:
        jobs = list(_jobs(args.list, args.to))
        platforms = _platforms(args.platform)
        failed = 0
        with opened(args) as (session, store):

            def copy(source: PlaceName, target: PlaceName) -> Descriptor:
                return _copy(
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

    return run


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


_VERBS: dict[str, Callable[[argparse.ArgumentParser], Handler]] = {
    "push": _push,
    "pull": _pull,
    "copy": _copy_verb,
    "save": _save,
    "load": _load,
    "mirror": _mirror,
}
