"""What runs units: a seam. An engine knows machines, and nothing of images.

Each engine starts `imagesmith work PLACE --index N` somewhere, where PLACE is the artifact that holds a
wave's units, and N is one of them; what came of it is asked of the registry, not of the engine (verdicts.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from imagesmith.fleet.units import Unit
from imagesmith.values import frozen

__all__ = ["ENDED", "RUNNING", "WAITING", "Engine", "Piece", "Run"]

WAITING, RUNNING, ENDED = "waiting", "running", "ended"


@frozen
class Piece:
    """Output of a unit, by its index in the wave; cut anywhere."""

    index: int
    data: bytes


class Run(Protocol):
    """A wave that was submitted."""

    def poll(self) -> Mapping[int, str]:
        """What each unit does, by its index: WAITING, RUNNING or ENDED, however it ended.

        Raises:
            ImagesmithError: the engine cannot be asked, or has lost the wave.
        """

    def output(self) -> Sequence[Piece]:
        """What units have written since this was asked last."""

    def cancel(self) -> None:
        """End what still runs."""


class Engine(Protocol):
    """Runs waves."""

    name: str

    def submit(self, units: Sequence[Unit], place: str) -> Run:
        """Start a wave.

        Args:
            units: of the wave, whose order is that of their indexes.
            place: a reference with a digest to the artifact that holds them.

        Raises:
            ImagesmithError: nothing was started.
        """
