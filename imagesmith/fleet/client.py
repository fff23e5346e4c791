"""A bake by many machines from its beginning to its end: folders, units, waves, images.

Why one function: whoever calls it (a verb, a library) has a selection and an engine, and needs no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from imagesmith.fleet.endurance import endure
from imagesmith.fleet.engine import Engine
from imagesmith.fleet.gathering import Gathered, gather
from imagesmith.fleet.planning import PlanOf, check, units_of
from imagesmith.fleet.running import How, Outcome, run_units
from imagesmith.fleet.sending import send
from imagesmith.fleet.units import Unit
from imagesmith.request import BuildRequest
from imagesmith.values import frozen

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["Client", "Done"]


@frozen(kw_only=True)
class Done:
    """What came of it: verdicts on the units, and the images by target."""

    units: Sequence[Unit]
    outcome: Outcome
    images: Mapping[str, Gathered]


class Client:
    """What a bake by many machines is done with."""

    def __init__(self, repository: str, session: Session, store: Store, how: How) -> None:
        """Prepare; nothing is asked.

        Args:
            repository: takes folders, units, caches and verdicts; workers write to it, too.
            session: connections to registries.
            store: where things are packed.
            how: how units are run.
        """
        self._repository, self._session, self._store, self._how = repository, session, store, how

    def units(
        self, document: Mapping[str, Any], requests: Sequence[BuildRequest], plan_of: PlanOf, epoch: str = ""
    ) -> list[Unit]:
        """Send the folders, and cut the bake; see sending.send and planning.units_of.

        Raises:
            ImagesmithError: a target cannot be planned, or a folder not be sent.
        """
        for request in requests:  # before anything is sent
            check(request)
        definition, cut = endure(
            lambda: send(document, requests, self._repository, self._session, self._store, epoch),
            for_s=self._how.endured_s,
            tell=self._how.tell,
        )
        return units_of(definition, requests, plan_of, cut)

    def run(self, requests: Sequence[BuildRequest], units: Sequence[Unit], engine: Engine) -> Done:
        """Have the units done, and name what they pushed.

        Raises:
            ImagesmithError: the registry or the engine is away for too long.
        """
        outcome = run_units(units, engine, self._repository, self._session, self._store, self._how)
        images = {}
        for request in requests:
            found = gather(
                request, units, outcome.verdicts, self._session, self._store, endured_s=self._how.endured_s
            )
            if found is not None:
                images[request.name] = found
        return Done(units=units, outcome=outcome, images=images)
