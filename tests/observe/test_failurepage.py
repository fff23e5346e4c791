"""The page of a build that failed: lines, output and logs, whatever they hold; and axes on narrow screens."""

from __future__ import annotations

import html
import itertools
import json
import re
import subprocess
from pathlib import Path

import pytest

from imagesmith.errors import DockerfileError
from imagesmith.events import Event, Log, StepFailedEvent, StepStarted
from imagesmith.observe.report import Recorder, excerpt
from imagesmith.observe.reportpage import page
from imagesmith.observe.steplogs import StepLogs, Written
from imagesmith.observe.timeline import Failure
from imagesmith.store.store import Store
from imagesmith.values import replace
from tests.kitchen import Kitchen
from tests.observe.test_report import bar, report
from tests.support import need_program

HOSTILE = b'\x1b[31m<script>alert(1)</script>\x1b]0;title\x07 & "x"\x00\x7f\xff\n'


# --- output ------------------------------------------------------------------------------------


def written(*pieces: bytes) -> Written:
    logs = StepLogs()
    for piece in pieces:
        logs.add(1, piece)
    return logs.of(1)


def test_lines_are_as_a_terminal_shows_them_in_the_end() -> None:
    assert written(b"a\r\n10%\r20%\r100%\nb", b"c\n\n\td").lines == ("a", "100%", "bc", "", "\td")
    assert written(HOSTILE).lines == ('<script>alert(1)</script> & "x"\ufffd',)
    assert written().lines == ()
    assert written(b"x" * 5000).lines == ("x" * 2000 + "…",)


def test_of_much_the_beginning_and_the_end_are_kept() -> None:
    lines = [b"%06d\n" % n for n in range(200_000)]
    found = written(*lines)
    assert found.lines[0] == "000000"
    assert found.lines[-1] == "199999"
    assert len(found.lines) <= 10_000
    assert 1_000_000 < found.missing < 1_400_000
    assert int(found.lines[found.head]) > int(found.lines[found.head - 1]) + 1
    many = written(b"\n" * 100_000)
    assert len(many.lines) == 10_000
    assert many.missing


def test_all_logs_together_are_bounded() -> None:
    logs = StepLogs()
    for step in range(100):
        logs.add(step, b"x" * 250_000)
    assert logs._size <= 8 << 20
    assert not logs.of(0).lines
    assert logs.of(99).lines


# --- the page ----------------------------------------------------------------------------------


def test_a_failure_has_its_lines_its_hint_and_its_output() -> None:
    log = Written(lines=tuple(f"line {n} <i>" for n in range(1, 101)))
    failed = Failure(
        message="m",
        hint="do <this>",
        file="Docker<file",
        lines=((3, "RUN <a>", True), (4, "", False)),
        log=log,
    )
    said = page(replace(report(bar(1, 0, 1, state="failed"), error="m"), failures=(failed,)))
    assert "hint: do &lt;this&gt;" in said
    assert "<h3>Docker&lt;file:3</h3>" in said
    assert '<span class="ln bad"><i>3</i><b>RUN &lt;a&gt;</b></span><span class="ln"><i>4</i>' in said
    shown = said.split("The last 30 lines of its output")[1]
    assert shown.split("</pre>")[0].count("line ") == 30
    assert "all of it, 100 lines</summary>" in shown
    assert said.count("line 1 &lt;i&gt;") == 1
    assert "<i>\n" not in said


def test_several_failures_have_their_messages() -> None:
    found = tuple(Failure(message=f"why {n}") for n in range(3))
    said = page(replace(report(error="why 0"), failures=found))
    assert [f'<p class="error">why {n}</p>' in said for n in range(3)] == [True] * 3
    assert "What failed" not in page(replace(report(error="m"), failures=(Failure(message="m"),)))
    assert "What failed" not in page(report())


def test_every_step_has_a_log_and_all_are_bounded() -> None:
    big = Written(lines=("y" * 1000,) * 1000)
    rows = [(bar(n, n, n + 1, name=f"[s {n}/40] RUN <{n}>"), big) for n in range(40)]
    rows[30] = (replace(rows[30][0], state="failed"), Written(lines=("why",), head=1, missing=3000))
    said = page(replace(report(), logs=tuple(rows)))
    assert len(said) < 3_400_000
    assert re.findall(r"RUN &lt;(\d+)&gt;</code><span>s \d+/40</span>", said) == [str(n) for n in range(40)]
    assert 'class="failed"><summary>' in said
    assert 'why\n<span class="gap">… 3.0 kB are left out …</span></pre>' in said
    assert "<section" not in said.split("Logs</h2>")[0].split("</header>")[0]


def test_lines_around_a_mistake() -> None:
    source = "\n".join(f"line {n}" for n in range(1, 31)) + "\n"
    found = excerpt(DockerfileError("x").located("D", 10, 11, source))
    assert [n for n, _, _ in found] == list(range(5, 17))
    assert [n for n, _, marked in found if marked] == [10, 11]
    assert excerpt(DockerfileError("x").located("D", 30, 30, source))[-1] == (30, "line 30", True)
    assert excerpt(DockerfileError("x").located("D", 1, 30_000, "y\n" * 30_000))[-1][0] < 100
    assert excerpt(DockerfileError("x")) == ()


def test_what_a_recorder_saw_is_in_the_report(tmp_path: Path) -> None:
    told: list[Event] = []
    recorder = Recorder(told.append)
    error = DockerfileError("bad", hint="h").located("D", 2, 2, "FROM a\nRUN b\n")
    recorder(StepStarted(step=1, name="[1/2] RUN a"))
    recorder(Log(step=1, stream=1, data=b"fine\n"))
    recorder(StepStarted(step=2, name="[2/2] RUN b"))
    recorder(Log(step=2, stream=2, data=HOSTILE))
    recorder(StepFailedEvent(step=2, name="[2/2] RUN b", error="bad"))
    with Store(tmp_path / "store") as store:
        found = recorder.finish(store, "n", (), "t", [error])
    [failed] = found.failures
    assert (failed.message, failed.hint, failed.file) == ("bad", "h", "D")
    assert failed.lines == ((1, "FROM a", False), (2, "RUN b", True))
    assert failed.log is not None
    assert failed.log.lines == ('<script>alert(1)</script> & "x"\ufffd',)
    assert [(b.number, log.lines[0][:4]) for b, log in found.logs] == [(1, "fine"), (2, "<scr")]
    assert "<script" not in page(found)


def test_page_of_a_build_that_fails_shows_its_dockerfile(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="not found"):
        kitchen.build("FROM scratch\nCOPY nothing /\n", report=tmp_path / "b.html")
    said = (tmp_path / "b.html").read_text()
    assert '<span class="ln bad"><i>2</i><b>COPY nothing /</b></span>' in said


# --- in a browser ------------------------------------------------------------------------------

_MEASURE = """<script>
onload = () => document.title = JSON.stringify([...document.querySelectorAll('iframe')].map(frame => {
  const page = frame.contentDocument;
  const boxes = [...page.querySelectorAll('.axis span')].map(e => e.getBoundingClientRect());
  return [page.documentElement.scrollWidth, boxes.filter(b => b.width).map(b => [b.left, b.right])];
}));
</script>"""


@pytest.mark.slow
def test_labels_of_the_axis_do_not_meet_and_nothing_is_wider_than_the_page(tmp_path: Path) -> None:
    long = "x" * 3000
    log = Written(lines=(long, "y"), head=1, missing=10)
    failed = Failure(message=long, hint=long, file=long, lines=((12345, long, True),), log=log)
    wanted, frames = [], ""
    for width, seconds in ((w, s) for w in (400, 530, 730, 1280) for s in (0.0099, 3.9, 6.1, 590)):
        shown = report(bar(1, 0, seconds, name=f"[s 1/1] RUN {long}", state="failed"), error=long, title=long)
        logs = ((shown.bars[0], log),)
        shown = replace(shown, seconds=seconds, failures=(failed, failed), logs=logs, layers=(), grown=())
        wanted.append((width, seconds))
        frames += f'<iframe srcdoc="{html.escape(page(shown))}" width="{width}" frameborder="0"></iframe>'
    (tmp_path / "p.html").write_text(f"<title></title><body>{frames}{_MEASURE}")
    done = subprocess.run(
        [need_program("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
         f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "p.html").as_uri()],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title
    told = json.loads(html.unescape(title[1]))
    assert len(told) == len(wanted)
    for (width, seconds), (wide, axis) in zip(wanted, told, strict=True):
        assert wide <= width
        assert len(axis) >= 2
        assert min(after[0] - before[1] for before, after in itertools.pairwise(axis)) > 3, (width, seconds)
