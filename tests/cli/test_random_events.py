"""Random events on windows of random sizes and in logs: what holds of every picture and of every line."""

from __future__ import annotations

import io
import random
import re
import time
from collections.abc import Callable, Sequence

import pytest

from imagesmith.cli.progress import Front
from imagesmith.events import (
    Log,
    Message,
    Progress,
    StepCached,
    StepDone,
    StepFailedEvent,
    StepStarted,
    Warned,
)
from tests.cli.test_plain import Clocked, orders
from tests.cli.test_terminal import Quiet
from tests.windows import OURS, Window

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
#: What steps may say: wide, joined and invisible characters, orders to terminals and to runners of CIs.
PIECES = (
    "漢字", "\t", "\r", "\n", "\b", "a" * 90, "\x1b[2J", "\x1b[31m", "\x1b[0m", "e\u0301", "👩‍👩‍👧", "🇩🇪",
    "\u202e",
    "\x9b", "\x1b]0;x\x07", "line\n", "50%\r", "\u200b", "\ufe0f", "\U0001faf8", "\u1100\u1161", "::error::",
    "##[add-mask]", "\u2028::x::", "\x85::x::", "\x0b::x::", "##", "[x]", "\x1c::e::",
)  # fmt: skip


class Player:
    """Tells a front random events, and knows which line belongs to which step."""

    def __init__(self, seed: int, front: Front) -> None:
        self.random, self.front = random.Random(seed), front
        self.running: list[int] = []
        self.steps, self.lines = 0, dict[int, int]()

    def text(self) -> str:
        """A few pieces."""
        return "".join(self.random.choices(PIECES, k=self.random.randrange(6)))

    def play(self, count: int, after_each: Callable[[], object]) -> None:
        """So many events."""
        acts = (self.start, self.end, self.cached, self.log, self.log, self.log, self.part, self.other)
        for _ in range(count):
            self.random.choice(acts)()
            after_each()

    def start(self) -> None:
        """A step begins."""
        self.steps += 1
        self.running.append(self.steps)
        self.front(StepStarted(step=self.steps, name=f"<{self.steps}> {self.text()}"))

    def end(self) -> None:
        """One that runs ends, in one of three ways."""
        if not self.running:
            return
        step = self.running.pop(self.random.randrange(len(self.running)))
        if self.random.random() < 0.7:
            self.front(StepDone(step=step, seconds=1))
        else:
            words, stopped = self.text(), self.random.random() < 0.5
            self.front(StepFailedEvent(step=step, name=f"<{step}> {words}", error=words, stopped=stopped))

    def cached(self) -> None:
        """A step is known."""
        self.steps += 1
        self.front(StepCached(step=self.steps, name=f"<{self.steps}> {self.text()}"))

    def log(self) -> None:
        """One that runs prints a line with a number, and something before and behind it."""
        if self.running:
            step, number = self.random.choice(self.running), len(self.lines)
            self.lines[number] = step
            text = f"{self.text()}\n@{number}@ {self.text()}"
            data = f"{text.translate({8: None, 13: None})}\n{self.text()}\r"
            self.front(Log(step=step, stream=1, data=data.encode()))

    def part(self) -> None:
        """A part of one that runs begins, goes on or ends."""
        if self.running:
            id_ = self.random.choice(("sha256:a", "sha256:b mounted", self.text()))
            at, total, done = (
                self.random.randrange(100),
                self.random.choice((0, 100)),
                self.random.random() < 0.3,
            )
            step = self.random.choice(self.running)
            self.front(Progress(step=step, id=id_, current=at, total=total, done=done))

    def other(self) -> None:
        """Something is said of a step or of none."""
        self.front(Message(step=self.random.randrange(self.steps + 1), text=self.text()))
        self.front(Warned(rule=self.text(), text=self.text()))


@pytest.mark.parametrize("seed", range(8))
def test_no_picture_is_higher_than_its_window_or_leaves_anything(seed: int) -> None:
    window = Window(*sizes(random.Random(seed)))
    front = Quiet(window, seed % 2 == 0)
    player = Player(seed, front)

    def look() -> None:
        if player.random.random() < 0.03:
            window.resize(*sizes(player.random))
        front.tick()
        wide, high = window.screen.columns, window.screen.lines
        assert not [line for line in window.scrolled if "[+]" in line]
        if player.running and high > 1 and wide > 12:
            assert window.screen.display[window.screen.cursor.y].startswith("[+] ")
            assert sum("[+] " in line for line in window.lines) == 1
            assert len(front.picture(time.time(), wide - 1, high - 1)) < high

    player.play(120, look)
    front.close()
    assert not CONTROL.search(OURS.sub("", window.getvalue()))
    assert not window.screen.cursor.hidden
    window.close()


def sizes(chosen: random.Random) -> tuple[int, int]:
    """Of a window."""
    return chosen.randrange(1, 100), chosen.randrange(1, 30)


@pytest.mark.parametrize("where", ["", "FORCE_COLOR", "GITHUB_ACTIONS", "GITLAB_CI"])
@pytest.mark.parametrize("seed", range(8))
def test_every_line_is_told_once_under_its_step(
    seed: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "FORCE_COLOR", "NO_COLOR", "TF_BUILD"):
        monkeypatch.delenv(name, raising=False)
    if where:
        monkeypatch.setenv(where, "1")
    front = Clocked()
    player = Player(seed, front)
    player.play(250, lambda: front.wait(player.random.random()))
    front.close()
    assert isinstance(front.out, io.StringIO)
    lines = without_sections(front.out.getvalue().split("\n"))
    assert not [line for line in lines if CONTROL.search(re.sub(r"\x1b\[[0-9;]*m", "", line))]
    assert where == "FORCE_COLOR" or not where or orders(lines) == []
    assert where or "\x1b" not in "".join(lines)
    told = {}
    at, names = "", {}
    for line in lines:
        found = re.match(r"#(\d+) (?:<(\d+)> )?", line)
        if found and found[2]:
            at, names[found[1]] = found[1], int(found[2])
        for number in map(int, re.findall(r"@(\d+)@", line)):
            assert found
            assert found[1] == at
            assert number not in told
            told[number] = names[at]
    assert told == player.lines


def without_sections(lines: Sequence[str]) -> list[str]:
    """The lines without the marks of sections, of which one at most is open."""
    out, is_open = [], False
    for line in lines:
        mark = re.match(
            r"(::group::|\x1b\[0Ksection_start:.*\r\x1b\[0K)|(::endgroup::|\x1b\[0Ksection_end:)", line
        )
        if mark:
            assert is_open == bool(mark[2])
            is_open = not is_open
        if mark and mark[1]:
            out.append(line[mark.end() :].replace("%25", "%"))
        elif not mark:
            out.append(line)
    assert not is_open
    return out
