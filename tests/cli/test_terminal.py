"""The live picture, seen on a terminal: what stands in the window, and what has scrolled away."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from imagesmith.cli.cells import columns, cut
from imagesmith.cli.terminal import Terminal
from imagesmith.events import (
    Log,
    Message,
    Planned,
    Progress,
    StepCached,
    StepDone,
    StepFailedEvent,
    StepStarted,
    Warned,
)
from tests.windows import OURS, Window


class Quiet(Terminal):
    """The picture without its clock: it is drawn when a test says so."""

    def keep_time(self, every_s: float) -> None:
        """Not here."""

    def log_line(self, step: int, text: str) -> None:
        """A step prints."""
        self(Log(step=step, stream=1, data=text.encode()))


@pytest.fixture
def window() -> Iterator[Window]:
    """A window of the usual size."""
    made = Window(80, 24)
    yield made
    made.close()


@pytest.fixture
def front(window: Window) -> Quiet:
    """The picture in that window."""
    return Quiet(window, True)


def start(front: Quiet, count: int, first: int = 1) -> None:
    """Begin some steps."""
    for n in range(first, first + count):
        front(StepStarted(step=n, name=f"[stage{n} 1/1] RUN work {n}"))


def test_parallel_steps_with_much_output_leave_nothing_above_the_picture(
    window: Window, front: Quiet
) -> None:
    start(front, 8)
    for round_ in range(100):
        for n in range(1, 9):
            front.log_line(n, f"line {round_} of {n}\nand more\nand more\nand more\n")
        front.tick()
        assert window.scrolled == []
        assert window.shown[0].startswith("[+] Building")
        assert sum("RUN work" in line for line in window.shown) == 8
    for n in range(1, 9):
        front(StepDone(step=n, seconds=1.25))
        front.tick()
    front.close()
    names = [line.split("  ")[0] for line in window.lines]
    assert names[:-1] == [f" => [stage{n} 1/1] RUN work {n}" for n in range(1, 9)]
    assert re.fullmatch(r"\[\+\] Building \d+\.\ds \(8/8\) FINISHED", window.lines[-1])


def test_every_step_gets_its_share_of_the_window(window: Window, front: Quiet) -> None:
    start(front, 8)
    for n in range(1, 9):
        front.log_line(n, "".join(f"{k} of {n}\n" for k in range(9)))
    front.tick()
    assert len(window.shown) == 23
    logs = [line for line in window.shown if line.startswith(" => => ")]
    assert len(logs) == 23 - 1 - 8
    assert all(f" => => 8 of {n}" in logs for n in range(1, 9))


def test_more_steps_than_rows_are_counted(window: Window, front: Quiet) -> None:
    start(front, 60)
    front.tick()
    assert len(window.shown) == 23
    assert window.shown[-1] == " => ... and 39 more"
    assert window.scrolled == []


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize("width", [1, 2, 10])
def test_tiny_windows_hold(rows: int, width: int) -> None:
    window = Window(width, rows)
    front = Quiet(window, False)
    start(front, 3)
    front.log_line(1, "a long line of output\n")
    front(Progress(step=2, id="sha256:abc", current=50, total=100))
    for _ in range(5):
        front.tick()
    assert window.scrolled == []
    front.close()
    assert not window.screen.cursor.hidden
    window.close()


def test_a_window_that_changes_leaves_no_debris(window: Window, front: Quiet) -> None:
    front(StepCached(step=90, name="[1/2] RUN earlier"))
    start(front, 8)
    for n in range(1, 9):
        front.log_line(n, "x" * 300 + "\n")
    for size in ((80, 24), (40, 10), (200, 50), (30, 50), (120, 6), (80, 24)):
        window.resize(*size)
        front.tick()
        front.tick()
        assert sum("[+] Building" in line for line in window.lines) == 1, size
        assert [line for line in window.scrolled if "earlier" not in line] == [], size
        assert len(window.shown) <= size[1]
        assert all(len(line) < size[0] for line in window.shown if "earlier" not in line)
    front.close()
    assert sum("[+] Building" in line for line in window.lines) == 1
    assert sum("CANCELED" in line for line in window.lines) == 8


WIDE = "漢字かな交じり文" * 20
FLAGS, FAMILY, ACCENTS = "🇩🇪" * 50, "👩‍👩‍👧‍👦" * 30, "e\u0301\u0302" * 100


@pytest.mark.parametrize(
    "text", [WIDE, "a" + WIDE, FLAGS, FAMILY, ACCENTS, "\t" * 30, "a\tb\t" * 20, "\u202eab" * 50]
)
def test_no_line_wraps_whatever_is_in_it(window: Window, front: Quiet, text: str) -> None:
    front(StepStarted(step=1, name=f"[1/1] RUN {text}"))
    front.log_line(1, text + "\n")
    front.tick()
    assert len(window.shown) == 3
    assert window.shown[1].endswith("0.0s")
    assert all(wcswidth(line) <= 79 for line in window.shown)
    assert "\u202e" not in window.getvalue()


def test_warnings_are_shown_whole_and_broken_between_words(window: Window, front: Quiet) -> None:
    start(front, 1)
    front(Warned(rule="", text="RUN has one user id only: " + "ports below 1024 are refused, " * 6))
    front.tick()
    front.close()
    rows = [line for line in window.lines if line.startswith((" ! WARN:", "   "))]
    assert len(rows) == 3
    assert all(len(row) < 80 for row in rows)
    assert "".join(rows).count("ports") == "".join(rows).count("refused,") == 6


def test_tabs_stand_where_the_terminal_has_them() -> None:
    assert cut("a\tb\tc", 80) == "a       b       c"
    assert columns("\tx") == 9


def test_pictures_of_characters_are_the_narrow_ones() -> None:
    assert cut("\u2764\ufe0fx", 2) == "\u2764x"


@given(st.text(), st.integers(0, 40))
def test_what_is_cut_fits(text: str, most: int) -> None:
    shown = cut(text, most)
    assert max(0, wcswidth(shown)) <= columns(shown) <= max(most, 0)
    if columns(text) <= most:
        assert "…" not in shown.replace("…", "", text.count("…"))


def test_bars_are_shown_as_they_are_now(window: Window, front: Quiet) -> None:
    start(front, 1)
    for state in ("[#   ] 10%", "[##  ] 20%", "[### ] 30%"):
        front.log_line(1, f"\r{state}")
        front.tick()
        assert window.shown[2:] == [f" => => {state}"]
    front.log_line(1, "\r")
    front.tick()
    assert window.shown[2:] == [" => => [### ] 30%"]
    front.log_line(1, "\ndone \b\b\b\b.\n")
    front.tick()
    assert window.shown[2:] == [" => => [### ] 30%", " => => d."]


def test_an_interrupt_leaves_canceled_rows_and_a_whole_terminal(window: Window, front: Quiet) -> None:
    front(StepStarted(at_s=time.time(), step=5, name="[1/9] RUN quick"))
    front(StepDone(step=5, seconds=0.1))
    start(front, 2)
    front.log_line(1, "working\n")
    front.tick()
    window.write("^C")  # what the terminal itself shows
    front(StepFailedEvent(step=1, name="[stage1 1/1] RUN work 1", error="stopped", stopped=True))
    front.close()
    front(StepStarted(step=7, name="of a thread that hangs"))
    front.tick()
    assert [line.split("  ")[0] for line in window.lines] == [
        " => [1/9] RUN quick",
        " => CANCELED [stage1 1/1] RUN work 1",
        " => CANCELED [stage2 1/1] RUN work 2",
        window.lines[-1],
    ]
    assert re.fullmatch(r"\[\+\] Building \d+\.\ds \(3/3\)", window.lines[-1])
    assert not window.screen.cursor.hidden
    assert 7 << 5 in window.screen.mode  # lines wrap again
    assert window.screen.cursor.x == 0
    assert front.failed is None


@pytest.mark.parametrize("lost", [(0, 9999), (100, 9999), (600, 9999), (0, 100), (0, 500), (200, 600)])
@pytest.mark.parametrize("size", [(80, 24), (200, 50), (80, 12)])
def test_a_picture_that_was_not_shown_in_whole_leaves_nothing(
    size: tuple[int, int], lost: tuple[int, int]
) -> None:
    window = Window(*size)
    front = Quiet(window, False)
    start(front, 8)
    for n in range(1, 9):
        front.log_line(n, "漢字 working on it\n" * 9)
    front.tick()
    window.lose(*lost)
    front.tick()
    window.write("^C")
    front.tick()
    front.close()
    assert sum("CANCELED" in line for line in window.lines) == 8
    assert len(window.lines) == 9
    window.close()


def test_rows_of_errors_are_cut_to_the_window(window: Window, front: Quiet) -> None:
    name = "[2/3] RUN " + "make && " * 30
    front(StepStarted(step=1, name=name))
    front(StepFailedEvent(step=1, name=name, error="exit code: 1"))
    front(StepCached(step=2, name=name))
    front.tick()
    front.close()
    assert len(window.lines) == 3
    assert window.lines[0].startswith(" => ERROR [2/3] RUN make && make")
    assert window.lines[0].endswith("… 0.0s")
    assert window.lines[1].startswith(" => CACHED [2/3] RUN make")


def test_totals_are_known_from_the_plan_and_never_go_down(window: Window, front: Quiet) -> None:
    seen: list[tuple[int, int]] = []

    def count() -> None:
        front.tick()
        found = re.findall(r"\((\d+)/(\d+)\)", "\n".join(window.shown))
        seen.append((int(found[-1][0]), int(found[-1][1])))

    front(StepStarted(step=100, name="[internal] load metadata"))
    count()
    front(StepDone(step=100, seconds=0.1))
    front(Planned(names=("[1/3] RUN x", "[2/3] RUN x", "[3/3] RUN x")))
    for n in range(1, 4):
        front(StepStarted(step=n, name=f"[{n}/3] RUN x"))
        front(StepStarted(step=n + 10, name=f"fetch {n}"))
        count()
        front(StepDone(step=n + 10, seconds=0.1))
        front(StepDone(step=n, seconds=0.1))
    front(StepCached(step=40, name="[3/3] RUN x"))
    front(StepStarted(step=50, name="exporting to image"))
    count()
    front(StepDone(step=50, seconds=0.1))
    front.close()
    assert seen == [(0, 1), (1, 5), (3, 6), (5, 7), (8, 9)]
    assert "(9/9) FINISHED" in window.lines[-1]


HOSTILE = (
    "\x1b[2J\x1b[H\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\"
    "\x1bP1$q\x1b\\\x1b(B\x1bc\x9b2J\x07\x08\x0b\x0c\x00\x7f\x1b[?1049h\x1b[\x1b[0m31m\x1b]52;c;aGk=\x07"
)


def test_nothing_of_a_step_is_an_order_to_the_terminal(window: Window, front: Quiet) -> None:
    front(StepStarted(step=1, name=f"[1/1] RUN {HOSTILE}\nsecond"))
    front.log_line(1, f"{HOSTILE}\n{HOSTILE}")
    front(Progress(step=1, id=HOSTILE, current=1, total=2))
    front(Message(step=1, text=HOSTILE))
    front(Message(text=f"{HOSTILE}\nx"))
    front(Warned(rule="R", text=HOSTILE))
    front.tick()
    front(StepFailedEvent(step=1, name=HOSTILE, error=HOSTILE))
    front.close()
    front.failure()
    written = window.getvalue()
    left = OURS.sub("", written)
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", left)
    assert "\x1b[2J" not in written
    assert "\x1b[31mred" not in written
    assert "title" not in written
    assert "aGk=" not in written


def test_what_is_said_of_a_step_stays_below_its_name(window: Window, front: Quiet) -> None:
    start(front, 2)
    front(Message(step=1, text="miss: one changed"))
    front(Progress(step=1, id="exporting layers", done=True))
    front(Progress(step=1, id="sha256:aa", current=5, total=5, done=True))
    front.tick()
    front(StepDone(step=2, seconds=1))
    front(StepDone(step=1, seconds=1))
    front(StepCached(step=3, name="[3/3] RUN x"))
    front(Message(step=3, text="hit: nothing changed"))
    front.close()
    assert [line.split("  ")[0] for line in window.lines[:-1]] == [
        " => [stage2 1/1] RUN work 2",
        " => [stage1 1/1] RUN work 1",
        " => => miss: one changed",
        " => => exporting layers",
        " => CACHED [3/3] RUN x",
        " => => hit: nothing changed",
    ]


@pytest.mark.parametrize("width", [20, 79, 200])
def test_bar_of_each_blob_is_drawn_and_taken_away(width: int) -> None:
    window = Window(width, 24)
    front = Quiet(window, False)
    front.title = "Transferring"
    front(StepStarted(step=1, name="pull a"))
    front(Progress(step=1, id="sha256:abc", current=50, total=100))
    front(Progress(step=1, id="more", current=5))
    front.tick()
    assert window.shown[0].startswith("[+] Transferring")
    assert width < 79 or window.shown[2].startswith(" => => sha256:abc ")
    assert width < 79 or window.shown[2].endswith(" [==========          ] 50B / 100B")
    front(Progress(step=1, id="sha256:abc mounted", current=100, total=100, done=True))
    front.tick()
    assert not [line for line in window.shown if "sha256" in line]
    front(StepDone(step=1, seconds=0.5))
    front.close()
    assert next(line.split("  ")[0] for line in window.lines) == " => pull a"
    window.close()


def test_a_front_that_showed_nothing_leaves_nothing(window: Window, front: Quiet) -> None:
    front.close()
    assert window.getvalue() == ""


def test_the_clock_draws(window: Window) -> None:
    front = Terminal(window, True)
    front(StepStarted(step=1, name="[1/1] RUN x"))
    end = time.monotonic() + 10
    while not window.shown and time.monotonic() < end:
        time.sleep(0.02)
    front.close()
    assert "[+] Building" in window.getvalue().partition("CANCELED")[0]
