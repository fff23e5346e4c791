"""What the verbs that build images again share: their flags, what is told before, and the verdict.

Trust: what a provenance says is a stranger's, and shown without what a terminal would take for a command.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from imagesmith.cli.buildflags import add_rebuild_flags
from imagesmith.cli.buildrequest import request_of
from imagesmith.cli.common import add_session_flags, opened, source_at
from imagesmith.cli.fronts import make_front
from imagesmith.cli.lines import harmless, one_line
from imagesmith.errors import UsageError
from imagesmith.options import read_arg_file
from imagesmith.rebuilding import Rebuilt, Wanted, judge, rebuild_image
from imagesmith.settings import Settings

if TYPE_CHECKING:
    from imagesmith.events import EventSink

__all__ = ["rebuild", "rebuilt_alike"]


#: What a line of a recipe begins with: before one value, and before each of a map.
_NAMES = {"dockerfile": "Dockerfile", "target": "target"}
_MAPS = {"bases": "base", "buildArgs": "argument", "labels": "label"}
#: How many of one kind are shown.
_SHOWN = 20


def rebuild(args: argparse.Namespace) -> list[Rebuilt]:
    """Build the images of a name again: the one of --platform, or all of its index.

    Args:
        args: of the flags of add_rebuild_flags and add_session_flags, with `image`, and `context`, which may
            be empty.

    Raises:
        UsageError: there is no provenance and no context, or something that a build needs is not given.
        ImagesmithError: a build failed, or the image cannot be read.
    """
    from imagesmith.worker.sandbox import world

    words = [*args.build_arg, *(word for path in args.build_arg_file for word in read_arg_file(path))]
    if not any(word.partition("=")[0] == "SOURCE_DATE_EPOCH" for word in words):
        os.environ.pop("SOURCE_DATE_EPOCH", None)  # the image's own epoch counts
    given = request_of(args, needs_context=False)
    if len(given.platforms) > 1:  # those of the environment
        raise UsageError(f"--platform {','.join(map(str, given.platforms))}: one platform at a time")
    here = world.enter(args.isolation)  # before any thread: the process changes its namespaces

    @contextlib.contextmanager
    def events() -> Iterator[EventSink]:
        front = make_front("quiet" if args.quiet else args.progress)
        try:
            yield front
        finally:
            front.close()

    with (
        opened(args) as (session, store),
        source_at(_place(args.image), session, store) as source,
    ):
        return rebuild_image(
            args.image, source, given,
            store=store, settings=Settings.load(args.root), here=here, events=events,
            tell=lambda one: _tell(args, one),
        )  # fmt: skip


def rebuilt_alike(image: str, args: argparse.Namespace) -> list[str]:
    """A yes, in a line for each platform, where the images of a name are what their provenance makes.

    Args:
        image: the name.
        args: --platform, --isolation, --root and the registry's flags count, as far as they are there.

    Raises:
        Different: an image is another one; and see `rebuild`, for whose other flags `reproduce` is there.
    """
    shared, parser = argparse.ArgumentParser(), argparse.ArgumentParser()
    add_session_flags(shared)
    add_rebuild_flags(parser)
    words = parser.parse_args([])
    names = ("platform", "isolation", *vars(shared.parse_args([])))  # of others the meaning may be another
    given = {name: getattr(args, name) for name in names if hasattr(args, name)}
    vars(words).update(given, image=image, context="", quiet=True)
    found = rebuild(words)
    judge(image, found)
    return [f"{image} {one.platform}: equal: it is what its provenance makes" for one in found]


def _tell(args: argparse.Namespace, one: Wanted) -> None:
    """What is built, and what may differ for a known reason, before it is."""
    lines = [f"warning: {note}" for note in one.build.notes]
    if one.told is not None and not args.quiet:
        lines = [f"{args.image} {one.platform}: {line}" for line in _recipe(one.told)] + lines
    sys.stderr.write("".join(f"{harmless(one_line(line))}\n" for line in lines))


def _recipe(told: dict[str, Any]) -> list[str]:
    """What is built again, in lines."""
    commit = f", commit {told['commit']}" if "commit" in told else ""
    lines = [f"provenance of {told['builder']}, SLSA {told['slsa']}", f"source {told['context']}{commit}"]
    lines += [f"{name} {told[key]}" for key, name in _NAMES.items() if key in told]
    for key, name in _MAPS.items():
        words = [f"{name} {k}={v}" for k, v in told.get(key, {}).items()]
        lines += words[:_SHOWN]
        lines += [f"and {len(words) - _SHOWN} more; --json lists them"] if words[_SHOWN:] else []
    return lines


def _place(text: str) -> str:
    """A path of a layout or an archive in the form that names its kind."""
    if not os.path.exists(text):
        return text
    if os.path.isdir(text):
        return f"oci:{text}"
    return f"oci-archive:{text}"  # a docker archive is told by its content
