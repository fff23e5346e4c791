"""Where the RUN steps of one build are executed: its sandbox, snapshots and copies, made when first needed.

Threads: methods may be called from any; each part is made once, by the first who needs it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from imagesmith.events import EventSink, Warned
from imagesmith.interfaces import Sandbox, Snapshotter
from imagesmith.oci.names import Platform, is_native
from imagesmith.request import Emulator
from imagesmith.store.layers import Form, StoredLayer
from imagesmith.store.reading import read_all
from imagesmith.store.store import Store
from imagesmith.worker.sandbox.world import World

if TYPE_CHECKING:
    from imagesmith.worker.emulator import Emulators
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

    def __init__(
        self, world: World, store: Store, events: EventSink, emulators: Sequence[Emulator] = ()
    ) -> None:
        self.world, self._store, self._events, self._given = world, store, events, emulators
        self._lock = threading.Lock()
        self._copies: Copies | None = None
        self._sandbox: Sandbox | None = None
        self._snapshots: Snapshotter | None = None
        self._emulators: Emulators | None = None

    def expect(self, layers: Sequence[StoredLayer]) -> Form:
        """Read layers that a step will stand on before anybody looks into them, so that once is enough.

        Returns the form in which the layers that are still to come are best kept.

        Raises:
            SandboxUnavailable: this machine has no way to run anything.
        """
        form = self.form()
        read_all(layers, form)
        return form

    def form(self) -> Form:
        """The form in which layers that a step will stand on are best kept.

        Raises:
            SandboxUnavailable: this machine has no way to run anything.
        """
        return self.ready().snapshots.form()

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

    def require(self, platform: Platform) -> None:
        """Raise unless RUN of a platform may work here.

        Raises:
            SandboxUnavailable: nothing runs its programs; one line says what to install.
        """
        if (emulators := self._for(platform)) is not None:
            emulators.require(platform)

    def emulators(self, platform: Platform | None) -> Sequence[tuple[int, int, int, int]]:
        """What a step of a platform is given for programs that the kernel cannot start; see RunSpec."""
        emulators = self._for(platform)
        return () if platform is None or emulators is None else emulators.rows(platform)

    def _for(self, platform: Platform | None) -> Emulators | None:
        """The emulators; None where a platform needs none."""
        if is_native(platform):
            return None
        with self._lock:
            if self._emulators is None:
                from imagesmith.worker.emulator import Emulators  # few builds need one

                self._emulators = Emulators(self._given, self.world, self._store.root)
            return self._emulators

    def close(self) -> None:
        """End the helper and delete what snapshots left."""
        with self._lock:
            for part in (self._sandbox, self._snapshots, self._copies):
                if part is not None:
                    part.close()
            self._sandbox = self._snapshots = self._copies = None
