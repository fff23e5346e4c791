"""Images of a name built again, and whether they are what their sources make.

Why all recipes before the first build: what is missing for one platform is told before any work on another.
Why a store of its own for what a provenance describes: what its steps made would else stand in the cache of
the user's own builds, whose keys know no proxy and no address of a host, and cache mounts would be shared.
Trust: see attest/recipe.py; steps are executed in the sandbox of RUN, as those of any Dockerfile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from imagesmith.attest.reading import Attached, attached_to, predicates_of
from imagesmith.attest.rebuilding import Rebuild, rebuild_of, told
from imagesmith.attest.recipe import recipe_of
from imagesmith.attest.statement import SLSA
from imagesmith.errors import Different, NotFound, SandboxUnavailable, UsageError
from imagesmith.events import EventSink
from imagesmith.image.reproduce import Original, Report, reproduce
from imagesmith.interfaces import ImageSource
from imagesmith.oci.config import ImageConfig, check_image
from imagesmith.oci.model import Manifest
from imagesmith.request import BuildRequest
from imagesmith.session import run_build
from imagesmith.settings import Settings
from imagesmith.store.disk import on_disk_fault
from imagesmith.store.store import Store
from imagesmith.store.work import WorkFolder
from imagesmith.values import frozen, printable, replace

if TYPE_CHECKING:
    from imagesmith.worker.sandbox.world import World

__all__ = ["Rebuilt", "Wanted", "judge", "rebuild_image"]


@frozen
class Wanted:
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

    def __repr__(self) -> str:
        how = "equal" if self.equal else "not built" if self.report is None else "differs"
        return printable(f"Rebuilt({self.platform}, {how})")

    @property
    def equal(self) -> bool:
        """True if it is the same image."""
        return self.report is not None and self.report.equal

    def to_json(self) -> dict[str, Any]:
        """The report as a document."""
        found = {"equal": self.equal} if self.report is None else self.report.to_json()
        found |= {"error": self.failure.message} if self.failure is not None else {}
        return {**found, "platform": self.platform, "provenance": self.told, "notes": list(self.notes)}


def rebuild_image(
    name: str,
    source: ImageSource,
    given: BuildRequest,
    *,
    store: Store,
    settings: Settings,
    here: World,
    events: Callable[[], contextlib.AbstractContextManager[EventSink]],
    tell: Callable[[Wanted], object] = lambda _: None,
) -> list[Rebuilt]:
    """Build the images of a name again: the one of the request's platform, or all of its index.

    Args:
        name: what the image is called.
        source: the image.
        given: what of a build is said by who asks; its context may be empty for what the provenance tells.
        store: of the user.
        settings: of the user.
        here: where RUN is executed.
        events: makes for each build who is told what happens.
        tell: is told of each image what is built, before anything is.

    Raises:
        UsageError: there is no provenance and no context, or something that a build needs is not given.
        ImagesmithError: a build failed, or the image cannot be read.
    """
    found = attached_to(source, given.platform)
    if not found:
        raise NotFound(f"{name}: it has no image{f' for {given.platform}' if given.platform else ''}")
    wanted = [_wanted(name, source, one, given) for one in found]
    for lacking in (one.build.lacking for one in wanted):
        if lacking:
            raise UsageError(
                f"{name} cannot be built again without {'; '.join(lacking)}",
                hint="nothing was built; give what is missing",
            )
    for one in wanted:
        tell(one)
    return [_built(one, store, settings, here, events) for one in wanted]


def judge(name: str, found: Sequence[Rebuilt]) -> None:
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
        raise Different(f"{name}: {'; '.join(verdicts)}")
    for one in found:
        if one.failure is not None:
            raise one.failure


def _verdict(report: Report) -> str:
    count = len(report.layers)
    if not count:
        return "the config differs"
    return f"{count} of {report.count} layers{' and the config' if report.config else ''} differ"


def _wanted(name: str, source: ImageSource, one: Attached, given: BuildRequest) -> Wanted:
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
            f"{name}: {what}, so nothing tells what it was built from",
            hint=f"imagesmith reproduce {name} CONTEXT builds it from there",
        )
    build = rebuild_of(recipe, given, platform, original)
    words = None if recipe is None else told(recipe, build.request)
    return Wanted(str(platform), original, words, build)


def _built(
    one: Wanted,
    store: Store,
    settings: Settings,
    here: World,
    events: Callable[[], contextlib.AbstractContextManager[EventSink]],
) -> Rebuilt:
    report, failure = None, None
    try:
        with events() as sink, _store_of(one, store) as own:
            inside = replace(settings, root=own.root)
            report = reproduce(
                one.original, one.build.request, own, lambda r: run_build(r, inside, here, sink).image
            )
    except SandboxUnavailable as e:
        failure = e
    return Rebuilt(one.platform, one.told, one.build.notes, report, failure)


@contextlib.contextmanager
def _store_of(one: Wanted, store: Store) -> Iterator[Store]:
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
