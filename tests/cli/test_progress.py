"""--progress: plain lines as BuildKit writes them, its rawjson, and silence."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from typing import Any

from imagesmith.cli.progress import make_front
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


def shown(mode: str, events: Sequence[Event]) -> str:
    """What a front writes."""
    out = io.StringIO()
    front = make_front(mode, out)
    for event in events:
        front(event)
    front.close()
    return out.getvalue()


def docs(events: Sequence[Event]) -> list[dict[str, Any]]:
    """The lines of rawjson."""
    return [json.loads(line) for line in shown("rawjson", events).splitlines()]


def test_a_line_without_an_end_is_cut() -> None:
    events = [RUN, *[Log(at_s=101.0, step=1004, stream=1, data=b"x" * 50_000)] * 3]
    text = shown("plain", [*events, StepDone(at_s=102.0, step=1004, seconds=2.0)])
    lines = [line.rpartition(" ")[2] for line in text.splitlines() if line.endswith("x")]
    assert [len(line) for line in lines] == [100_000, 50_000]


RUN = StepStarted(at_s=100.0, step=1004, name="[1/2] RUN make")


def test_plain_numbers_steps_in_the_order_in_which_they_come() -> None:
    events = [
        RUN,
        StepStarted(at_s=100, step=7, name="[2/2] COPY a b"),
        Log(at_s=101.5, step=1004, stream=1, data=b"half "),
        Log(at_s=102, step=1004, stream=1, data=b"a line\nrest"),
        StepDone(at_s=103, step=1004, seconds=3.04),
        StepCached(at_s=103, step=9, name="[3/3] RUN x"),
        StepDone(at_s=104, step=7, seconds=4),
    ]
    assert shown("plain", events).splitlines() == [
        "", "#1 [1/2] RUN make", "#1 ...",
        "", "#2 [2/2] COPY a b", "#2 ...",
        "", "#1 [1/2] RUN make", "#1 2.000 half a line", "#1 3.000 rest", "#1 DONE 3.0s",
        "", "#3 [3/3] RUN x", "#3 CACHED",
        "", "#2 [2/2] COPY a b", "#2 DONE 4.0s",
    ]  # fmt: skip


def test_plain_tells_transfers_with_their_time_errors_and_what_was_stopped() -> None:
    events = [
        RUN,
        Progress(at_s=100, step=1004, id="sha256:ab", current=1, total=2_000_000),
        Progress(at_s=100.5, step=1004, id="sha256:ab", current=2_000_000, total=2_000_000, done=True),
        StepStarted(at_s=100, step=2, name="[2/2] RUN other"),
        StepFailedEvent(at_s=101, step=2, name="[2/2] RUN other", error="exit code: 3"),
    ]
    assert shown("plain", events).splitlines()[2:] == [
        "#1 sha256:ab 2.00MB / 2.00MB 0.5s done", "#1 ...",
        "", "#2 [2/2] RUN other", "#2 ERROR: exit code: 3",
        "", "#1 [1/2] RUN make", "#1 CANCELED",
    ]  # fmt: skip


def test_plain_puts_messages_under_their_step_and_nothing_that_moves_the_cursor() -> None:
    events = [
        StepCached(step=1, name="[1/1] RUN \x1b[31mred\x07"),
        Message(step=1, text="hit: nothing changed"),
        Message(text="a line of its own"),
    ]
    assert shown("plain", events).splitlines() == [
        "", "#1 [1/1] RUN red", "#1 CACHED", "#1 hit: nothing changed", "a line of its own",
    ]  # fmt: skip


def test_rawjson_has_vertexes_with_digests_and_times() -> None:
    events = [RUN, StepDone(at_s=101.5, step=1004, seconds=1.5), StepCached(at_s=102, step=2, name="x")]
    started, done, cached = (d["vertexes"][0] for d in docs(events))
    assert started["name"] == "[1/2] RUN make"
    assert started["digest"].startswith("sha256:")
    assert (started["started"], "completed" in started) == ("1970-01-01T00:01:40Z", False)
    assert done["digest"] == started["digest"]
    assert done["completed"] == "1970-01-01T00:01:41.5Z"
    assert cached["cached"] is True


def test_rawjson_carries_output_byte_for_byte() -> None:
    data = b"\x00\xff no newline\r\x1b[2J"
    start, log = docs([RUN, Log(at_s=101, step=1004, stream=2, data=data)])
    (entry,) = log["logs"]
    assert base64.b64decode(entry["data"]) == data
    assert (entry["stream"], entry["vertex"]) == (2, start["vertexes"][0]["digest"])


def test_rawjson_has_statuses_warnings_errors_and_explanations() -> None:
    events = [
        RUN,
        Progress(at_s=101, step=1004, id="layer", current=5, total=10),
        Progress(at_s=102, step=1004, id="layer", current=10, total=10, done=True),
        Warned(rule="StageNameCasing", text="Stage name 'A'", line=3, url="https://example.com"),
        Message(step=1004, text="miss: it changed"),
        StepFailedEvent(at_s=103, step=1004, name="[1/2] RUN make", error="exit code: 1"),
    ]
    start, running, ended, warned, message, failed = docs(events)
    assert running["statuses"][0] | {"timestamp": ""} == {
        "id": "layer", "vertex": start["vertexes"][0]["digest"], "total": 10, "current": 5, "timestamp": "",
        "started": "1970-01-01T00:01:41Z",
    }  # fmt: skip
    assert ended["statuses"][0]["completed"] == "1970-01-01T00:01:42Z"
    warning = warned["warnings"][0]
    assert base64.b64decode(warning["short"]) == b"StageNameCasing: Stage name 'A' (line 3)"
    assert warning["range"] == [{"start": {"line": 3}, "end": {"line": 3}}]
    assert base64.b64decode(message["logs"][0]["data"]) == b"miss: it changed\n"
    assert failed["vertexes"][0]["error"] == "exit code: 1"


def test_rawjson_and_quiet_say_nothing_but_that() -> None:
    for mode in ("rawjson", "quiet"):
        out = io.StringIO()
        front = make_front(mode, out)
        front(Log(step=1, stream=1, data=b""))
        front(StepFailedEvent(step=1, name="x", error="y"))
        written = out.getvalue()
        front.close()
        front.result("named x", "sha256:ab")
        assert out.getvalue() == written
    assert shown("quiet", [RUN, Log(step=1004, stream=1, data=b"text\n")]) == ""


def test_terminal_keeps_what_is_said_of_a_step_below_its_name() -> None:
    events = [
        RUN,
        StepStarted(at_s=100, step=2, name="[2/2] RUN other"),
        Message(step=1004, text="miss: one changed"),
        StepDone(at_s=101, step=2, seconds=1),
        StepDone(at_s=101, step=1004, seconds=1),
        StepCached(step=3, name="[3/3] RUN x"),
        Message(step=3, text="hit: nothing changed"),
    ]
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown("tty", events))
    kept = [line.split("  ")[0].strip() for line in text.split("\x1b[J")[-1].splitlines()]
    whole = [line.split("  ")[0].strip() for line in text.replace("\x1b[J", "\n").splitlines()]
    assert kept[-1] == "=> => hit: nothing changed"
    at = max(n for n, line in enumerate(whole) if line == "=> [1/2] RUN make")
    assert whole[at + 1] == "=> => miss: one changed"


def test_what_a_failed_step_said_last_is_no_command_to_a_runner() -> None:
    out = io.StringIO()
    front = make_front("plain", out)
    said = b"::add-path::/evil\n  ::error::x\nlast"
    for event in (
        RUN,
        Log(at_s=101.25, step=1004, stream=1, data=said),
        StepFailedEvent(at_s=102, step=1004, name=RUN.name, error="exit code: 1"),
    ):
        front(event)
    front.failure()
    assert out.getvalue().splitlines()[-5:-1] == [
        " > [1/2] RUN make:", "1.250 ::add-path::/evil", "1.250   ::error::x", "2.000 last",
    ]  # fmt: skip
    assert not [line for line in out.getvalue().splitlines() if line.strip().startswith("::")]
