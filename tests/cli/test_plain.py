"""--progress=plain: BuildKit's lines, who has the word, colours, and what the logs of CIs show."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import pytest

from imagesmith.cli.fronts import make_front
from imagesmith.cli.plain import Plain
from imagesmith.events import (
    Event,
    Log,
    Message,
    Progress,
    StepCached,
    StepDone,
    StepFailedEvent,
    StepStarted,
    Warned,
)

RUN = StepStarted(at_s=100.0, step=1004, name="[1/2] RUN make")
RED, OFF = "\x1b[31m", "\x1b[0m"


class Clocked(Plain):
    """The front with a clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(io.StringIO(), lambda: self.now)

    def keep_time(self, every_s: float) -> None:
        """By the test's clock."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.tick()

    @property
    def lines(self) -> list[str]:
        """What was written."""
        assert isinstance(self.out, io.StringIO)
        return self.out.getvalue().splitlines()


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is nobody's, as long as a test does not say whose it is."""
    for name in ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def shown(*events: Event) -> list[str]:
    """What a front writes."""
    front = Clocked()
    for event in events:
        front(event)
    front.close()
    return front.lines


def log(step: int, data: str, at_s: float = 101.0) -> Log:
    """A step prints."""
    return Log(at_s=at_s, step=step, stream=1, data=data.encode())


def start(step: int, name: str = "") -> StepStarted:
    """A step begins."""
    return StepStarted(at_s=100.0, step=step, name=name or f"RUN {step}")


def done(step: int) -> StepDone:
    """A step ends."""
    return StepDone(at_s=105.0, step=step, seconds=5.0)


def test_steps_are_numbered_in_the_order_in_which_they_are_told() -> None:
    events = [
        RUN,
        StepStarted(at_s=100, step=7, name="[2/2] COPY a b"),
        Log(at_s=101.5, step=1004, stream=1, data=b"half "),
        Log(at_s=102, step=1004, stream=1, data=b"a line\nrest"),
        StepDone(at_s=103, step=1004, seconds=3.04),
        StepCached(at_s=103, step=9, name="[3/3] RUN x"),
        StepDone(at_s=104, step=7, seconds=4),
    ]
    assert shown(*events) == [
        "", "#1 [1/2] RUN make", "#1 2.000 half a line", "#1 3.000 rest", "#1 DONE 3.0s",
        "", "#2 [2/2] COPY a b", "#2 ...",
        "", "#3 [3/3] RUN x", "#3 CACHED",
        "", "#2 [2/2] COPY a b", "#2 DONE 4.0s",
    ]  # fmt: skip


def test_parts_are_told_with_their_time_errors_and_what_was_stopped() -> None:
    events = [
        RUN,
        Progress(at_s=100, step=1004, id="sha256:ab", current=1, total=2_000_000),
        Progress(at_s=100.5, step=1004, id="sha256:ab", current=2_000_000, total=2_000_000, done=True),
        Progress(at_s=100.5, step=1004, id="exporting layers", done=True),
        StepStarted(at_s=100, step=2, name="[2/2] RUN other"),
        StepFailedEvent(at_s=101, step=2, name="[2/2] RUN other", error="exit code: 3\nmore"),
        StepStarted(at_s=100, step=3, name="RUN third"),
        StepFailedEvent(at_s=101, step=3, name="RUN third", error="stopped", stopped=True),
    ]
    assert shown(*events)[2:] == [
        "#1 sha256:ab 2.00MB / 2.00MB 0.5s done", "#1 exporting layers done", "#1 ...",
        "", "#2 [2/2] RUN other", "#2 ERROR: exit code: 3 more",
        "", "#3 RUN third", "#3 CANCELED",
        "", "#1 [1/2] RUN make", "#1 CANCELED",
    ]  # fmt: skip


def test_messages_stand_under_their_step_and_nothing_moves_the_cursor() -> None:
    events = [
        StepCached(step=1, name="[1/1] RUN \x1b[31mred\x07\nx"),
        Message(step=1, text="hit: nothing changed"),
        Message(text="a line of its own"),
    ]
    assert shown(*events) == [
        "", "#1 [1/1] RUN red x", "#1 CACHED", "#1 hit: nothing changed", "a line of its own",
    ]  # fmt: skip


def test_a_line_without_an_end_is_cut() -> None:
    lines = shown(RUN, *[log(1004, "x" * 50_000)] * 3, StepDone(at_s=102.0, step=1004, seconds=2.0))
    assert [len(line.rpartition(" ")[2]) for line in lines if line.endswith("x")] == [100_000, 50_000]


# --- who has the word ------------------------------------------------------------------------------


def test_a_step_keeps_the_word_for_five_seconds_while_others_wait() -> None:
    front = Clocked()
    for step in (1, 2, 3):
        front(start(step))
    for n in range(4):
        for step in (1, 2, 3):
            front(log(step, f"line {n}\n"))
        front.wait(1)
    assert [line for line in front.lines if line] == [
        "#1 RUN 1", *(f"#1 1.000 line {n}" for n in range(4)),
    ]  # fmt: skip
    front.wait(1)
    assert front.lines[6:] == ["#1 ...", "", "#2 RUN 2", *(f"#2 1.000 line {n}" for n in range(4))]
    front(log(1, "again\n"))
    front.wait(4.9)
    assert len(front.lines) == 13
    front.wait(0.1)
    assert front.lines[13:] == ["#2 ...", "", "#3 RUN 3", *(f"#3 1.000 line {n}" for n in range(4))]
    front.wait(5)
    assert front.lines[-1] == "#1 1.000 again"
    front.close()


def test_one_that_is_alone_or_whose_others_are_silent_keeps_the_word() -> None:
    front = Clocked()
    front(start(1))
    front(start(2))
    for n in range(20):
        front(log(1, f"{n}\n"))
        front.wait(2)
    assert "#1 ..." not in front.lines
    assert len(front.lines) == 22
    front.close()


def test_who_ended_is_told_at_once_and_in_one_piece() -> None:
    front = Clocked()
    front(start(1))
    front(log(1, "one\n"))
    front(start(2))
    front(log(2, "a\nb\n"))
    front(done(2))
    front(log(1, "two\n"))
    front(done(1))
    assert front.lines == [
        "", "#1 RUN 1", "#1 1.000 one", "#1 ...",
        "", "#2 RUN 2", "#2 1.000 a", "#2 1.000 b", "#2 DONE 5.0s",
        "", "#1 RUN 1", "#1 1.000 two", "#1 DONE 5.0s",
    ]  # fmt: skip


def test_what_is_held_of_those_who_wait_is_limited() -> None:
    front = Clocked()
    front(start(1))
    front(start(2))
    for _ in range(40):
        front(log(2, "x" * 60_000 + "\n"))
    assert sum(len(line) for line in front.lines) > 1_000_000
    front.close()
    assert sum(len(line) for line in front.lines) > 40 * 60_000


def test_no_line_is_lost_and_each_stands_under_its_name() -> None:
    front = Clocked()
    for n in range(300):
        step = n % 7 + 1
        if n < 7:
            front(start(step))
        front(log(step, f"line {n}\n"))
        front.wait(0.05)
    for step in range(1, 8):
        front(done(step))
    front.close()
    said = [line.rpartition(" ")[2] for line in front.lines if " line " in line]
    assert sorted(map(int, said)) == list(range(300))
    at, names = "", {}
    for line in front.lines:
        found = re.match(r"#(\d+) (?:(RUN \d)|(\d\S+ line (\d+)))", line)
        if found and found[2]:
            at, names[found[1]] = found[1], found[2]
        elif found:
            assert found[1] == at
            assert names[at] == f"RUN {int(found[4]) % 7 + 1}"


def test_three_stages_with_fifty_lines_take_about_what_buildkit_takes() -> None:
    front = Clocked()
    for step in (1, 2, 3):
        front(start(step))
    for n in range(50):
        for step in (1, 2, 3):
            front(log(step, f"{n}\n"))
        front.wait(0.1)
    for step in (1, 2, 3):
        front(done(step))
    front.close()
    assert len(front.lines) <= 1.3 * 191


def test_a_long_transfer_is_told_every_half_minute() -> None:
    front = Clocked()
    front(StepStarted(at_s=0, step=1, name="push x"))
    for n in range(100):
        front(Progress(at_s=n, step=1, id="sha256:ab", current=n * 1_000_000, total=100_000_000))
        front.wait(1)
    front(Progress(at_s=100, step=1, id="sha256:ab", current=100_000_000, total=100_000_000, done=True))
    front(StepDone(at_s=100, step=1, seconds=100))
    assert front.lines == [
        "", "#1 push x", "#1 sha256:ab 29.00MB / 100.00MB 30.0s", "#1 sha256:ab 59.00MB / 100.00MB 60.0s",
        "#1 sha256:ab 89.00MB / 100.00MB 90.0s", "#1 sha256:ab 100.00MB / 100.00MB 100.0s done",
        "#1 DONE 100.0s",
    ]  # fmt: skip


def test_a_transfer_that_stands_still_is_told_by_the_clock_alone() -> None:
    front = Clocked()
    front(StepStarted(at_s=0, step=1, name="push x"))
    front(Progress(at_s=0, step=1, id="sha256:ab", current=5, total=10))
    for _ in range(61):
        front.wait(1)
    assert front.lines[2:] == ["#1 sha256:ab 5B / 10B 30.0s", "#1 sha256:ab 5B / 10B 60.0s"]
    front(Progress(at_s=61, step=1, id="sha256:ab mounted", current=10, total=10, done=True))
    for _ in range(61):
        front.wait(1)
    assert len(front.lines) == 5


# --- colours ---------------------------------------------------------------------------------------


def colourful(*lines: str) -> list[str]:
    """The lines of a step as they are shown."""
    said = shown(start(1), *(log(1, line) for line in lines), done(1))
    return [line.removeprefix("#1 1.000 ") for line in said if line.startswith("#1 1.000")]


def test_colours_are_kept_where_the_log_can_show_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert colourful(f"{RED}red{OFF}\n") == ["red"]
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "FORCE_COLOR"):
        monkeypatch.setenv(name, "true")
        said = "\n".join(shown(start(1), log(1, f"{RED}red{OFF} plain\n"), done(1)))
        assert f"#1 1.000 {RED}red{OFF} plain{OFF}\n" in said
        monkeypatch.setenv("NO_COLOR", "1")
        assert RED not in "\n".join(shown(start(1), log(1, f"{RED}red\n"), done(1)))
        monkeypatch.delenv("NO_COLOR")
        monkeypatch.delenv(name)
    monkeypatch.setenv("FORCE_COLOR", "0")
    assert colourful(f"{RED}red\n") == ["red"]


def test_every_line_ends_without_colours_and_the_next_goes_on_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert colourful(f"{RED}a\nb\x1b[1mc\nd{OFF}e\nf\n") == [
        f"{RED}a{OFF}", f"{RED}b\x1b[1mc{OFF}", f"{RED}\x1b[1md{OFF}e{OFF}", "f",
    ]  # fmt: skip
    assert colourful("plain\n") == ["plain"]
    many = "".join(f"\x1b[{n}m" for n in range(30, 48)) * 9
    assert all(len(line) < 200 for line in colourful(f"{many}\nx\n")[1:])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("\x1b[2Ja\x1b[10;10Hb\x1b[31mc", "abc"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
        ("\x1b\x1b[0m[2Ja", "[2Ja"),
        ("\x1b[\x1b[31m2Ja", "2Ja"),
        ("\x9b2Ja\x07\x08b", "2Jab"),
        ("\x1b(Ba\x1b=b\x1bcd", "abd"),
    ],
)
def test_nothing_but_colours_is_kept(given: str, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    (line,) = colourful(f"{given}\n")
    assert re.sub(r"\x1b\[[0-9;]*m", "", line) == kept
    assert colourful(f"{given}\n") == [line]


# --- the logs of CIs -------------------------------------------------------------------------------


def steps_of_a_ci() -> list[Event]:
    """Steps with output and without."""
    return [
        StepCached(step=1, name="[1/4] RUN a"),
        start(2, "[2/4] COPY 100% of it"), Progress(at_s=100, step=2, id="exporting", done=True), done(2),
        start(3, "[3/4] RUN b"), log(3, "one\n"), log(3, "two\n"), done(3),
    ]  # fmt: skip


def test_github_gets_a_group_for_each_step_with_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    failed = StepFailedEvent(at_s=105.0, step=4, name="50% x", error="exit code: 1")
    assert shown(*steps_of_a_ci(), start(4, "50% x"), log(4, "oh\n"), failed) == [
        "", "#1 [1/4] RUN a", "#1 CACHED",
        "", "#2 [2/4] COPY 100% of it", "#2 exporting done", "#2 DONE 5.0s",
        "::group::#3 [3/4] RUN b", "#3 1.000 one", "#3 1.000 two", "::endgroup::", "#3 DONE 5.0s",
        "::group::#4 50%25 x", "#4 1.000 oh", "::endgroup::", "#4 ERROR: exit code: 1",
    ]  # fmt: skip


def test_gitlab_gets_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITLAB_CI", "true")
    front = Clocked()
    for event in steps_of_a_ci():
        front(event)
    front.close()
    assert isinstance(front.out, io.StringIO)
    text = front.out.getvalue()
    assert re.findall(r"\x1b\[0Ksection_(?:start|end):\d+:\S+?(?:\[collapsed=true\])?\r\x1b\[0K.*\n", text)
    begin, end = re.findall(r"section_(?:start|end):\d+:(\S+?)(?:\[collapsed=true\])?\r", text)
    assert begin == end
    assert re.sub(r"\x1b\[0Ksection_(start|end)\S+\r\x1b\[0K", r"<\1>", text).splitlines() == [
        "", "#1 [1/4] RUN a", "#1 CACHED",
        "", "#2 [2/4] COPY 100% of it", "#2 exporting done", "#2 DONE 5.0s",
        "<start>#3 [3/4] RUN b", "#3 1.000 one", "#3 1.000 two", "<end>", "#3 DONE 5.0s",
    ]  # fmt: skip


def test_a_section_ends_where_another_step_gets_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    front = Clocked()
    front(start(1))
    front.wait(0.5)
    assert front.lines == []
    front.wait(1)
    assert front.lines == ["::group::#1 RUN 1"]
    front(start(2))
    front(log(2, "two\n"))
    front.wait(5)
    front(done(1))
    front(done(2))
    front.close()
    assert front.lines == [
        "::group::#1 RUN 1", "#1 ...", "::endgroup::",
        "::group::#2 RUN 2", "#2 1.000 two", "#2 ...", "::endgroup::",
        "", "#1 RUN 1", "#1 DONE 5.0s",
        "", "#2 RUN 2", "#2 DONE 5.0s",
    ]  # fmt: skip


ORDERS = (
    "::error::x", "  ::add-path::/evil", "\u2003::stop-commands::x", "##[add-mask]x",
    "a ##[set-output name=x;]y", "##vso[task.setvariable variable=x]y", "##teamcity[buildStop]",
    "\r::error::x", "\x1b[0m::error::x", "\x1b]0;x\x07::error::x",
    "section_start:1:x\r\x1b[0Kx", "\x1b[0Ksection_end:1:x\r\x1b[0K",
)  # fmt: skip


def orders(lines: Sequence[str]) -> list[str]:
    """The lines that a runner would take for a command: the rules of GitHub's, Azure's, GitLab's."""
    return [
        line
        for line in lines
        if line.strip().startswith("::") or re.search(r"##\w*\[|section_\w+:.*\r", line)
    ]


@pytest.mark.parametrize("place", ["GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD", "CI"])
@pytest.mark.parametrize("text", ORDERS)
def test_nothing_that_is_said_is_a_command(text: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(place, "true")
    for mode in ("plain", "rawjson", "tty", "quiet"):
        out = io.StringIO()
        front = make_front(mode, out)
        for event in (
            StepStarted(at_s=100, step=1, name=text),
            log(1, f"{text}\n{text}"),
            Progress(at_s=100, step=1, id=text, done=True),
            Message(step=1, text=f"x\n{text}"),
            Message(text=text),
            Message(text=f"x\n{text}"),
            Warned(rule=text, text=f"x\n{text}"),
            StepFailedEvent(at_s=102, step=1, name=f"x\n{text}", error=f"x\n{text}"),
            StepCached(step=2, name=text),
        ):
            front(event)
        front.close()
        front.failure()
        front.result(text)
        lines = out.getvalue().split("\n")
        ours = ("::group::#", "::endgroup::", "\x1b[0Ksection_start:1", "\x1b[0Ksection_end:1")
        assert orders([line for line in lines if not line.startswith(ours)]) == []
        assert not [line for line in lines if line.startswith(ours) and orders([line.partition("#")[2]])]


def test_what_a_failed_step_said_last_is_told_again_with_its_time() -> None:
    front = Clocked()
    for event in (
        RUN,
        Log(at_s=101.25, step=1004, stream=1, data=b"::add-path::/evil\n  ::error::x\nlast"),
        StepFailedEvent(at_s=102, step=1004, name=RUN.name, error="exit code: 1"),
    ):
        front(event)
    front.close()
    front.failure()
    assert front.lines[-5:-1] == [
        " > [1/2] RUN make:", "1.250 ::add-path::/evil", "1.250   ::error::x", "2.000 last",
    ]  # fmt: skip
    assert orders(front.lines) == []
