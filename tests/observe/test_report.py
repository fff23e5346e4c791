"""--report: what the page says, and that a real browser shows it."""

from __future__ import annotations

import re
import struct
import subprocess
import zlib
from collections import Counter
from pathlib import Path

import pytest

from imagesmith.errors import ImagesmithError
from imagesmith.observe.report import critical_path
from imagesmith.observe.reportpage import page
from imagesmith.observe.timeline import Bar, Growth, LayerLine, Report
from imagesmith.values import replace
from tests.kitchen import Kitchen
from tests.support import need_program


def bar(number: int, began: float, ended: float, *needs: int, name: str = "", state: str = "ran") -> Bar:
    """A step."""
    return Bar(
        number=number, name=name or f"[s {number}/9] RUN {number}", began_s=began, ended_s=ended, state=state,
        needs=needs, is_step=True,
    )  # fmt: skip


def report(*bars: Bar, error: str = "", title: str = "example.com/app:1") -> Report:
    """A page's content."""
    return Report(
        title=title, digests=("sha256:" + "a" * 64,), platform="linux/amd64", error=error, at_s=1e9,
        seconds=10.0,
        bars=bars, path=tuple(b for b in bars if b.critical),
        layers=(
            LayerLine(name="base image (2 layers)", size=30_000_000, before=30_000_000, is_new=False),
            LayerLine(name="[2/3] RUN make", size=5_000_000, before=4_000_000, is_new=False),
        ),
        grown=(Growth(path="/lib/x.so", step="[2/3] RUN make", before=10, now=1_000_010),),
        last_seconds=12.0, last_size=34_000_000,
    )  # fmt: skip


# --- the critical path -------------------------------------------------------------------------


def test_critical_path_goes_through_the_need_that_ended_last() -> None:
    bars = [bar(1, 0, 1), bar(2, 0, 5), bar(3, 5, 6, 1, 2), bar(4, 1, 2, 1), bar(5, 6, 9, 3, 4)]
    assert critical_path(bars) == [2, 3, 5]


def test_what_has_no_known_need_waited_for_what_ended_before_it() -> None:
    bars = [bar(1, 0, 4), bar(2, 0, 3), bar(9, 4.001, 8)]
    assert critical_path(bars) == [1, 9]


def test_critical_path_of_nothing_and_of_instants_ends() -> None:
    assert critical_path([]) == []
    assert sorted(critical_path([bar(1, 0, 0), bar(2, 0, 0)])) in ([1, 2], [1], [2])


# --- what is in it -----------------------------------------------------------------------------


def test_page_of_several_platforms_is_about_all_of_them(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"amd64": "x" * 1000, "arm64": "y" * 1000, "same": "both"})
    text = "FROM scratch\nARG TARGETARCH\nCOPY same /same\nCOPY $TARGETARCH /f\n"
    built = kitchen.build(text, report=tmp_path / "b.html", platform="linux/amd64,linux/arm64")
    said = (tmp_path / "b.html").read_text()
    assert "linux/amd64, linux/arm64 · " in said
    assert f"<code>{built.digest}</code>" in said
    for platform, arch in {"linux/amd64": "amd64", "linux/arm64": "arm64"}.items():
        assert f"<code>COPY {arch} /f</code> <small>{platform} 2/2</small>" in said
    assert said.count("<code>COPY same /same</code> <small>") == 1


def test_page_of_a_build_names_its_steps_layers_and_what_grew(kitchen: Kitchen, tmp_path: Path) -> None:
    file = tmp_path / "build.html"
    text = "FROM scratch AS one\nCOPY a /a\nFROM scratch\nCOPY --from=one /a /b\nCOPY big /big\n"
    kitchen.write({"a": "alpha", "big": "x" * 1000})
    kitchen.build(text, report=file, tags=["x/app:1"])
    first = file.read_text()
    assert "No earlier build of this name wrote a report here." in first
    assert first.count('class="r"') == 3 + 4  # the steps; Dockerfile, .dockerignore, context and export
    assert "exporting to image" in first
    kitchen.write({"big": "y" * 50_000})
    kitchen.build(text, report=file, tags=["x/app:1"])
    second = file.read_text()
    assert "x/app:1" in second
    assert "2 of 3" in second
    assert second.count('class="cached-word">cached') == 2
    assert "<code>/big</code>" in second
    assert "+49.0 kB" in second


def test_failed_build_leaves_a_page_that_says_why(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"a": "x"})
    with pytest.raises(ImagesmithError):
        kitchen.build("FROM scratch\nCOPY a /a\nCOPY nothing /n\n", report=tmp_path / "build.html")
    text = (tmp_path / "build.html").read_text()
    assert 'class="state failed">failed<' in text
    assert "nothing&quot;: not found" in text


def test_page_that_cannot_be_written_is_an_error(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"a": "x"})
    with pytest.raises(ImagesmithError, match="cannot write the report"):
        kitchen.build("FROM scratch\nCOPY a /a\n", report=tmp_path / "none" / "build.html")


def test_names_of_steps_cannot_become_markup() -> None:
    evil = '[s 1/1] RUN echo "</code><script>alert(1)</script>\x1b[31m" \' $title'
    text = page(report(bar(1, 0, 1, name=evil), title="<img src=x>"))
    assert "<script" not in text
    assert "<img" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;" in text


def test_page_loads_nothing() -> None:
    text = page(report(bar(1, 0, 1)))
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|<link|<script|src=|url\(|@import", text)


def test_page_without_steps_is_a_page() -> None:
    assert "Nothing was done." in page(report())


# --- in a browser ------------------------------------------------------------------------------


def pixels(png: bytes) -> Counter[tuple[int, int, int]]:
    """How many pixels of each colour a PNG of 8 bits has."""
    assert png.startswith(b"\x89PNG")
    at, data, width, height, channels = 8, b"", 0, 0, 0
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert depth == 8
            channels = {2: 3, 6: 4}[colour]
        elif kind == b"IDAT":
            data += body
        at += length + 12
    raw, stride, counts = zlib.decompress(data), width * channels, Counter[tuple[int, int, int]]()
    above = bytearray(stride)
    for y in range(height):
        kind = raw[y * (stride + 1)]
        row = bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        _unfilter(kind, row, above, channels)
        for x in range(0, stride, channels * 2):
            counts[row[x], row[x + 1], row[x + 2]] += 1
        above = row
    return counts


def _unfilter(kind: int, row: bytearray, above: bytearray, n: int) -> None:
    for x in range(len(row)) if kind else ():
        a, b, c = (row[x - n] if x >= n else 0), above[x], (above[x - n] if x >= n else 0)
        if kind == 1:
            guess = a
        elif kind == 2:
            guess = b
        elif kind == 3:
            guess = (a + b) // 2
        else:
            p = a + b - c
            guess = min((a, b, c), key=lambda v: (abs(p - v), (a, b, c).index(v)))
        row[x] = (row[x] + guess) & 255


def _rgb(text: str) -> tuple[int, int, int]:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_browser_draws_the_bars_in_light_and_in_dark(tmp_path: Path, dark: bool) -> None:
    chromium = need_program("chromium")
    long = bar(1, 0, 6, name="[one 1/2] RUN " + "make " * 60)
    shown = report(
        replace(long, critical=True), bar(2, 0, 3), bar(3, 6, 6, 1, state="cached"),
        replace(bar(4, 6, 10, 1, state="failed"), critical=True),
    )  # fmt: skip
    text = page(replace(shown, layers=(), grown=()))
    (tmp_path / "build.html").write_text(text)
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1100,900",
        f"--screenshot={tmp_path / 'shot.png'}",
    ]  # fmt: skip
    if dark:
        command.append("--blink-settings=preferredColorScheme=0")
    subprocess.run(
        [*command, (tmp_path / "build.html").as_uri()], check=True, capture_output=True, timeout=120
    )
    counts = pixels((tmp_path / "shot.png").read_bytes())
    themes = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    colours = {k: _rgb(v) for k, v in re.findall(r"--([a-z]+): (#[0-9a-f]{6})", themes[dark])}
    assert counts.most_common(1)[0][0] in (colours["page"], colours["card"])
    for name in ("page", "card", "run", "critical", "failed"):
        assert counts[colours[name]] > 300, name
    # bars are as long as their times: 6 of the critical path against 3 beside it
    assert 1.7 < counts[colours["critical"]] / counts[colours["run"]] < 2.3
