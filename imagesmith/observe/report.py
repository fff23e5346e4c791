"""What --report shows: the bars of a timeline, the critical path, the layers, and what grew.

Why: a build's time is that of its longest chain of steps that waited for each other; only shortening that
one helps. It is found backwards from what ended last: each step's latest need, or what ended right before.
Threads: a Recorder is told from any; `finish` is called once, at the end.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from imagesmith.errors import ImagesmithError
from imagesmith.events import (
    Event,
    EventSink,
    Log,
    Progress,
    StepCached,
    StepDone,
    StepFailedEvent,
    StepStarted,
)
from imagesmith.fs.results import put_file
from imagesmith.image.commit import Image
from imagesmith.image.result import BuildResult
from imagesmith.observe.steplogs import StepLogs
from imagesmith.observe.timeline import Bar, Failure, Growth, LayerLine, Report
from imagesmith.oci.digest import Digest
from imagesmith.request import BuildRequest
from imagesmith.solve.result import BuiltLayer
from imagesmith.solve.step import Step
from imagesmith.solve.watching import Solved, Watcher
from imagesmith.store.store import Store
from imagesmith.values import replace

__all__ = ["Outcome", "Recorder", "critical_path", "excerpt", "reporting"]

#: What ended so long (seconds) before something began may be what it waited for.
_NEAR_S = 0.002
_MOST_FILES = 15
#: Of so many targets that failed the page tells why; so many lines are shown around the one that failed.
_MOST_FAILURES, _AROUND, _MOST_LINES = 10, 5, 60


def critical_path(bars: Sequence[Bar]) -> list[int]:
    """The numbers of the bars that the whole build waited for, first to last."""
    known = {b.number: b for b in bars}
    at = max(bars, key=lambda b: b.ended_s, default=None)
    path: list[int] = []
    while at is not None and at.number not in path:
        path.append(at.number)
        here = at
        needs = [known[n] for n in here.needs if n in known]
        before = [
            b
            for b in bars
            if b.number != here.number
            and b.ended_s <= here.began_s + _NEAR_S
            and b.began_s <= here.began_s
            and b.number not in path
        ]
        at = max(needs or before, key=lambda b: b.ended_s, default=None)
    return path[::-1]


def excerpt(e: ImagesmithError) -> tuple[tuple[int, str, bool], ...]:
    """The lines of a Dockerfile around those that an error is about, which are marked; or none."""
    if not e.first or not e.source:
        return ()
    lines = e.source.split("\n")
    last = min(max(e.first, e.last), len(lines), e.first + _MOST_LINES)
    shown = range(max(1, e.first - _AROUND), min(len(lines), last + _AROUND) + 1)
    found = tuple((n, lines[n - 1].rstrip("\r"), e.first <= n <= last) for n in shown)
    return found[:-1] if found and not found[-1][1] and found[-1][0] == len(lines) else found


class Recorder(Watcher):
    """Notes when everything began and ended, and passes events on."""

    def __init__(self, events: EventSink) -> None:
        self._events, self._began_s = events, time.time()
        self._bars: dict[int, Bar] = {}
        self._solved: dict[Step, Solved] = {}
        self._logs = StepLogs()
        self._failed: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event, /) -> None:
        """Take an event; see EventSink."""
        with self._lock:
            self._note(event)
        self._events(event)

    def _note(self, event: Event) -> None:
        now = event.at_s - self._began_s
        match event:
            case StepStarted(step=n, name=name):
                began = self._bars[n].began_s if n in self._bars else now  # one may begin again
                self._bars[n] = Bar(number=n, name=name, began_s=began, ended_s=now, state="stopped")
            case StepCached(step=n, name=name):
                self._bars[n] = Bar(number=n, name=name, began_s=now, ended_s=now, state="cached")
            case StepDone(step=n) if n in self._bars:
                self._bars[n] = replace(self._bars[n], ended_s=now, state="ran")
            case Log(step=n, data=data):
                self._logs.add(n, data)
            case StepFailedEvent(step=n, name=name):
                if not event.stopped:
                    self._failed.setdefault(event.error, n)
                bar = self._bars.get(n) or Bar(number=n, name=name, began_s=now, ended_s=now, state="failed")
                self._bars[n] = replace(bar, ended_s=now, state="failed")
            case Progress(step=n, id=id_, total=total, done=True) if n in self._bars and " " not in id_:
                self._bars[n] = replace(self._bars[n], size=self._bars[n].size + total)

    def solved(self, solved: Solved) -> None:
        """See Watcher."""
        with self._lock:
            self._solved[solved.step] = solved
            bar = self._bars.get(solved.number)
            if bar is not None:
                self._bars[solved.number] = replace(
                    bar,
                    began_s=solved.began_s - self._began_s,
                    ended_s=solved.ended_s - self._began_s,
                    size=solved.layer.descriptor.size,
                    source=solved.hit,
                )

    def _needs(self, step: Step) -> tuple[int, ...]:
        return tuple(self._solved[s].number for s in step.inputs() if s.op.makes_layer and s in self._solved)

    def finish(
        self,
        store: Store,
        name: str,
        built: Sequence[tuple[str, BuildResult]],
        title: str,
        errors: Sequence[ImagesmithError],
    ) -> Report:
        """The report, with what changed since the last build of that name, which this one becomes.

        Args:
            store: remembers builds.
            name: what is the same from build to build.
            built: what came out, by target; nothing where it failed.
            title: what the page is called.
            errors: why it failed, or some targets of it.
        """
        seconds = time.time() - self._began_s
        with self._lock:
            of = {s.number: step for step, s in self._solved.items()}
            bars = [
                replace(
                    b,
                    needs=self._needs(of[b.number]) if b.number in of else (),
                    is_step=b.name.startswith("[") and not b.name.partition("]")[0].endswith("internal"),
                    ended_s=seconds if b.state == "stopped" else b.ended_s,
                )
                for b in self._bars.values()
            ]
        numbers = critical_path(bars)
        bars = sorted(
            (replace(b, critical=b.number in numbers) for b in bars), key=lambda b: (b.began_s, b.ended_s)
        )
        known = {b.number: b for b in bars}
        last = store.cache.build(name)
        old = _old_layers(last)
        layers = _all_layers([image for _, one in built for image in one.images.values()])
        report = Report(
            title=title,
            digests=tuple(f"{target} {one.digest}".lstrip() for target, one in built),
            platform=", ".join(dict.fromkeys(platform for _, one in built for platform in one.images)),
            error=errors[0].message if errors else "",
            at_s=self._began_s,
            seconds=seconds,
            bars=tuple(bars),
            path=tuple(known[n] for n in numbers),
            layers=self._layers(layers, old),
            grown=_grown(store, layers, old),
            last_seconds=_number(last.get("seconds")),
            last_size=sum(o["size"] for o in old.values()) if old else None,
            failures=tuple(self._failure(e) for e in errors[:_MOST_FAILURES]),
            logs=tuple((b, log) for b in bars if (log := self._logs.of(b.number)).lines),
        )
        if built:
            store.cache.put_build(name, _summary(layers, seconds))
        return report

    def _failure(self, e: ImagesmithError) -> Failure:
        """An error with the lines that it is about, and what its step wrote."""
        number = self._failed.get(e.message)
        return Failure(
            message=e.message, hint=e.hint, file=e.file if e.first else "", lines=excerpt(e),
            log=None if number is None else self._logs.of(number),
        )  # fmt: skip

    def _layers(self, layers: Sequence[BuiltLayer], old: Mapping[str, _Old]) -> tuple[LayerLine, ...]:
        hits = {s.layer.diff_id: s.hit for s in self._solved.values()}
        out = []
        base = [layer.descriptor.size for layer in layers if layer.created_ns is None]
        if base:
            base_was = [o["size"] for o in old.values() if o["base"]]
            out.append(
                LayerLine(
                    name=f"base image ({len(base)} layer{'s' * (len(base) > 1)})",
                    size=sum(base),
                    before=sum(base_was) if base_was else None,
                    is_new=False,
                )
            )
        for key, layer in _keyed(layers):
            if layer.created_ns is not None:
                was = old.get(key)
                out.append(
                    LayerLine(
                        name=layer.name,
                        size=layer.descriptor.size,
                        before=None if was is None else was["size"],
                        is_new=bool(old) and was is None,
                        hit=hits.get(layer.diff_id, ""),
                    )
                )
        return tuple(out)


def _all_layers(images: Sequence[Image]) -> list[BuiltLayer]:
    """The layers of all images; one that several have once."""
    layers = [layer for image in images for layer in image.layers]
    return list({layer.descriptor.digest: layer for layer in layers}.values()) if len(images) > 1 else layers


class _Old(TypedDict):
    """A layer of the last build."""

    size: int
    diff_id: str
    blob: str
    base: bool


def _instruction(name: str) -> str:
    """A step's name without its number, which changes when lines are added."""
    head, bracket, text = name.partition("] ")
    return f"{head.rpartition(' ')[0]}] {text}" if bracket else name


def _keyed(layers: Sequence[BuiltLayer]) -> list[tuple[str, BuiltLayer]]:
    """Layers with names that are the same in the next build; equal instructions are counted."""
    seen: dict[str, int] = {}
    out = []
    for layer in layers:
        text = "base" if layer.created_ns is None else _instruction(layer.name)
        seen[text] = seen.get(text, 0) + 1
        out.append((f"{text} {seen[text]}", layer))
    return out


def _summary(layers: Sequence[BuiltLayer], seconds: float) -> dict[str, object]:
    rows = [
        [
            key,
            layer.descriptor.size,
            str(layer.diff_id),
            str(layer.descriptor.digest),
            layer.created_ns is None,
        ]
        for key, layer in _keyed(layers)
    ]
    return {"seconds": seconds, "layers": rows}


def _old_layers(last: Mapping[str, object]) -> dict[str, _Old]:
    """The layers of a summary; none where it is not as it should be."""
    out: dict[str, _Old] = {}
    rows = last.get("layers")
    for row in rows if isinstance(rows, list) else ():
        with contextlib.suppress(TypeError, ValueError):
            key, size, diff_id, blob, base = row
            out[str(key)] = _Old(size=int(size), diff_id=str(diff_id), blob=str(blob), base=bool(base))
    return out


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _grown(store: Store, layers: Sequence[BuiltLayer], old: Mapping[str, _Old]) -> tuple[Growth, ...]:
    """The files that grew most, in layers whose earlier index is still here."""
    out = []
    for key, layer in _keyed(layers):
        was = old.get(key)
        if layer.created_ns is None or was is None or was["diff_id"] == str(layer.diff_id):
            continue
        with contextlib.suppress(ImagesmithError):
            before = _sizes(store, Digest.parse(was["diff_id"]))
            now = _sizes(store, layer.diff_id)
            if before is None or now is None:
                continue
            out += [
                Growth(path=f"/{path}", step=layer.name, before=before.get(path, 0), now=size)
                for path, size in now.items()
                if size > before.get(path, 0)
            ]
    out.sort(key=lambda g: (g.before - g.now, g.path))
    return tuple(out[:_MOST_FILES])


def _sizes(store: Store, diff_id: Digest) -> dict[str, int] | None:
    """The sizes of a layer's files; None where its index is not here, and nothing is fetched for it."""
    layer = store.layers.layer(diff_id, None)
    if not (layer.folder / "index").exists():
        return None
    return {e.path: e.size for e in layer.entries() if e.kind == "f"}


class Outcome:
    """What the page says came out, and what failed where others went on; filled in where the build ends."""

    built: Sequence[tuple[str, BuildResult]] = ()
    failed: Sequence[ImagesmithError] = ()


@contextlib.contextmanager
def reporting(recorder: Recorder, requests: Sequence[BuildRequest], store: Store) -> Iterator[Outcome]:
    """Write the page of what is done in the `with`, also where it fails.

    Of several requests the page is the one that the first of them names which names one.

    Raises:
        ContextError: the file cannot be written.
    """
    from imagesmith.observe.reportpage import page

    outcome, errors = Outcome(), list[ImagesmithError]()
    names, titles = [_name(request) for request in requests], [_title(request) for request in requests]
    targets = [request.name for request in requests]
    try:
        yield outcome
    except ImagesmithError as e:
        errors.append(e)
        raise
    finally:
        title = ", ".join(target or title for target, title in zip(targets, titles, strict=True))
        report = recorder.finish(store, " ".join(names), outcome.built, title, [*errors, *outcome.failed])
        place = next(request.report for request in requests if request.report)
        put_file(place, page(report).encode(), "the report")


def _name(request: BuildRequest) -> str:
    """What a build is known by, from one time to the next."""
    name = " ".join([*map(str, request.tags)] or [str(Path(request.context).absolute()), request.target])
    return f"{name} {','.join(map(str, request.platforms))}"


def _title(request: BuildRequest) -> str:
    """What a build is called."""
    context = Path(request.context).absolute()
    return ", ".join(t.familiar for t in request.tags) or context.name or f"{context} {request.target}"
