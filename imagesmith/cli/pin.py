"""`imagesmith pin [CONTEXT]`: settle what a Dockerfile's sources are in its lock, and tell what has moved.

All stages are looked at, for all platforms that are asked for; nothing is built. Sources that the lock lacks
are added. Of the others it is asked what they stand for now; `--update` takes that into the lock. `--prune`
takes out of it what no stage names. With `--check` nothing is written, and the status is 10 where `pin` or
`pin --update` would change anything.
"""

from __future__ import annotations

import argparse

from imagesmith.cli.buildflags import add_pin_flags
from imagesmith.cli.buildrequest import request_of
from imagesmith.cli.common import print_json, say, table
from imagesmith.cli.flags import settings_of
from imagesmith.context.contexts import Contexts
from imagesmith.context.sshkeys import with_agents
from imagesmith.dockerfile.parse import parse
from imagesmith.errors import Different, RegistryError, UsageError
from imagesmith.events import nobody
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import Platform
from imagesmith.pins import Pin, Pinning, Source
from imagesmith.plan.lints import BuildLints
from imagesmith.plan.planner import Planner
from imagesmith.plan.reading import linter_of
from imagesmith.request import BuildRequest
from imagesmith.settings import Settings
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases
from imagesmith.values import frozen, replace

__all__ = ["configure", "run"]

#: What is printed of a digest or a commit: as much as people compare.
_SHORT = 12


@frozen
class _Row:
    """A line of the answer. `state` is new, same, behind, moved, unused or dropped.

    `now` is what the source stands for; `created` when that was made, of images.
    """

    pin: Pin
    state: str
    now: str
    created: str = ""

    def to_json(self) -> dict[str, str]:
        """The object of --json; what is empty is not in it."""
        source = self.pin.source
        row = {"kind": source.kind, "name": source.name, "state": self.state}
        row |= {"was": self.pin.old, "pinned": self.pin.new, "now": self.now, "created": self.created}
        return {k: v for k, v in row.items() if v}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_pin_flags(parser)
    g = parser.add_argument_group("what is done")
    g.add_argument("--update", action="store_true", help="move the pins to what their names stand for now")
    g.add_argument("--prune", action="store_true", help="drop the pins that no stage takes")
    g.add_argument(
        "--only", action="append", default=[], metavar="NAME",
        help="these sources: an image, a URL, or a repository's address with #ref",
    )  # fmt: skip
    g.add_argument(
        "--check", action="store_true", help="write nothing; status 10 where something would change"
    )
    g.add_argument("--json", action="store_true", help="the pins as one JSON document")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    for flag, is_given in (("--update", args.update), ("--prune", args.prune)):
        if args.check and is_given:
            raise UsageError(f"--check writes nothing, and {flag} does: one of them")
    if args.prune and args.target:
        raise UsageError("--prune drops what no stage takes, and --target looks at some only: one of them")
    request = request_of(args)
    lock, rows = _pins(args, request, settings_of(args.root))
    if args.json:
        print_json({"lock": lock, "pins": [row.to_json() for row in rows]})
    elif args.update:
        changed = [_changed(row) for row in rows if row.state in ("new", "moved", "dropped")]
        say(*(changed or [f"{lock}: nothing has moved"]))
    else:
        table(["SOURCE", "PINNED", "STATE"], [_cells(row) for row in rows])
    if args.check and (late := [row.state for row in rows if row.state in ("new", "behind")]):
        raise Different(
            f"{lock}: of {len(rows)} sources {late.count('new')} are missing, {late.count('behind')} behind",
            hint="`imagesmith pin` adds what is missing, `imagesmith pin --update` moves the others",
        )
    return 0


def _pins(args: argparse.Namespace, request: BuildRequest, settings: Settings) -> tuple[str, list[_Row]]:
    """The name of the lock, and what became of each source; the lock is written unless that is not wanted."""

    def wanted(source: Source) -> bool:
        return not args.only or any(source.is_called(word) for word in args.only)

    with Store(settings.root) as store, with_agents(request) as request, Contexts(request, store) as contexts:
        name, data = contexts.dockerfile()
        pinning = contexts.pinning
        assert pinning is not None  # request.pin
        if args.update:
            pinning.move(wanted)
        images = contexts.images = Bases(store, settings, request, nobody, pinning=pinning)
        _plan(name, data, request, images, contexts)
        if args.prune:
            pinning.drop(wanted)
        found = [pin for pin in pinning.all() if wanted(pin.source)]
        for word in args.only:
            if not any(pin.source.is_called(word) for pin in found):
                raise UsageError(f"--only {word}: no source has that name")
        if not args.check:
            pinning.write()
        platform = request.platform
        return pinning.lock, [_row(p, pinning, images, platform, moves=args.update) for p in found]


def _plan(name: str, data: bytes, request: BuildRequest, images: Bases, contexts: Contexts) -> None:
    """Work out the stages, of all platforms, so that every source is asked for."""
    dockerfile = parse(data, name)
    for platform in request.platforms or (None,):
        one = replace(request, platforms=(platform,) if platform else ())
        linter = linter_of(dockerfile, one, lambda _: None)
        planner = Planner(dockerfile, one, images, contexts, BuildLints(linter))
        if request.target:
            planner.plan()
        else:
            planner.plan_all()


def _row(pin: Pin, pinning: Pinning, images: Bases, platform: Platform | None, *, moves: bool) -> _Row:
    if not pin.is_used:
        return _Row(pin, "unused" if pin.new else "dropped", "")
    now = pin.new if moves else pinning.newest(pin.source)
    state = (
        "new" if not pin.old else "moved" if pin.new != pin.old else "behind" if now != pin.new else "same"
    )
    created = _created(pin.source, now, images, platform) if state in ("moved", "behind") else ""
    return _Row(pin, state, now, created)


def _created(source: Source, now: str, images: Bases, platform: Platform | None) -> str:
    """When an image was made whose documents are here, since it was just asked for; empty for others."""
    if source.kind != "images" or not images.store.blobs.has(Digest.parse(now)):
        return ""
    try:
        return images.find(f"{source.name}@{now}", platform).config.created
    except RegistryError:  # it is of another platform
        return ""


def _cells(row: _Row) -> list[str]:
    state = f"behind: {_short(row.now)}{_when(row)}" if row.state == "behind" else row.state
    return [row.pin.source.shown, _short(row.pin.new or row.pin.old), state]


def _changed(row: _Row) -> str:
    return f"{row.pin.source.shown}: {row.pin.old or 'new'} -> {row.now or 'dropped'}{_when(row)}"


def _when(row: _Row) -> str:
    return f", created {row.created}" if row.created else ""


def _short(value: str) -> str:
    """A digest or a commit in short."""
    algorithm, colon, text = value.rpartition(":")
    return f"{algorithm}{colon}{text[:_SHORT]}"
