"""Images of a name built again, for the verbs that ask whether they are what their sources make.

Why all recipes before the first build: what is missing for one platform is told before any work on another.
Why a store of its own for what a provenance describes: what its steps made would else stand in the cache of
the user's own builds, whose keys know no proxy and no address of a host, and cache mounts would be shared.
Trust: see attest/recipe.py; steps are executed in the sandbox of RUN, as those of any Dockerfile.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from imagesmith.attest.reading import Attached, attached_to, predicates_of
from imagesmith.attest.rebuilding import Rebuild, rebuild_of, told
from imagesmith.attest.recipe import recipe_of
from imagesmith.attest.statement import SLSA
from imagesmith.cli.build import request_of
from imagesmith.cli.buildflags import add_rebuild_flags
from imagesmith.cli.common import add_session_flags, opened, source_at
from imagesmith.cli.fronts import make_front
from imagesmith.cli.lines import harmless, one_line
from imagesmith.errors import Different, NotFound, SandboxUnavailable, UsageError
from imagesmith.image.reproduce import Original, Report, reproduce
from imagesmith.interfaces import ImageSource
from imagesmith.oci.config import ImageConfig, check_image
from imagesmith.oci.model import Manifest
from imagesmith.request import BuildRequest
from imagesmith.settings import Settings
from imagesmith.store.disk import on_disk_fault
from imagesmith.store.store import Store
from imagesmith.store.work import WorkFolder
from imagesmith.values import frozen, replace

if TYPE_CHECKING:
    from imagesmith.worker.sandbox.world import World

__all__ = ["Rebuilt", "judge", "rebuild", "rebuilt_alike"]


#: What a line of a recipe begins with: before one value, and before each of a map.
_NAMES = {"dockerfile": "Dockerfile", "target": "target"}
_MAPS = {"bases": "base", "buildArgs": "argument", "labels": "label"}
#: How many of one kind are shown.
_SHOWN = 20


@frozen
class _Wanted:
    """An image that is to be made again: its platform, what its provenance tells, if any, and the build."""

    platform: str
    original: Original
    told: dict[str, Any] | None
    build: Rebuild


@frozen
class Rebuilt:
    """What came of one image: a report, or why it cannot be built here;

    `told` is what its provenance told, if anything.
    """

    platform: str
    told: dict[str, Any] | None
    notes: tuple[str, ...]
    report: Report | None
    failure: SandboxUnavailable | None = None

    def to_json(self) -> dict[str, Any]:
        """The report as a document."""
        found = {"equal": False} if self.report is None else self.report.to_json()
        found |= {"error": self.failure.message} if self.failure is not None else {}
        return {**found, "platform": self.platform, "provenance": self.told, "notes": list(self.notes)}


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
    with (
        opened(args) as (session, store),
        source_at(_place(args.image), session, store) as source,
    ):
        found = attached_to(source, given.platform)
        if not found:
            raise NotFound(
                f"{args.image}: it has no image{f' for {given.platform}' if given.platform else ''}"
            )
        wanted = [_wanted(args, source, one, given) for one in found]
        for lacking in (one.build.lacking for one in wanted):
            if lacking:
                raise UsageError(
                    f"{args.image} cannot be built again without {'; '.join(lacking)}",
                    hint="nothing was built; give what is missing",
                )
        for one in wanted:
            _tell(args, one)
        return [_built(args, one, store, here) for one in wanted]


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
    judge(words, found)
    return [f"{image} {one.platform}: equal: it is what its provenance makes" for one in found]


def judge(args: argparse.Namespace, found: list[Rebuilt]) -> None:
    """Say no where an image differs, or could not be built.

    Raises:
        Different: an image is another one.
        SandboxUnavailable: RUN of a platform cannot be executed here.
    """
    several = len(found) > 1
    verdicts = [
        f"{f'{one.platform}: ' if several else ''}{_verdict(one.report)}"
        for one in found
        if one.report is not None and not one.report.equal
    ]
    if verdicts:
        raise Different(f"{args.image}: {'; '.join(verdicts)}")
    for one in found:
        if one.failure is not None:
            raise one.failure


def _verdict(report: Report) -> str:
    count = len(report.layers)
    if not count:
        return "the config differs"
    return f"{count} of {report.count} layers{' and the config' if report.config else ''} differ"


def _wanted(args: argparse.Namespace, source: ImageSource, one: Attached, given: BuildRequest) -> _Wanted:
    manifest = Manifest.parse(source.document(one.image))
    check_image(manifest)
    original = Original(source, manifest, source.document(manifest.config))
    platform = ImageConfig.parse(original.raw_config).platform
    recipe = None
    statements = predicates_of(source, one, (SLSA,))
    for kind, predicate in statements:
        recipe = recipe or recipe_of(kind, predicate)
    if recipe is None and not given.context:
        what = "its provenance is of a build that is not known here" if statements else "it has no provenance"
        raise UsageError(
            f"{args.image}: {what}, so nothing tells what it was built from",
            hint=f"imagesmith reproduce {args.image} CONTEXT builds it from there",
        )
    build = rebuild_of(recipe, given, platform, original)
    words = None if recipe is None else told(recipe, build.request)
    return _Wanted(str(platform), original, words, build)


def _tell(args: argparse.Namespace, one: _Wanted) -> None:
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


def _built(args: argparse.Namespace, one: _Wanted, store: Store, here: World) -> Rebuilt:
    from imagesmith.session import run_build

    front = make_front("quiet" if args.quiet else args.progress)
    report, failure = None, None
    try:
        with _store_of(one, store) as own:
            settings = replace(Settings.load(args.root), root=own.root)
            report = reproduce(
                one.original, one.build.request, own, lambda r: run_build(r, settings, here, front).image
            )
    except SandboxUnavailable as e:
        failure = e
    finally:
        front.close()
    return Rebuilt(one.platform, one.told, one.build.notes, report, failure)


@contextlib.contextmanager
def _store_of(one: _Wanted, store: Store) -> Iterator[Store]:
    """Where an image is built: in an empty store, gone afterwards, if a provenance tells how."""
    if one.told is None:
        yield store
        return
    with on_disk_fault("make a store for a build", store.work):
        folder = WorkFolder(store.work, "rebuild-")
    try:
        with Store(folder.path / "store") as own:
            yield own
    finally:
        with contextlib.suppress(OSError):  # what is left is swept by the next build
            folder.close()


def _place(text: str) -> str:
    """A path of a layout or an archive in the form that names its kind."""
    if not os.path.exists(text):
        return text
    if os.path.isdir(text):
        return f"oci:{text}"
    return f"oci-archive:{text}"  # a docker archive is told by its content
