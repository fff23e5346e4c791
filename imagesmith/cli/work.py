"""`imagesmith work`: one unit of a bake that was cut for many machines, done on this one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.cli.baking import requests_of
from imagesmith.cli.errors import show_error
from imagesmith.cli.flags import access_of, add_policy, add_registry_flags, add_root, new_file, settings_of
from imagesmith.cli.fronts import make_front
from imagesmith.cli.lines import harmless
from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.fs.results import put_file
from imagesmith.options import parse_secret
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.bake.selection import Selection
    from imagesmith.bake.target import Target
    from imagesmith.cli.progress import Front
    from imagesmith.fleet.units import Unit
    from imagesmith.fleet.verdicts import Verdict
    from imagesmith.image.result import BuildResult
    from imagesmith.settings import Settings
    from imagesmith.transports.transfer import Session as Transfers

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("place", metavar="PLACE", help="a file of units, - for stdin, or their artifact REF")
    parser.add_argument(
        "--index", type=_index, default=None, metavar="N",
        help="which of them, from 0 (default: JOB_COMPLETION_INDEX or SLURM_ARRAY_TASK_ID)",
    )  # fmt: skip
    parser.add_argument(
        "--among", type=_indexes, default=(), metavar="N,…",
        help="the indexes of which that number chooses, as in a Job for one architecture",
    )  # fmt: skip
    parser.add_argument(
        "--secret", action="append", default=[], metavar="id=ID,src=FILE",
        help="where this machine has a secret of the definition",
    )  # fmt: skip
    parser.add_argument(
        "--verdict", default="", metavar="FILE", type=new_file, help="write what came of it as JSON"
    )
    parser.add_argument(
        "--always-zero", action="store_true", help="exit with 0 also where the unit failed and that was told"
    )
    parser.add_argument("--again", action="store_true", help="do it even if it is done")
    add_policy(parser)
    parser.add_argument("-j", "--jobs", type=_index, default=0, metavar="N", help="steps at the same time")
    parser.add_argument(
        "--isolation", default="auto", choices=("auto", "native", "chroot", "oci"),
        help="how RUN is kept apart",
    )  # fmt: skip
    parser.add_argument("--cgroup-parent", default="", metavar="GROUP", help="cgroup to run below")
    parser.add_argument(
        "--step-timeout", default="", metavar="TIME", help="how long one RUN may take, as 90s"
    )
    parser.add_argument(
        "--emulator", action="append", default=[], metavar="[PLATFORM=]PATH",
        help="what runs programs of another architecture",
    )  # fmt: skip
    parser.add_argument(
        "--progress", default="plain", choices=("auto", "plain", "tty", "rawjson", "quiet"),
        help="how progress is shown",
    )  # fmt: skip
    add_root(parser)
    add_registry_flags(parser.add_argument_group("how registries are reached"))
    parser.set_defaults(explain=False, metadata_file="", report="", on_failure="")


def _index(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0")
    return int(text)


def _indexes(text: str) -> tuple[int, ...]:
    return tuple(_index(part) for part in text.split(","))


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.worker.sandbox import world

    settings = settings_of(args.root)
    here = world.enter(args.isolation)  # before any thread: the process changes its namespaces
    front = make_front(args.progress)
    front.title = "Working"
    try:
        verdict, failed = _worked(args, settings, here, front)
    finally:
        front.close()
    if args.verdict:
        put_file(args.verdict, verdict.written())
    if failed is not None:
        show_error(failed, sys.stderr)
        return 0 if args.always_zero else failed.exit_code
    digest = f" {verdict.pushed.digest}" if verdict.pushed else ""
    sys.stdout.write(harmless(f"{verdict.name}: done{digest}") + "\n")
    return 0


def _worked(
    args: argparse.Namespace, settings: Settings, here: object, front: Front
) -> tuple[Verdict, ImagesmithError | None]:
    from imagesmith.fleet.working import Tally, work
    from imagesmith.session import Session
    from imagesmith.transports.transfer import Session as Transfers

    tally = Tally(front)
    with (
        Session(settings, here, tally) as session,  # type: ignore[arg-type]  # world.World, imported lazily
        Transfers(
            session.store, events=front, transfers=settings.transfers, access=access_of(args)
        ) as transfers,
    ):
        unit = _unit(args, transfers)

        def bake(selection: Selection) -> Mapping[str, BuildResult | ImagesmithError]:
            requests = requests_of(_with_secrets(selection, args.secret), args)
            found = session.build_each(requests, args.jobs, keep_going=True)
            return {r.name: built for r, built in zip(requests, found, strict=True)}

        return work(
            unit, bake, tally, transfers, session.store, again=args.again,
            tell=lambda text: sys.stderr.write(harmless(text) + "\n"),
        )  # fmt: skip


def _with_secrets(selection: Selection, texts: list[str]) -> Selection:
    """The selection with secrets from where this machine has them."""
    given = {secret.id: secret for secret in map(parse_secret, texts)}

    def placed(target: Target) -> Target:
        entries = target.attributes.get("secret", ())
        if not given or not isinstance(entries, tuple):
            return target
        found = [entry for entry in entries if not isinstance(entry, str)]
        moved = tuple(
            {"id": e["id"], **({"src": s.file} if (s := given[e["id"]]).file else {"env": s.env})}
            if e.get("id", "") in given
            else e
            for e in found
        )
        return replace(target, attributes={**target.attributes, "secret": moved})

    targets = {name: placed(target) for name, target in selection.targets.items()}
    return replace(selection, targets=targets)


def _unit(args: argparse.Namespace, transfers: Transfers) -> Unit:
    """The unit that is asked for."""
    from imagesmith.fleet.endurance import endure
    from imagesmith.fleet.places import index_in, unit_at, unit_in

    index = index_in(os.environ) if args.index is None else args.index
    if args.among and args.index is None:
        if index is None or index >= len(args.among):
            raise UsageError(f"--among: {len(args.among)} indexes, and the environment chooses none of them")
        index = args.among[index]
    if args.place == "-" or Path(args.place).is_file():
        return unit_in(args.place, index, lambda: sys.stdin.buffer)
    if args.place.startswith(("/", "./", "../")) or args.place.endswith(".json"):
        raise UsageError(f"{args.place}: no such file")
    return endure(lambda: unit_at(args.place, index, transfers))
