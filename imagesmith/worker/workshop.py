"""Where the RUN steps of one build are executed: its sandbox, snapshots and copies, made when first needed.

Threads: methods may be called from any; each part is made once, by the first who needs it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from imagesmith.events import EventSink, Warned
from imagesmith.interfaces import Sandbox, Snapshotter
from imagesmith.store.layers import Form, StoredLayer
from imagesmith.store.reading import read_all
from imagesmith.store.store import Store
from imagesmith.worker.sandbox.world import World

if TYPE_CHECKING:
    from imagesmith.worker.scratch import Copies

__all__ = ["Ready", "Workshop"]

#: The part of a warning before what a weaker way to run steps does not hold.
_WEAK = {
    "chroot": "RUN is kept apart by a chroot only",
    "native": "RUN has one user id only",
    "oci": "RUN has one id only",
}


class Ready(NamedTuple):
    """What a step is executed with."""

    sandbox: Sandbox
    snapshots: Snapshotter
    copies: Copies


class Workshop:
    """Executes the RUN steps of one build."""

    def __init__(self, world: World, store: Store, events: EventSink) -> None:
        self.world, self._store, self._events = world, store, events
        self._lock = threading.Lock()
        self._copies: Copies | None = None
        self._sandbox: Sandbox | None = None
        self._snapshots: Snapshotter | None = None

    def expect(self, layers: Sequence[StoredLayer]) -> Form:
        """Read layers that a step will stand on before anybody looks into them, so that once is enough.

        Returns the form in which the layers that are still to come are best kept.

        Raises:
            SandboxUnavailable: this machine has no way to run anything.
        """
        form = self.ready().snapshots.form()
        read_all(layers, form)
        return form

    def ready(self) -> Ready:
        """What a step is executed with.

        Raises:
            SandboxUnavailable: this machine has no way to run anything.
        """
        with self._lock:
            if self._sandbox is None:
                self._sandbox = self.world.sandbox()
                if self.world.weaker:
                    what = _WEAK[self.world.isolation]
                    if self.world.place.ids == "subid":
                        what = "RUN is not kept apart in all"
                    self._events(Warned(rule="", text=f"{what}: {', '.join(self.world.weaker)}"))
            if self._snapshots is None:
                from imagesmith.worker.snapshot.choose import make_snapshotter

                self._snapshots = make_snapshotter(self.world.place, self._store)
            if self._copies is None:
                from imagesmith.worker.scratch import Copies

                self._copies = Copies(self._store, self.world.place)
            return Ready(self._sandbox, self._snapshots, self._copies)

    def close(self) -> None:
        """End the helper and delete what snapshots left."""
        with self._lock:
            for part in (self._sandbox, self._snapshots, self._copies):
                if part is not None:
                    part.close()
            self._sandbox = self._snapshots = self._copies = None
