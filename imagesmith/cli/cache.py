"""`imagesmith cache`: the folders of RUN --mount=type=cache, listed, pruned, exported and imported."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
from collections.abc import Callable

from imagesmith.cli.common import human, print_json, table
from imagesmith.cli.flags import new_file, settings_of
from imagesmith.errors import IntegrityError, UsageError
from imagesmith.fs.results import input_name
from imagesmith.options import parse_size
from imagesmith.store.store import Store

__all__ = ["configure", "parse_age"]

Handler = Callable[[argparse.Namespace], int]

_AGE = re.compile(r"(\d+)(s|m|h|d|w)?")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_age(text: str, flag: str) -> int:
    """A time in seconds: a number with s, m, h, d or w; hours without."""
    match = _AGE.fullmatch(text)
    if match is None:
        raise UsageError(f"{flag}: invalid age {text!r}", hint="30m, 12h, 7d and 2w are ages")
    return int(match[1]) * _UNITS[match[2] or "h"]


def configure(_name: str, parser: argparse.ArgumentParser) -> Handler:
    """Declare the verbs and return the handler."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (declare, text) in _VERBS.items():
        verb = verbs.add_parser(name, help=text, description=text)
        verb.add_argument("--root", default="", metavar="DIR", help="the store")
        verb.set_defaults(run=declare(verb))
    return lambda args: int(args.run(args))


def _ls(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("--json", action="store_true", help="one JSON document")

    def run(args: argparse.Namespace) -> int:
        from imagesmith.worker.cachefolders import folders

        with Store(settings_of(args.root).root) as store:
            found = folders(store)
        if args.json:
            print_json(
                [
                    {
                        "key": f.key,
                        "id": f.id,
                        "namespace": f.namespace,
                        "size": f.size,
                        "used": int(f.used_s),
                        "inUse": f.in_use,
                    }
                    for f in found
                ]
            )
            return 0
        now = time.time()
        rows = [
            [
                f.id or "?",
                f.namespace,
                human(f.size),
                "in use" if f.in_use else _ago(now - f.used_s),
                f.key[:12],
            ]
            for f in found
        ]
        table(["ID", "NAMESPACE", "SIZE", "LAST USED", "KEY"], rows)
        return 0

    return run


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def _prune(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("cache", nargs="*", help="ids or keys; all by default")
    parser.add_argument("--older-than", default="", metavar="AGE", help="not used for so long: 12h, 7d, 2w")
    parser.add_argument("--max-size", default="", metavar="SIZE", help="until all take no more: 500m, 10g")
    parser.add_argument("-a", "--all", action="store_true", help="every cache")

    def run(args: argparse.Namespace) -> int:
        from imagesmith.worker.cachefolders import find, prune_folders
        from imagesmith.worker.sandbox import world

        if not (args.cache or args.older_than or args.max_size or args.all):
            raise UsageError("nothing says what may go", hint="give --older-than, --max-size, names or --all")
        unused_s = parse_age(args.older_than, "--older-than") if args.older_than else 0
        most = parse_size(args.max_size, "--max-size") if args.max_size else -1
        world.enter("auto")  # folders of a user's builds belong to ids that only its namespace may touch
        with Store(settings_of(args.root).root) as store, store.alone():
            gone = prune_folders(
                store, find(store, args.cache), time.time(), unused_s=unused_s, most_bytes=most
            )
        freed = sum(f.size for f in gone)
        sys.stdout.write(f"deleted {len(gone)} cache{'s' * (len(gone) != 1)}; freed {human(freed)}\n")
        return 0

    return run


def _export(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("cache", nargs="*", help="ids or keys; all by default")
    parser.add_argument(
        "-o", "--output", default="-", metavar="FILE", type=new_file, help="the tar, - for standard output"
    )

    def run(args: argparse.Namespace) -> int:
        from imagesmith.fs.results import output_file
        from imagesmith.worker.cachefolders import export_folders, find
        from imagesmith.worker.sandbox import world

        if args.output == "-" and sys.stdout.isatty():
            raise UsageError("a tar is not written to a terminal", hint="-o names a file")
        place = world.enter("auto").place
        with Store(settings_of(args.root).root) as store:
            caches = find(store, args.cache)
            with output_file(args.output) as out:
                export_folders(caches, place, lambda data: _write(out, data))
        sys.stderr.write(f"exported {len(caches)} cache{'s' * (len(caches) != 1)}\n")
        return 0

    return run


def _write(out: object, data: bytes) -> None:
    out.write(data)  # type: ignore[attr-defined]  # a binary file


def _import(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument(
        "file", help="a tar that `cache export` wrote, perhaps compressed; - for standard input"
    )

    def run(args: argparse.Namespace) -> int:
        from imagesmith.worker.cachefolders import import_folders
        from imagesmith.worker.sandbox import world

        place = world.enter("auto").place
        with contextlib.ExitStack() as stack:
            store = stack.enter_context(Store(settings_of(args.root).root))
            stack.enter_context(store.alone())
            try:
                source = sys.stdin.buffer if args.file == "-" else stack.enter_context(open(args.file, "rb"))
            except OSError as e:
                raise UsageError(f"cannot read {args.file}: {e.strerror}") from e
            try:
                keys = import_folders(store, place, source)
            except IntegrityError as e:
                raise e.of(input_name(args.file)) from e.__cause__
        sys.stdout.write(f"imported {len(keys)} cache{'s' * (len(keys) != 1)}\n")
        return 0

    return run


_VERBS: dict[str, tuple[Callable[[argparse.ArgumentParser], Handler], str]] = {
    "ls": (_ls, "list the caches of RUN --mount=type=cache"),
    "prune": (_prune, "delete caches by age, size or name"),
    "export": (_export, "write caches as a tar"),
    "import": (_import, "bring caches back from a tar"),
}
