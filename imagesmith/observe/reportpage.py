"""The page of --report: one HTML document with everything in it, drawn without scripts or network.

Why no script: the page is read in CI's artifact viewers, which forbid them; it is all HTML, CSS and SVG, and
says in a policy of its own that nothing may be loaded.
Trust: names of steps and files come from Dockerfiles and images; every one is escaped.
"""

from __future__ import annotations

import math
import time
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from imagesmith import __version__
from imagesmith.observe.failurepage import failures, logs
from imagesmith.observe.pagetext import size as _size
from imagesmith.observe.pagetext import text as _text

if TYPE_CHECKING:
    from imagesmith.observe.timeline import Bar, Growth, LayerLine, Report

__all__ = ["page"]

_STEPS = (1, 2, 5)


def page(report: Report) -> str:
    """The document."""
    template = Template(files("imagesmith.observe").joinpath("report.html").read_text("utf-8"))
    end, tick = _axis(report)
    failed = '<span><i style="background:var(--failed)"></i>failed</span>'
    return template.substitute(
        title=_text(report.title),
        state="failed" if report.error else "done",
        state_word="failed" if report.error else "built",
        sub=_sub(report),
        error=f'<p class="error">{_text(report.error)}</p>' if report.error else "",
        tiles="\n".join(_tiles(report)),
        grid=f"{100 * tick / end:.4f}%",
        failed_key=failed if any(b.state == "failed" for b in report.bars) else "",
        failures=failures(report),
        logs=logs(report),
        gantt="\n".join(_gantt(report, end, tick)),
        path=_path(report),
        layers=_layers(report.layers),
        grown=_grown(report),
        footer=f"written by imagesmith {_text(__version__)}",
    )


def _seconds(value: float) -> str:
    if value >= 100:
        return f"{int(value // 60)} min {int(value % 60)} s"
    return f"{value:.1f} s" if value >= 0.95 else f"{1000 * value:.0f} ms"


def _delta(now: float, before: float | None, shown: str) -> str:
    """A difference to the last build: more is worse."""
    if before is None:
        return ""
    if shown.startswith("0 ") or now == before:
        return "<small>as last time</small>"
    kind, sign = ("up", "+") if now > before else ("down", "−")
    return f'<small class="{kind}">{sign}{shown}</small>'


def _sub(report: Report) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(report.at_s))
    parts = [_text(report.platform), at]
    parts += [f"<code>{_text(digest)}</code>" for digest in report.digests]
    return " · ".join(p for p in parts if p)


def _tiles(report: Report) -> list[str]:
    steps = [b for b in report.bars if b.is_step]
    cached = sum(b.state == "cached" for b in steps)
    moved = sum(b.size for b in report.bars if not b.is_step)
    path = sum(b.seconds for b in report.path)
    time_delta = _delta(
        report.seconds, report.last_seconds, _seconds(abs(report.seconds - (report.last_seconds or 0)))
    )
    size_delta = _delta(report.size, report.last_size, _size(abs(report.size - (report.last_size or 0))))
    return [
        _tile(_seconds(report.seconds), "in all", time_delta),
        _tile(
            _seconds(path), "critical path", f"<small>{len(report.path)} of {len(report.bars)} bars</small>"
        ),
        _tile(
            f"{cached} of {len(steps)}",
            "steps from the cache",
            f"<small>{len(steps) - cached} executed</small>",
        ),
        _tile(_size(report.size), "image, compressed", size_delta)
        if report.layers
        else _tile("none", "image, compressed", ""),
        _tile(_size(moved), "moved", "<small>to and from registries</small>"),
    ]


def _tile(value: str, name: str, more: str) -> str:
    return f'<div class="card tile"><span>{name}</span><b>{value}</b>{more}</div>'


# --- the timeline ------------------------------------------------------------------------------


def _axis(report: Report) -> tuple[float, float]:
    """The length of the time axis and of one of its steps, in seconds."""
    end = max([report.seconds, 0.01, *(b.ended_s for b in report.bars)])
    rough = end / 6
    power = 10.0 ** math.floor(math.log10(rough))
    tick = next((s * power for s in _STEPS if s * power >= rough), 10 * power)
    return end * 1.005, tick


def _gantt(report: Report, end: float, tick: float) -> list[str]:
    count = int(end / tick) + 1
    ticks = [
        f'<span{_seldom(n, count)} style="left:{100 * n * tick / end:.3f}%">{_tick(n * tick, tick)}</span>'
        for n in range(count)
        if n * tick / end < 0.985
    ]
    out = [f'<div></div><div class="axis">{"".join(ticks)}</div><div></div>']
    out += [_row(b, end) for b in report.bars]
    return out


def _seldom(n: int, count: int) -> str:
    """Of the marks of the axis a narrow page shows every second one, or of more than five every fourth."""
    return ' class="odd"' if n % 2 else ' class="second"' if n % 4 and count > 5 else ""


def _tick(at: float, tick: float) -> str:
    digits = max(0, -math.floor(math.log10(tick) + 1e-9))
    return f"{at:.{digits}f} s"


def _split(name: str) -> tuple[str, str]:
    """`[builder 2/3] RUN x` as place and instruction."""
    head, bracket, text = name.partition("] ")
    return (head.removeprefix("["), text) if bracket and head.startswith("[") else ("", name)


def _row(b: Bar, end: float) -> str:
    place, text = _split(b.name)
    kinds = ["bar", b.state, *(["move"] if not b.is_step else []), *(["critical"] if b.critical else [])]
    left, width = 100 * b.began_s / end, 100 * max(b.seconds, 0) / end
    shown = _seconds(b.seconds)
    if b.state == "cached":
        shown = '<span class="cached-word">cached</span>'
    elif b.state in ("failed", "stopped"):
        shown = f"{b.state}"
    tip = f"{b.name}\n{_seconds(b.seconds)}" + (f", {_size(b.size)}" if b.size else "")
    if b.source not in ("", "store"):
        tip += f"\nfrom the cache {b.source}"
    return (
        f'<div class="r" title="{_text_lines(tip)}">'
        f'<div class="name"><code>{_text(text)}</code><span class="at">{_text(place)}</span></div>'
        f'<div class="lane"><div class="{" ".join(kinds)}"'
        f' style="left:min({left:.3f}%, calc(100% - 8px));width:{width:.3f}%"></div></div>'
        f'<div class="time">{shown}</div></div>'
    )


def _text_lines(value: str) -> str:
    return "&#10;".join(_text(line) for line in value.split("\n"))


def _path(report: Report) -> str:
    rows = []
    for b in report.path:
        place, text = _split(b.name)
        share = 100 * b.seconds / report.seconds if report.seconds else 0
        rows.append(
            f'<tr><td><code>{_text(text)}</code></td><td class="at">{_text(place)}</td>'
            f'<td class="num">{"cached" if b.state == "cached" else _seconds(b.seconds)}</td>'
            f'<td class="num">{share:.0f}%</td></tr>'
        )
    if not rows:
        return '<p class="none">Nothing was done.</p>'
    head = '<tr><th>Step</th><th>Stage</th><th class="num">Time</th><th class="num">Of the build</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


# --- layers ------------------------------------------------------------------------------------


def _layers(layers: tuple[LayerLine, ...]) -> str:
    if not layers:
        return '<p class="none">There is no image.</p>'
    most = max(1, *(layer.size for layer in layers))
    rows = [_layer(layer, most) for layer in layers]
    head = (
        '<tr><th>Made by</th><th>Size</th><th class="num">Bytes</th><th class="hit">Cache</th>'
        '<th class="num">Since the last build</th></tr>'
    )
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _layer(layer: LayerLine, most: int) -> str:
    place, text = _split(layer.name)
    stage = f" <small>{_text(place)}</small>" if "/" in place.partition(" ")[0] and " " in place else ""
    width = max(0.4, 100 * layer.size / most)
    change = '<small class="up">new</small>' if layer.is_new else ""
    if layer.before is not None:
        change = _delta(layer.size, layer.before, _size(abs(layer.size - layer.before)))
    bigger = layer.is_new or (layer.before is not None and layer.size > layer.before)
    mark = ' class="new"' if bigger else ""
    hit = {"": "", "store": "hit"}.get(layer.hit, f"hit, {_text(layer.hit)}")
    return (
        f"<tr><td><code>{_text(text)}</code>{stage}</td>"
        '<td class="size"><svg viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{width:.2f}" height="12" rx="1"{mark}/></svg></td>'
        f'<td class="num">{_size(layer.size)}</td><td class="hit">{hit}</td>'
        f'<td class="num">{change}</td></tr>'
    )


def _grown(report: Report) -> str:
    if report.last_size is None:
        return '<p class="none">No earlier build of this name wrote a report here.</p>'
    if not report.grown:
        return '<p class="none">No file that can be compared became larger.</p>'
    rows = "".join(map(_growth, report.grown))
    head = (
        '<tr><th>File</th><th>In</th><th class="num">Before</th><th class="num">Now</th>'
        '<th class="num">More</th></tr>'
    )
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _growth(g: Growth) -> str:
    _, text = _split(g.step)
    return (
        f"<tr><td><code>{_text(g.path)}</code></td><td><code>{_text(text)}</code></td>"
        f'<td class="num">{_size(g.before) if g.before else "new"}</td><td class="num">{_size(g.now)}</td>'
        f'<td class="num up">+{_size(g.now - g.before)}</td></tr>'
    )
