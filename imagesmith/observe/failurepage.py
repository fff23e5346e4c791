"""The parts of the report page that tell why a build failed, and what each step wrote.

Why folded: a build of fifty steps writes more than anybody reads; what failed is open, the rest a line each.
It is HTML's own folding, for the page has no scripts.
Trust: output and lines of Dockerfiles are others'; see pagetext.text. The page is bounded: what failed comes
first, and of what is too much the end is kept.
"""

from __future__ import annotations

from imagesmith.observe.pagetext import size, text
from imagesmith.observe.steplogs import Written
from imagesmith.observe.timeline import Bar, Failure, Report

__all__ = ["failures", "logs"]

#: So many of the last lines of what failed are shown unfolded.
_LAST = 30
#: So many characters of output the whole page has, and each folded log.
_ALL, _EACH = 3 << 20, 256 << 10


def failures(report: Report) -> str:
    """The section of what failed; empty where nothing did, or its message is all that is known."""
    found = [_failure(f, several=len(report.failures) > 1) for f in report.failures]
    if not any(found):
        return ""
    return (
        '<section class="card failure"><div class="head"><h2>What failed</h2></div>'
        f"{''.join(found)}</section>"
    )


def _failure(f: Failure, *, several: bool) -> str:
    out = [f'<p class="error">{text(f.message)}</p>'] if several else []
    if f.hint:
        out.append(f'<p class="hint">hint: {text(f.hint)}</p>')
    if f.lines:
        rows = "".join(
            f'<span class="ln{" bad" if marked else ""}"><i>{n}</i><b>{text(line[:1000]) or " "}</b></span>'
            for n, line, marked in f.lines
        )
        first = next((number for number, _, marked in f.lines if marked), f.lines[0][0])
        place = f"{f.file or 'Dockerfile'}:{first}"
        out.append(f'<h3>{text(place)}</h3><pre class="source">{rows}</pre>')
    if f.log is not None and f.log.lines:
        last = f.log.lines[-_LAST:]
        whole = len(last) == len(f.log.lines) and not f.log.missing
        said = "Output" if whole else f"The last {len(last)} lines of its output"
        out.append(f'<h3>{said}</h3><pre class="tail">{_pre(Written(lines=last))}</pre>')
        if not whole:
            out.append(
                f"<details><summary>all of it, {_count(f.log)}</summary><pre>{_pre(f.log)}</pre></details>"
            )
    return "".join(out)


def logs(report: Report) -> str:
    """The section with a log for every step that wrote anything; empty where none did."""
    if not report.logs:
        return ""
    left, rows = _ALL, list[tuple[float, str]]()
    for bar, log in sorted(report.logs, key=lambda row: row[0].state != "failed"):
        shown = _end_of(log, min(left, _EACH))
        left -= sum(map(len, shown.lines))
        rows.append((bar.began_s, _log(bar, log, shown)))
    rows.sort(key=lambda row: row[0])
    return (
        '<section class="card"><div class="head"><h2>Logs</h2>'
        '<span class="sub">what each step wrote</span></div>'
        f"{''.join(row for _, row in rows)}</section>"
    )


def _log(bar: Bar, log: Written, shown: Written) -> str:
    head, bracket, rest = bar.name.partition("] ")
    place, name = (head.removeprefix("["), rest) if bracket and head.startswith("[") else ("", bar.name)
    kind = f' class="{bar.state}"' if bar.state in ("failed", "stopped") else ""
    return (
        f"<details{kind}><summary><code>{text(name[:300])}</code><span>{text(place)}</span>"
        f"<span>{_count(log)}</span></summary><pre>{_pre(shown)}</pre></details>"
    )


def _end_of(log: Written, most: int) -> Written:
    """As much of the end of a log as has so many characters."""
    if sum(map(len, log.lines)) <= most:
        return log
    kept = 0
    for n, line in enumerate(reversed(log.lines)):
        kept += len(line)
        if kept > most:
            left = sum(len(line) + 1 for line in log.lines[: len(log.lines) - n])
            return Written(lines=log.lines[len(log.lines) - n :], missing=log.missing + left)
    return log


def _count(log: Written) -> str:
    if log.missing:
        return f"more than {len(log.lines)} lines"
    return f"{len(log.lines)} line{'s' * (len(log.lines) != 1)}"


def _pre(log: Written) -> str:
    lines = [text(line) for line in log.lines]
    if log.missing:
        lines.insert(log.head, f'<span class="gap">… {size(log.missing)} are left out …</span>')
    return "\n".join(lines)
