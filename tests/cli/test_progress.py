"""--progress: BuildKit's rawjson, silence, and what is chosen where nothing is asked for."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from typing import Any

from imagesmith.cli.fronts import make_front
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


RUN = StepStarted(at_s=100.0, step=1004, name="[1/2] RUN make")


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
