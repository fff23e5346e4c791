"""`imagesmith cache`: the folders of RUN --mount=type=cache, listed, pruned, exported and imported."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable

from imagesmith.cli.common import human, input_file, print_json, table
from imagesmith.cli.flags import add_root, new_file, settings_of
from imagesmith.errors import IntegrityError, UsageError
from imagesmith.fs.results import input_name
from imagesmith.options import parse_age, parse_size
from imagesmith.store.store import Store

__all__ = ["configure", "run"]

Handler = Callable[[argparse.Namespace], int]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (declare, verb, text) in _VERBS.items():
        sub = verbs.add_parser(name, help=text, description=text)
        add_root(sub)
        declare(sub)
        sub.set_defaults(run=verb)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    return int(args.run(args))


def _ls_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document")


def _ls(args: argparse.Namespace) -> int:
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


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def _prune_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cache", nargs="*", help="ids or keys; all by default")
    parser.add_argument("--older-than", default="", metavar="AGE", help="not used for so long: 12h, 7d, 2w")
    parser.add_argument("--max-size", default="", metavar="SIZE", help="until all take no more: 500m, 10g")
    parser.add_argument("-a", "--all", action="store_true", help="every cache")


def _prune(args: argparse.Namespace) -> int:
    from imagesmith.worker.cachefolders import find, prune_folders
    from imagesmith.worker.sandbox import world

    if not (args.cache or args.older_than or args.max_size or args.all):
        raise UsageError("nothing says what may go", hint="give --older-than, --max-size, names or --all")
    unused_s = parse_age(args.older_than, "--older-than") if args.older_than else 0
    most = parse_size(args.max_size, "--max-size") if args.max_size else -1
    world.enter("auto")  # folders of a user's builds belong to ids that only its namespace may touch
    with Store(settings_of(args.root).root) as store, store.alone():
        gone = prune_folders(store, find(store, args.cache), time.time(), unused_s=unused_s, most_bytes=most)
    freed = sum(f.size for f in gone)
    sys.stdout.write(f"deleted {len(gone)} cache{'s' * (len(gone) != 1)}; freed {human(freed)}\n")
    return 0


def _export_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cache", nargs="*", help="ids or keys; all by default")
    parser.add_argument(
        "-o", "--output", default="-", metavar="FILE", type=new_file, help="the tar, - for standard output"
    )


def _export(args: argparse.Namespace) -> int:
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


def _write(out: object, data: bytes) -> None:
    out.write(data)  # type: ignore[attr-defined]  # a binary file


def _import_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", help="a tar that `cache export` wrote, perhaps compressed; - for standard input"
    )


def _import(args: argparse.Namespace) -> int:
    from imagesmith.worker.cachefolders import import_folders
    from imagesmith.worker.sandbox import world

    place = world.enter("auto").place
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(Store(settings_of(args.root).root))
        stack.enter_context(store.alone())
        source = stack.enter_context(input_file(args.file))
        try:
            keys = import_folders(store, place, source)
        except IntegrityError as e:
            raise e.of(input_name(args.file)) from e.__cause__
    sys.stdout.write(f"imported {len(keys)} cache{'s' * (len(keys) != 1)}\n")
    return 0


_VERBS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], Handler, str]] = {
    "ls": (_ls_flags, _ls, "list the caches of RUN --mount=type=cache"),
    "prune": (_prune_flags, _prune, "delete caches by age, size or name"),
    "export": (_export_flags, _export, "write caches as a tar"),
    "import": (_import_flags, _import, "bring caches back from a tar"),
}
