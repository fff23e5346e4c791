"""Waves: units whose needs are done run together, then those that were waiting for them.

Why waves and no queue: an Indexed Job, an array and a matrix are started whole; a queue needs leases, which
registries cannot give, and was measured to be no faster.
Trust: needs may be others' words: one that nobody meets is refused. Circles there are none: an id is the
digest of its needs, among other things.
"""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Sequence

from imagesmith.errors import InvalidDocument
from imagesmith.fleet.units import Unit

__all__ = ["held_up", "waves_of"]


def waves_of(units: Sequence[Unit], done: Collection[str] = ()) -> list[list[Unit]]:
    """The units in waves, each as early as its needs allow; in a wave they keep their order, each once.

    Args:
        units: all units of a bake.
        done: ids of units that are done already: they are in no wave, and nobody waits for them.

    Raises:
        InvalidDocument: a unit needs one that is not there.
    """
    known = {str(unit.id): unit for unit in units}
    done = set(done)
    todo = {key: unit for key, unit in known.items() if key not in done}
    for unit in todo.values():
        for need in unit.needs:
            if need not in known and need not in done:
                raise InvalidDocument(
                    f"unit {unit.name}: it needs {need[:19]}, which is no unit of this bake"
                )
    order = {key: n for n, key in enumerate(todo)}
    sorter = graphlib.TopologicalSorter({key: set(todo[key].needs) - done for key in todo})
    sorter.prepare()
    waves = []
    while sorter.is_active():
        ready = sorter.get_ready()
        waves.append([todo[key] for key in sorted(ready, key=order.__getitem__)])
        sorter.done(*ready)
    return waves


def held_up(units: Sequence[Unit], failed: Collection[str]) -> list[Unit]:
    """The units that cannot be done since one that they need, or that its needs need, has failed."""
    needs = {str(unit.id): unit.needs for unit in units}
    users: dict[str, list[str]] = {}
    for key, needed in needs.items():
        for need in needed:
            users.setdefault(need, []).append(key)
    stuck: set[str] = set()
    pending = list(failed)
    while pending:
        for user in users.get(pending.pop(), ()):
            if user not in stuck:
                stuck.add(user)
                pending.append(user)
    return [unit for unit in units if str(unit.id) in stuck]
