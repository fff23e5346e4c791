"""The client's side: waves are submitted one after the other, until every unit has its verdict.

Why verdicts and not the engine's word: an engine knows that a process ended, and loses some. What is done
stands in the registry, so that a client that died goes on where it was, whatever engine it has now.
Trust: what workers print is shown by whoever is given it; verdicts are judged in verdicts.py.
Threads: one, and a few for asking the registry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.fleet.endurance import ENDURED_S, endure
from imagesmith.fleet.engine import ENDED, Engine, Run
from imagesmith.fleet.places import publish
from imagesmith.fleet.units import Unit
from imagesmith.fleet.verdicts import Verdict, read_verdict
from imagesmith.fleet.waves import held_up, waves_of
from imagesmith.values import field, frozen

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["How", "Outcome", "run_units", "verdicts_on"]

#: So often a unit is submitted that ends without a word.
_TRIES = 3
_ASKED_AT_ONCE = 8
_LOST = "it ended without a verdict"


def _nothing(*_: object) -> None:
    """Take what nobody wants."""


@frozen(kw_only=True)
class How:
    """How units are run.

    keep_going  finish what does not need a unit that failed
    again       do units that are done already
    poll_s      how often an engine is asked, in seconds
    endured_s   how long a registry, or the engine, may be away
    tell        is told a line for the user
    output      is told what a unit has written
    ended       is told the verdict on a unit, of one that was done before, too
    """

    keep_going: bool = False
    again: bool = False
    poll_s: float = 1.0
    endured_s: float = ENDURED_S
    tell: Callable[[str], object] = _nothing
    output: Callable[[Unit, bytes], object] = _nothing
    ended: Callable[[Unit, Verdict], object] = _nothing


@frozen(kw_only=True)
class Outcome:
    """What came of a bake: verdicts by the ids of units, which of them were found, and what is left."""

    verdicts: Mapping[str, Verdict]
    found: frozenset[str] = frozenset()
    left: Sequence[Unit] = field(default_factory=tuple)

    @property
    def failed(self) -> list[Verdict]:
        """The verdicts on units that failed."""
        return [verdict for verdict in self.verdicts.values() if not verdict.is_done]


def run_units(
    units: Sequence[Unit], engine: Engine, repository: str, session: Session, store: Store, how: How
) -> Outcome:
    """Have all units done that are not, in waves.

    Args:
        units: of the bake.
        engine: runs them.
        repository: takes what waves are.
        session: connections to registries.
        store: where documents are put together.
        how: how.

    Raises:
        ImagesmithError: the registry or the engine is away for too long; a unit that failed is no error here.
    """
    return _Client(units, engine, repository, session, store, how).run()


def verdicts_on(units: Sequence[Unit], session: Session, how: How) -> dict[str, Verdict]:
    """The verdicts on units that are done, by their ids.

    Raises:
        ImagesmithError: the registry is away for too long.
    """
    found = _asked(units, session, how)
    return {str(u.id): v for u, v in zip(units, found, strict=True) if v is not None and v.is_done}


def _asked(units: Sequence[Unit], session: Session, how: How) -> list[Verdict | None]:
    """The verdicts on units, asked for together."""
    from concurrent.futures import ThreadPoolExecutor

    def ask(unit: Unit) -> Verdict | None:
        return endure(lambda: read_verdict(unit, session), for_s=how.endured_s)

    if len(units) < 2:
        return [ask(unit) for unit in units]
    with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="verdicts") as pool:
        return list(pool.map(ask, units))


class _Client:
    def __init__(
        self,
        units: Sequence[Unit],
        engine: Engine,
        repository: str,
        session: Session,
        store: Store,
        how: How,
    ) -> None:
        self._units = list({str(unit.id): unit for unit in units}.values())
        self._engine, self._repository = engine, repository
        self._session, self._store, self._how = session, store, how
        self._verdicts: dict[str, Verdict] = {}
        #: Tries that were told before a unit was submitted.
        self._old: dict[str, str] = {}
        self._lost: dict[str, int] = {}

    def run(self) -> Outcome:
        how = self._how
        for unit, verdict in zip(self._units, _asked(self._units, self._session, how), strict=True):
            if verdict is not None and verdict.is_done and not how.again:
                self._verdicts[str(unit.id)] = verdict
                how.ended(unit, verdict)
            elif verdict is not None:
                self._old[str(unit.id)] = verdict.number
        found = frozenset(self._verdicts)
        if found:
            how.tell(f"{len(found)} of {len(self._units)} units are done already")
        while wave := self._next():
            if not self._do(wave):
                break
        left = [unit for unit in self._units if str(unit.id) not in self._verdicts]
        return Outcome(verdicts=self._verdicts, found=found, left=left)

    def _next(self) -> list[Unit]:
        """The next wave: units whose needs are done, that no failure holds up."""
        failed = {key for key, verdict in self._verdicts.items() if not verdict.is_done}
        stuck = {str(unit.id) for unit in held_up(self._units, failed)} | failed
        waves = waves_of(
            [unit for unit in self._units if str(unit.id) not in stuck], set(self._verdicts) - failed
        )
        return waves[0] if waves else []

    def _do(self, wave: Sequence[Unit]) -> bool:
        """Run a wave; False where that ends the bake."""
        how = self._how
        place = endure(
            lambda: publish(wave, self._repository, self._session, self._store), for_s=how.endured_s,
            tell=how.tell,
        )  # fmt: skip
        run = endure(lambda: self._engine.submit(wave, place), for_s=how.endured_s, tell=how.tell)
        ended: set[int] = set()
        try:
            while True:
                states = self._polled(run)
                new = [n for n in range(len(wave)) if states.get(n) == ENDED and n not in ended]
                ended.update(new)
                self._show(run, wave)
                if not self._judge([wave[n] for n in new]):
                    run.cancel()
                    return False
                if len(ended) == len(wave):
                    return True
                time.sleep(how.poll_s)
        except BaseException:
            run.cancel()
            raise

    def _polled(self, run: Run) -> Mapping[int, str]:
        """What the engine says, where it cannot be asked for a while, too."""
        ends = time.monotonic() + self._how.endured_s
        while True:
            try:
                return run.poll()
            except UsageError:  # what was asked can never be
                raise
            except ImagesmithError as e:
                if time.monotonic() > ends:
                    raise
                self._how.tell(f"{self._engine.name}: {e.message}")
            time.sleep(max(self._how.poll_s, 0.1))

    def _show(self, run: Run, wave: Sequence[Unit]) -> None:
        for piece in run.output():
            if 0 <= piece.index < len(wave):
                self._how.output(wave[piece.index], piece.data)

    def _judge(self, units: Sequence[Unit]) -> bool:
        """Take the verdicts on units that ended; False where one failed, and that ends the bake."""
        good = True
        for unit, verdict in zip(units, _asked(units, self._session, self._how), strict=True):
            key = str(unit.id)
            if verdict is None or verdict.number == self._old.get(key):
                self._lost[key] = self._lost.get(key, 0) + 1
                if self._lost[key] < _TRIES:
                    self._how.tell(f"{unit.name}: {_LOST}; it is begun again")
                    continue  # it is in the next wave
                verdict = Verdict(unit=key, name=unit.name, status=1, error=f"{_LOST}, {_TRIES} times")
            self._verdicts[key] = verdict
            self._how.ended(unit, verdict)
            self._how.tell(f"{unit.name}: done" if verdict.is_done else verdict.told)
            good = good and (verdict.is_done or self._how.keep_going)
        return good
