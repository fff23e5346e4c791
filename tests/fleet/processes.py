"""An engine for tests: units are processes of this machine, each with a store of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagesmith.fleet.engine import ENDED, RUNNING, WAITING, Piece
from imagesmith.fleet.units import Unit
from tests.support import IMAGESMITH, PROJECT

__all__ = ["Processes"]


class Processes:
    """Runs waves, so many processes at a time."""

    name = "processes"

    def __init__(self, folder: Path, most: int = 2) -> None:
        self.folder, self.most = folder, most
        #: The names of all units that were begun, in order, and the waves that they were in.
        self.begun: list[str] = []
        self.waves: list[list[str]] = []
        #: How many processes are killed as they begin, and come to nothing.
        self.lose = 0
        folder.mkdir(exist_ok=True)

    def submit(self, units: Sequence[Unit], place: str) -> _Wave:
        self.waves.append([unit.name for unit in units])
        return _Wave(self, units, place)


class _Wave:
    def __init__(self, engine: Processes, units: Sequence[Unit], place: str) -> None:
        self._engine, self._units, self._place = engine, units, place
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._ended: set[int] = set()
        self._told: dict[int, int] = {}

    def poll(self) -> Mapping[int, str]:
        for index, process in list(self._running.items()):
            if process.poll() is not None:
                del self._running[index]
                self._ended.add(index)
        for index in range(len(self._units)):
            if len(self._running) < self._engine.most and index not in self._running | self._told:
                self._begin(index)
        return {
            n: ENDED if n in self._ended else RUNNING if n in self._running else WAITING
            for n in range(len(self._units))
        }

    def _begin(self, index: int) -> None:
        self._told[index] = 0
        root = self._engine.folder / f"store-{len(self._engine.begun)}"
        self._engine.begun.append(self._units[index].name)
        words = [*IMAGESMITH, "work", self._place, "--index", str(index), "--insecure", "--always-zero"]
        with self._log(index).open("ab") as log:
            self._running[index] = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=PROJECT,
                env={**os.environ, "IMAGESMITH_ROOT": str(root)},
            )  # fmt: skip
        if self._engine.lose:
            self._engine.lose -= 1
            self._running[index].kill()

    def _log(self, index: int) -> Path:
        return self._engine.folder / f"{self._units[index].id.hex}.log"

    def output(self) -> Sequence[Piece]:
        out = []
        for index, told in self._told.items():
            data = self._log(index).read_bytes()[told:]
            self._told[index] += len(data)
            out += [Piece(index, data)] if data else []
        return out

    def cancel(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
