"""Layers that a RUN will stand on: they come from the moment on at which it is known that it is executed.

Why: that is when a step below it must be executed, and then there is something to do meanwhile. What that
step itself asks of a layer waits for that layer alone, or is told by a table (store/tables.py).
Threads: `expect` may be called from any; it may begin one, which has readers.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from typing import Self

from imagesmith.errors import ImagesmithError
from imagesmith.solve.result import Result
from imagesmith.store.layers import Form, StoredLayer
from imagesmith.store.reading import read_all
from imagesmith.worker.workshop import Workshop

__all__ = ["Fetching"]

#: How long (seconds) those that still fetch may take to end after a failure.
_PATIENCE_S = 5.0


class Fetching:
    """What is fetched ahead in one solve; at the end of a `with` all of it is there."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []

    def expect(self, parent: Result, workshop: Workshop, runs: bool) -> Form:
        """Have the layers below a step as a RUN wants them: before it if it is one, else meanwhile.

        Returns the form in which the step's own layer is best kept.

        Raises:
            SandboxUnavailable: this machine has no way to run anything.
        """
        if runs:
            workshop.expect(parent.unread())
            parent.was_read()
            return ""
        form, layers = workshop.form(), parent.to_fetch()
        if layers:
            thread = threading.Thread(target=_read, args=(layers, form), name="fetching", daemon=True)
            self._threads.append(thread)
            thread.start()
        return form

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Wait for what was begun; after a failure, when the solve's token is set, not for long."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._threads:
            with contextlib.suppress(RuntimeError):  # interrupted before it was started
                self._threads.pop().join(None if kind is None else max(0.0, deadline - time.monotonic()))


def _read(layers: Sequence[StoredLayer], form: Form) -> None:
    try:
        read_all(layers, form)
    except (ImagesmithError, OSError):
        return  # whoever needs the layer meets it again, and tells of it
