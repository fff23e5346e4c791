"""Many copies: all tags of a repository or the lines of a list, several at a time, each told as it is done.

Why: one that fails does not stop the others, and what is told comes in the order in which it was asked,
whatever was done first. A copy waits for those before it that write what it reads or writes.
Layers that images have in common go over once: the target's session knows what it has seen, and gives one
blob of a registry to one copy at a time.
Threads: one a copy, and the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.copying.copies import How, copy_image, look
from imagesmith.copying.ends import Ends
from imagesmith.copying.looking import Look
from imagesmith.copying.tagging import Job
from imagesmith.errors import ImagesmithError
from imagesmith.oci.model import Descriptor
from imagesmith.transports.names import PlaceName
from imagesmith.values import frozen

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Outcome", "copies"]


@frozen(kw_only=True, eq=False)
class Outcome:
    """What came of a copy.

    source, target   the places
    descriptor       what is there now, or would be; None after an error
    look             of a dry run: how much of it is there
    error            why there is nothing
    """

    source: PlaceName
    target: PlaceName
    descriptor: Descriptor | None = None
    look: Look | None = None
    error: ImagesmithError | None = None


def copies(
    ends: Ends,
    jobs: Sequence[Job],
    how: How | None = None,
    *,
    at_once: int = 4,
    dry_run: bool = False,
) -> Iterator[Outcome]:
    """Make copies, several at the same time; tells of each as it is done, in their order.

    Args:
        ends: the two sides.
        jobs: what is copied where to.
        how: what is taken, in which form.
        at_once: so many at the same time.
        dry_run: look only.

    Raises:
        UsageError: what is asked for excludes each other; before anything is copied.
    """
    how = (how or How()).foreseen() if dry_run else (how or How()).checked()

    def work(job: Job) -> Outcome:
        if job.error is not None:
            return Outcome(source=job.source, target=job.target, error=job.error)
        try:
            seen = look(ends, job.source, job.target, how) if dry_run else None
            found = copy_image(ends, job.source, job.target, how) if seen is None else seen.descriptor
        except ImagesmithError as e:
            return Outcome(source=job.source, target=job.target, error=e)
        return Outcome(source=job.source, target=job.target, descriptor=found, look=seen)

    yield from _in_order(jobs, work, at_once, waits=not dry_run)


def _in_order(
    jobs: Sequence[Job], work: Callable[[Job], Outcome], most: int, *, waits: bool
) -> Iterator[Outcome]:
    from concurrent.futures import ThreadPoolExecutor, wait

    begun: list[Future[Outcome]] = []
    writers: dict[str, Future[Outcome]] = {}

    def after(before: set[Future[Outcome]], job: Job) -> Outcome:
        wait(before)  # they were submitted earlier, so that they run or ran
        return work(job)

    pool = ThreadPoolExecutor(max(1, most), thread_name_prefix="copies")
    try:
        for job in jobs:
            keys = (_place(job.source), _place(job.target)) if waits else ()
            before = {writers[key] for key in keys if key in writers}
            writers[_place(job.target)] = done = pool.submit(after, before, job)
            begun.append(done)
        for done in begun:
            yield done.result()
    finally:  # whoever is interrupted does not wait for what runs
        pool.shutdown(wait=False, cancel_futures=True)


def _place(name: PlaceName) -> str:
    """What a copy has for itself: an image's name, or a folder or file with all that is in it."""
    return str(name) if name.image is not None else f"{name.kind}:{Path(name.path).absolute()}"
