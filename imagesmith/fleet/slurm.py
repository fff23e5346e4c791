"""Slurm: a wave is an array of batch jobs, and each task of it one unit.

The client's programs are all that is used, and no accounting database: `sbatch` starts, `squeue` tells what
is still known of a task, `scancel` ends. A task that squeue no longer tells of has ended; what came of it is
the registry's to say. A lost node's tasks are started again by Slurm itself (`--requeue`).

Before an array is submitted its units are written down beside its logs, under the name of the array. A later
client finds there which units still run for one that died, and waits for those instead of starting them anew.

Trust: what Slurm says is data: lines that make no sense are passed over. The notes are files of the user's
own, read within limits all the same.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from imagesmith.errors import ImagesmithError, InvalidDocument, UsageError
from imagesmith.fleet.engine import ENDED, RUNNING, WAITING, Piece
from imagesmith.fleet.units import Unit
from imagesmith.oci.codec import dumps, parse_object
from imagesmith.oci.names import Platform
from imagesmith.values import field, frozen, record

T = TypeVar("T")
__all__ = ["ARRAY", "Slurm", "SlurmOptions", "SlurmRun"]

#: Tasks of an array: what Slurm allows where nothing is configured (MaxArraySize 1001, exclusive).
ARRAY = 1000
_PREFIX = "imagesmith-"
#: What a task's log is read in at a time, and how much a unit may say between two polls.
_PIECE, _PIECES = 1 << 16, 64
#: How long a cancelled bake waits for a Slurm that does not answer.
_CANCEL_S = 20.0
#: The longest note that is read: 1000 ids with room.
_NOTE = 1 << 20
#: States of tasks that have not begun; all that squeue tells besides these runs, or is being ended.
_WAITS = frozenset(("PENDING", "REQUEUED", "REQUEUE_FED", "CONFIGURING", "RESV_DEL_HOLD"))
#: States of tasks that nothing will happen to any more; squeue tells of them for some minutes.
_OVER = frozenset(("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
                   "PREEMPTED", "REVOKED", "TIMEOUT"))  # fmt: skip
#: What Slurm's programs say while its controller is away.
_AWAY = re.compile(
    r"contact slurm controller|timed out|connection|does not answer|temporarily", re.IGNORECASE
)
#: Reasons for which a task waits forever, unless an operator changes the cluster.
_NEVER = frozenset(("AccountNotAllowed", "BadConstraints", "PartitionNodeLimit", "PartitionTimeLimit",
                    "QOSNotAllowed"))  # fmt: skip
#: Options of sbatch that would make an array another's: the engine's own.
_OWN = ("--array", "--wrap", "--wait", "--output", "--error", "--open-mode", "--job-name", "--test-only",
        "--parsable", "--requeue", "--no-requeue", "--dependency", "--help", "--usage",
        "--version")  # fmt: skip
_OWN_SHORT = ("-a", "-W", "-o", "-e", "-J", "-d", "-h", "-V")


@frozen(kw_only=True)
class SlurmOptions:
    """How a bake uses a cluster.

    logs         a folder that the nodes see as well: what units write, and notes of what was submitted
    parallelism  how many tasks of an array run at a time; 0 for all that there is room for
    arguments    more words for sbatch, such as --partition=build; each of them an option with its value
    constraints  features that nodes of an architecture have (sbatch --constraint), by architecture
    root         the folder of the store on the nodes (IMAGESMITH_ROOT), best on a disk of their own
    patience_s   for how long Slurm may not answer before a wave is given up
    """

    logs: Path = field(default_factory=lambda: Path("imagesmith-logs"))
    parallelism: int = 0
    arguments: tuple[str, ...] = ()
    constraints: Mapping[str, str] = field(default_factory=dict)
    root: str = ""
    patience_s: float = 300.0


@record
class _Task:
    """A unit's task: its array by name and number, and how much of its log was read."""

    array: str
    number: int
    read: int = 0


@frozen
class _Seen:
    """A task as squeue tells it."""

    job: str
    state: str
    reason: str


class Slurm:
    """An Engine that submits arrays."""

    name = "slurm"

    def __init__(self, options: SlurmOptions, command: Sequence[str] = ("imagesmith", "work")) -> None:
        """Args:
            options: of this bake.
            command: what the nodes start, to which the place and `--index N` are added.

        Raises:
            UsageError: an option cannot be.
        """  # fmt: skip
        _check(options)
        self._options, self._command = options, tuple(command)
        self._logs = options.logs.absolute()

    def submit(self, units: Sequence[Unit], place: str) -> SlurmRun:
        """Start a wave, but for those of its units that still run for a client that is no more."""
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise UsageError(f"{self._logs}: no folder for logs can be made: {fault.strerror}") from fault
        running = self._running()
        tasks: dict[int, _Task] = {}
        missing: dict[str, list[int]] = {}
        for index, unit in enumerate(units):
            if (found := running.get(str(unit.id))) is not None:
                tasks[index] = found
            else:
                architecture = Platform.parse(unit.platform).architecture
                missing.setdefault(self._options.constraints.get(architecture, ""), []).append(index)
        run = SlurmRun(self._logs, tasks, self._options.patience_s)
        try:
            for constraint, indexes in missing.items():
                for start in range(0, len(indexes), ARRAY):
                    part = indexes[start : start + ARRAY]
                    array = self._array([str(units[index].id) for index in part], part, place, constraint)
                    tasks.update({index: _Task(array, number) for number, index in enumerate(part)})
        except ImagesmithError:
            run.cancel()
            raise
        return run

    def _array(self, ids: list[str], indexes: list[int], place: str, constraint: str) -> str:
        """Submit an array; returns its name."""
        name = _PREFIX + secrets.token_hex(8)
        note = self._logs / f"{name}.json"
        note.write_bytes(dumps({"units": ids}))
        words, script = self._words(name, len(indexes), constraint), self._script(indexes, place)
        tried = False

        def submit() -> None:
            nonlocal tried
            if not tried or not _queue((name,)):  # it may have come through
                tried = True
                _asked(words, script)

        try:
            _patiently(submit, self._options.patience_s)
        except ImagesmithError:
            note.unlink(missing_ok=True)
            raise
        return name

    def _words(self, name: str, count: int, constraint: str) -> list[str]:
        options = self._options
        most = f"%{options.parallelism}" if options.parallelism else ""
        log = str(self._logs).replace("%", "%%") + f"/{name}_%a.log"
        words = ["sbatch", "--parsable", f"--array=0-{count - 1}{most}", "--requeue", f"--job-name={name}"]
        words += [f"--output={log}", "--open-mode=append"]
        if constraint:
            words.append(f"--constraint={constraint}")
        return [*words, *options.arguments]

    def _script(self, indexes: Iterable[int], place: str) -> bytes:
        """What a task runs: its number picks the unit. It becomes the worker, which gets Slurm's signals."""
        lines = ["#!/bin/sh", f"set -- {' '.join(map(str, indexes))}", 'shift "$SLURM_ARRAY_TASK_ID"']
        if self._options.root:
            lines.append(f"export IMAGESMITH_ROOT={shlex.quote(self._options.root)}")
        lines.append(f'exec {shlex.join([*self._command, place])} --index "$1"')
        return "\n".join([*lines, ""]).encode()

    def _running(self) -> dict[str, _Task]:
        """The units that run or wait for this user, by id, of which this folder has notes."""
        found: dict[str, _Task] = {}
        notes: dict[str, tuple[str, ...]] = {}
        for array, number in _patiently(_queue, self._options.patience_s):
            if array not in notes:
                notes[array] = _note(self._logs / f"{array}.json")
            if number < len(notes[array]):
                found[notes[array][number]] = _Task(array, number)
        return found


class SlurmRun:
    """A wave as tasks of arrays."""

    def __init__(self, logs: Path, tasks: dict[int, _Task], patience_s: float) -> None:
        self._logs, self._tasks, self._patience_s = logs, tasks, patience_s
        self._states = dict.fromkeys(tasks, WAITING)
        self._heard = time.monotonic()

    def poll(self) -> Mapping[int, str]:
        """What each unit does. While Slurm does not answer, what was known last, until patience ends."""
        try:
            queue = _queue(self._arrays())
        except ImagesmithError:
            if time.monotonic() - self._heard > self._patience_s:
                raise
            return dict.fromkeys(self._tasks, WAITING) | self._states
        self._heard = time.monotonic()
        for index, task in self._tasks.items():
            seen = queue.get((task.array, task.number))
            if self._states.get(index) == ENDED:
                continue
            self._states[index] = self._state(seen)
        if all(state == ENDED for state in self._states.values()):
            for array in self._arrays():
                if not any(name == array for name, _ in queue):
                    (self._logs / f"{array}.json").unlink(missing_ok=True)
        return dict(self._states)

    def _arrays(self) -> set[str]:
        return {task.array for task in self._tasks.values()}

    def _state(self, seen: _Seen | None) -> str:
        if seen is None:
            return ENDED
        if seen.state not in _WAITS:
            return RUNNING
        if seen.reason in _NEVER:
            raise UsageError(
                f"slurm: job {seen.job} will never start: {seen.reason}",
                hint=f"see scontrol show job {seen.job}; arguments for sbatch may ask what no node has",
            )
        if "launch failed" in seen.reason.replace("_", " "):  # held by Slurm: nobody else would release it
            _asked(["scancel", seen.job])
            return ENDED
        return WAITING

    def output(self) -> Sequence[Piece]:
        """What units have written since this was asked last; beyond 4 MiB of one it comes the next time."""
        pieces = []
        for index, task in self._tasks.items():
            try:
                with open(self._logs / f"{task.array}_{task.number}.log", "rb") as log:
                    log.seek(task.read)
                    for _ in range(_PIECES):
                        if not (data := log.read(_PIECE)):
                            break
                        task.read += len(data)
                        pieces.append(Piece(index, data))
            except OSError:  # it has not begun, or the nodes' folder is not seen here yet
                continue
        return pieces

    def cancel(self) -> None:
        """End what still runs."""
        arrays = self._arrays()
        queue = _patiently(lambda: _queue(arrays), min(self._patience_s, _CANCEL_S))
        jobs = [s.job for task in self._tasks.values() if (s := queue.get((task.array, task.number)))]
        for start in range(0, len(jobs), ARRAY):
            _asked(["scancel", "--quiet", *jobs[start : start + ARRAY]])


def _queue(arrays: Collection[str] = ()) -> dict[tuple[str, int], _Seen]:
    """The tasks of this user's arrays, or of some of them, by the array's name and their number."""
    words = ["squeue", "--noheader", "--array", f"--user={os.getuid()}"]
    words.append("--format=%j|%F|%K|%T|%r")
    if arrays:
        words.append(f"--name={','.join(arrays)}")
    found = {}
    for line in _asked(words).splitlines():
        parts = line.strip().split("|", 4)
        if len(parts) == 5 and parts[0].startswith(_PREFIX) and parts[1].isdecimal() and parts[2].isdecimal():
            name, job, number, state, reason = parts
            if state not in _OVER:
                found[name, int(number)] = _Seen(f"{job}_{number}", state, reason)
    return found


def _asked(words: Sequence[str], script: bytes = b"") -> str:
    """What one of Slurm's programs prints.

    Raises:
        UsageError: it is not installed.
        ImagesmithError: it failed, or did not answer in two minutes.
    """
    try:
        done = subprocess.run(words, input=script, capture_output=True, timeout=120, check=False)
    except FileNotFoundError as fault:
        raise UsageError(
            f"{words[0]}: not found; --on slurm is for machines where Slurm's own programs are installed"
        ) from fault
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise ImagesmithError(f"{words[0]}: it does not answer: {type(fault).__name__}") from fault
    if done.returncode:
        said = done.stderr.decode(errors="replace").split("\n")
        reason = next((line.strip() for line in reversed(said) if line.strip()), "it says nothing")
        raise ImagesmithError(f"{words[0]}: status {done.returncode}: {reason[:300]}")
    return done.stdout.decode(errors="replace")


def _patiently(ask: Callable[[], T], patience_s: float) -> T:
    """Ask until Slurm's controller answers, or patience ends."""
    end = time.monotonic() + patience_s
    while True:
        try:
            return ask()
        except ImagesmithError as fault:
            if not _AWAY.search(str(fault)) or time.monotonic() > end:
                raise
        time.sleep(1)


def _note(path: Path) -> tuple[str, ...]:
    """The ids of an array's units, by task; empty where no note of it is here."""
    try:
        with open(path, "rb") as file:
            raw = file.read(_NOTE)
        return parse_object(raw, path.name).texts("units") or ()
    except (OSError, InvalidDocument):
        return ()


def _check(options: SlurmOptions) -> None:
    """Raise UsageError for what would not be the array that the engine waits for."""
    if any(char in str(options.logs.absolute()) for char in "\\\n\0"):
        raise UsageError(f"{str(options.logs)!r}: sbatch takes no folder of this name; give another for logs")
    if options.parallelism < 0:
        raise UsageError(f"parallelism {options.parallelism}: less than none cannot run at a time")
    for word in options.arguments:
        name = word.partition("=")[0]
        if not word.startswith("-") or word in ("-", "--"):
            raise UsageError(
                f"sbatch argument {word!r}: give an option and its value in one word, --NAME=VALUE"
            )
        long = name.startswith("--")
        if (long and any(own.startswith(name) for own in _OWN)) or (not long and word[:2] in _OWN_SHORT):
            raise UsageError(f"sbatch argument {word!r}: the engine sets this itself")
