"""From repositories and patterns to the single copies that they stand for.

Why: tags are asked for once, before anything is copied, so that all is told in one order, also by a dry run.
Trust: tags are a registry's own words; what is no tag is left out where they are read.
Threads: any.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from imagesmith.copying.ends import Ends
from imagesmith.copying.patterns import Tags
from imagesmith.errors import ImagesmithError, NotFound, UsageError
from imagesmith.oci.names import ImageRef, is_tag
from imagesmith.transports.layout import LayoutFolder
from imagesmith.transports.names import PlaceName
from imagesmith.transports.transfer import Session
from imagesmith.values import frozen, replace

__all__ = ["Job", "Wanted", "repository_of", "tags_of", "wanted_jobs", "with_tags"]


@frozen(kw_only=True, eq=False)
class Job:
    """A copy to be made; or, with an error, one that cannot be."""

    source: PlaceName
    target: PlaceName
    error: ImagesmithError | None = None


@frozen(kw_only=True)
class Wanted:
    """An image to be copied, or with `tags` those of a repository."""

    source: PlaceName
    target: PlaceName
    tags: Tags | None = None


def repository_of(text: str) -> PlaceName:
    """The place that a word names, if that is a repository, a layout or an archive: not one image of it.

    Raises:
        UsageError: it has a tag, a name or a digest.
    """
    place = PlaceName.parse(text)
    if place.image is None:
        named = place.ref
    else:
        found = ImageRef.parse(text.removeprefix("docker://").removeprefix("store:"), default_tag=False)
        named = found.tag or str(found.digest or "")
    if named:
        raise UsageError(
            f"{text}: {named} is one image, and several are to be copied", hint="leave it out of the name"
        )
    return place


def tags_of(ends: Ends, place: PlaceName, session: Session | None = None) -> list[str]:
    """The tags of a repository, or names in a layout, sorted; a tag that the place names itself is ignored.

    Args:
        ends: the two sides.
        place: the repository.
        session: who asks its registry; by default who reads.

    Raises:
        UsageError: it is an archive, which has no tags.
        NotFound: there is no such repository or layout.
    """
    if place.kind == "oci":
        return sorted(LayoutFolder(Path(place.path)).names())
    if place.image is None:
        raise UsageError(
            f"{place}: tags are of repositories and layouts", hint="`imagesmith load` reads all of an archive"
        )
    if place.kind == "store":
        name = place.image.name
        return sorted({ref.tag for ref, _ in ends.store.images() if ref.tag and ref.name == name})
    return sorted((session or ends.reader(place)).repository(place.image).tags())


def with_tags(
    ends: Ends, source: PlaceName, target: PlaceName, tags: Tags, *, new: bool = False
) -> list[Job]:
    """A copy for each tag of a repository that is chosen, to the same tag of another; in their order.

    Args:
        ends: the two sides.
        source, target: the repositories.
        tags: the choice.
        new: leave out those that the target has.

    Raises:
        UsageError: a place that has no tags, or that names one.
        NotFound: there is no such repository, or no such tag in it.
    """
    tags.checked()
    for place in (source, target):
        if place.kind in ("oci-archive", "docker-archive"):
            raise UsageError(
                f"{place}: several tags go between repositories, layouts and the store",
                hint="`imagesmith save` puts several images into an archive",
            )
    there = tags_of(ends, source)
    chosen = tags.chosen(there)
    if not chosen:
        raise NotFound(f"{_bare(source)}: no tag for {tags}", hint=f"it has {_some(there)}")
    if new:
        with contextlib.suppress(NotFound):
            had = set(tags_of(ends, target, ends.target))
            chosen = [tag for tag in chosen if tag not in had]
    return [_job(source, target, tag) for tag in chosen]


def wanted_jobs(ends: Ends, wanted: Iterable[Wanted]) -> list[Job]:
    """The copies of a list, in its order; a repository whose tags cannot be had is a job that has failed."""
    jobs = []
    for line in wanted:
        if line.tags is None:
            jobs.append(Job(source=line.source, target=line.target))
            continue
        try:
            jobs += with_tags(ends, line.source, line.target, line.tags)
        except ImagesmithError as e:
            jobs.append(Job(source=line.source, target=line.target, error=e))
    return jobs


def _some(tags: Sequence[str]) -> str:
    return ", ".join(tags[:8]) + (f" and {len(tags) - 8} more" if len(tags) > 8 else "") if tags else "none"


def _bare(place: PlaceName) -> str:
    return place.image.name if place.image is not None else f"{place.kind}:{place.path}"


def _job(source: PlaceName, target: PlaceName, tag: str) -> Job:
    """A copy of one tag; one that failed where a layout's name is none, as `../x` or a whole reference."""
    if target.image is not None and not is_tag(tag):
        error = UsageError(
            f"{_bare(source)}: the name {tag[:200]!r} is no tag", hint="copy it by itself, to a tag"
        )
        return Job(source=_tagged(source, tag), target=target, error=error)
    return Job(source=_tagged(source, tag), target=_tagged(target, tag))


def _tagged(place: PlaceName, tag: str) -> PlaceName:
    if place.image is None:
        return replace(place, ref=tag)
    return replace(place, image=ImageRef(place.image.registry, place.image.repository, tag))
