"""Shells in a build: where a step failed, and before one. Says where one is, and opens it on the terminal.

Why standard error: the build's result may go to standard output, and what is said of a build goes there.
Why programs are tried: whether a file is there says little of whether it can be executed; the kernel knows.
Trust: names of steps, paths and what a step said are others': they are shown as one line. The shell is the
image's, in the sandbox of the step; what it writes reaches the terminal as it is, as by `imagesmith run -t`.
Threads: the main one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence

from imagesmith.cli.lines import one_line
from imagesmith.cli.progress import Front
from imagesmith.errors import Cancelled, SandboxError
from imagesmith.interfaces import Mount
from imagesmith.request import BuildRequest
from imagesmith.solve.halting import STEP_VARIABLE, Halt, how_it_ended

__all__ = ["STOPS", "Shells"]

#: The status with which a shell before a step ends the build; with any other it goes on.
STOPS = 99
#: Where images that name no shell have one, the most comfortable first.
_USUAL = (("/bin/bash",), ("/usr/bin/bash",), ("/bin/sh",), ("/bin/busybox", "sh"), ("/busybox/sh",))
#: Where this machine's is put for an image that has none: a static one works anywhere; its name begins so.
_OURS = "/busybox-outside"
#: So many mounts are told, and so much (characters) of a step's words.
_MOST_MOUNTS, _MOST_WORDS = 12, 600
_KINDS = {"bind": "", "tmpfs": " (tmpfs)", "file": " (secret)"}


class Shells:
    """See solve/halting.Attendant."""

    def __init__(self, request: BuildRequest, front: Front) -> None:
        """Take the build, and the front that has the screen meanwhile."""
        self._asked, self._front = request.on_failure, front

    def failed(self, halt: Halt, /) -> None:
        """Show how the step ended, and open a shell there."""
        error = halt.error
        assert error is not None
        self._front.close()
        self._front.failure()
        self._front.failed = None  # it is shown once
        lines = [
            f"{error.file or 'Dockerfile'}:{error.first}: {_words(halt)}",
            f"this step failed: {how_it_ended(error)}; here is what it left, in its sandbox",
            *_about(halt),
            f'run it again: eval "${STEP_VARIABLE}"',
            "`exit` ends the shell and the build; what is changed here is not kept",
        ]
        self._open(halt, lines, "--on-failure keep=NAME keeps the files")

    def before(self, halt: Halt, /) -> None:
        """Open a shell; see solve/halting.Attendant."""
        lines = [
            "------",
            f"stopped {halt.where}" + (f": {_words(halt)}" if halt.has_step else ""),
            *_about(halt),
            *([f'run the step here: eval "${STEP_VARIABLE}"'] if halt.has_step else []),
            f"`exit` goes on, `exit {STOPS}` ends the build; what is changed here is not kept",
        ]
        self._front.pause()
        try:
            status = self._open(halt, lines, "the build goes on")
        finally:
            self._front.resume()
        if status == STOPS:
            raise Cancelled("stopped by the shell")

    def _open(self, halt: Halt, lines: Sequence[str], otherwise: str) -> int:
        """Say where it is, and run a shell to its end; returns its status."""
        from imagesmith.worker.sandbox.native import NotStarted

        self._front.say(*map(one_line, lines), "------")
        asked = self._asked.shell if self._asked is not None else ""
        named, reason = asked or halt.shell, ""
        for argv, beside in [((named,), ())] if named else _candidates():
            try:
                return halt.room.enter(argv, _write, tells=halt.has_step, beside=beside)
            except NotStarted as e:
                reason = e.message
            except SandboxError as e:
                self._front.say(f"no shell can be opened: {one_line(e.message)}; {otherwise}")
                return 0
        what = f"no shell {named} ({reason})" if named else "no shell, and this machine no static busybox"
        self._front.say(f"the image has {one_line(what)}; {otherwise}")
        return 0


def _candidates() -> Iterator[tuple[tuple[str, ...], tuple[Mount, ...]]]:
    """Shells of images, and then this machine's busybox, laid into the sandbox while it runs."""
    yield from ((argv, ()) for argv in _USUAL)
    if (found := shutil.which("busybox")) is not None:
        yield (_OURS, "sh"), (Mount(kind="bind", source=found, target=_OURS, readonly=True),)


def _words(halt: Halt) -> str:
    """The step in words."""
    name = halt.room.name
    return name if len(name) <= _MOST_WORDS else f"{name[:_MOST_WORDS]}…"


def _about(halt: Halt) -> list[str]:
    """Who and where the shell is."""
    spec = halt.room.spec
    mounts = [f"{m.target}{_KINDS[m.kind]}" for m in spec.mounts]
    told = mounts[:_MOST_MOUNTS] + [f"and {len(mounts) - _MOST_MOUNTS} more"] * (len(mounts) > _MOST_MOUNTS)
    parts = [f"user {spec.uid}:{spec.gid}", f"folder {spec.cwd}"]
    parts += ["no network"] if spec.network == "none" else []
    return [", ".join(parts), *([f"mounts: {', '.join(told)}"] if told else [])]


def _write(_stream: int, data: bytes) -> None:
    left = memoryview(data)
    with contextlib.suppress(OSError):  # a terminal that is gone: the shell hears of it otherwise
        while left:
            left = left[os.write(2, left) :]
