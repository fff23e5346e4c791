"""`--progress=rawjson`: what happens as BuildKit's SolveStatus objects, one a line, for programs.

    {"vertexes":[{"digest","name","started"?,"completed"?,"cached"?,"error"?}]}
    {"statuses":[{"id","vertex","name"?,"total"?,"current","timestamp","started"?,"completed"?}]}
    {"logs":[{"vertex","stream","data","timestamp"}]}         data in base64, as the step wrote it
    {"warnings":[{"vertex","level","short","detail"?,"url"?,"range"?}]}

A vertex has no digest here; it gets one of its number and name. Times are RFC 3339 with nanoseconds.
Spec: moby/buildkit, client/graph.go (SolveStatus), as docker buildx writes it.
"""

from __future__ import annotations

import base64
import json
from typing import Any, TextIO

from imagesmith import events as ev
from imagesmith.cli.lines import harmless_json
from imagesmith.cli.progress import Front
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.times import format_ns

__all__ = ["RawJson", "warning_document"]

_DEFINITION = "[internal] load build definition from Dockerfile"


class RawJson(Front):
    """One JSON object a line and event, and nothing else."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._vertexes: dict[int, dict[str, Any]] = {}
        self._began: dict[tuple[int, str], str] = {}

    def raw(self, event: ev.Log) -> None:
        """A step's output, byte for byte."""
        data = base64.b64encode(event.data).decode()
        self._tell(
            "logs",
            {
                "vertex": self._digest(event.step),
                "stream": event.stream,
                "data": data,
                "timestamp": _time(event),
            },
        )

    def show(self, event: ev.Event) -> None:
        """Any other event."""
        match event:
            case ev.StepStarted(step=step, name=name):
                self._vertexes.get(step, {}).pop("completed", None)
                self._vertex(step, name, started=_time(event))
            case ev.StepCached(step=step, name=name):
                self._vertex(step, name, started=_time(event), completed=_time(event), cached=True)
            case ev.StepDone(step=step):
                self._vertex(step, self.names.get(step, ""), completed=_time(event))
            case ev.StepFailedEvent(step=step, name=name, error=error):
                self._vertex(step, name, completed=_time(event), error=error)
            case ev.Progress():
                self._status(event)
            case ev.Warned():
                self._tell("warnings", warning_document(event))
            case ev.Message(step=step, text=text):
                self.raw(ev.Log(at_s=event.at_s, step=step, stream=2, data=f"{text}\n".encode()))

    def failure(self) -> None:
        """Programs have seen the output."""

    def remark(self, *_args: object, **_words: object) -> bool:
        """They have the warnings and errors, too."""
        return False

    def result(self, *_lines: str) -> None:
        """Programs read the metadata file."""

    def _tell(self, kind: str, item: dict[str, Any]) -> None:
        text = json.dumps({kind: [item]}, ensure_ascii=False, separators=(",", ":"))
        self.write(harmless_json(text) + "\n")

    def _digest(self, step: int) -> str:
        vertex = self._vertexes.get(step)
        return _digest(step, self.names.get(step, "")) if vertex is None else str(vertex["digest"])

    def _vertex(self, step: int, name: str, **fields: object) -> None:
        vertex = self._vertexes.setdefault(step, {"digest": _digest(step, name), "name": name})
        vertex |= fields
        self._tell("vertexes", vertex)

    def _status(self, event: ev.Progress) -> None:
        now = _time(event)
        key = event.step, event.id
        status: dict[str, Any] = {"id": event.id, "vertex": self._digest(event.step)}
        if event.total:
            status["total"] = event.total
        status |= {"current": event.current, "timestamp": now, "started": self._began.setdefault(key, now)}
        if event.done:
            status["completed"] = now
        self._tell("statuses", status)


def warning_document(event: ev.Warned) -> dict[str, Any]:
    """A warning as BuildKit's VertexWarning has it."""
    short = f"{event.rule}: {event.text}" if event.rule else event.text
    if event.line:
        short += f" (line {event.line})"
    warning: dict[str, Any] = {
        "vertex": _digest(0, _DEFINITION),
        "level": 1,
        "short": base64.b64encode(short.encode()).decode(),
    }
    if event.url:
        warning["url"] = event.url
    if event.line:
        warning["range"] = [{"start": {"line": event.line}, "end": {"line": event.line}}]
    return warning


def _digest(step: int, name: str) -> str:
    return str(digest_bytes(f"{step} {name}".encode()))


def _time(event: ev.Event) -> str:
    return format_ns(int(event.at_s * 1e9))
