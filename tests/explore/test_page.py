"""The page: whole, harmless, bounded, and without overflow or collisions in a browser."""

from __future__ import annotations

import html
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from imagesmith.explore.instructions import Instruction
from imagesmith.explore.model import Exploration, explore
from imagesmith.explore.page import page
from imagesmith.explore.treemap import divided, largest_folders
from imagesmith.store.store import Store
from tests.explore.conftest import explored, opened
from tests.support import need_program

HOSTILE = '"><script>alert(1)</script><img src=x onerror=y>\x1b[31m\u202e'
LAYERS = (
    {"usr/": b"", "usr/lib/": b"", "a": b"1" * 900}
    | {f"usr/lib/l{n}": b"x" * (50 + 37 * n) for n in range(70)},
    {"usr/bin/": b"", "usr/bin/t": b"x" * 5000, "srv/": b"", "srv/" + "long" * 40: b"y" * 4000},
    {"a": b"2" * 3000, "usr/lib/.wh.l3": b"", "w" * 200: b"z" * 700},
)


def model_of(store: Store) -> Exploration:
    files = opened(store, *LAYERS)
    line = Instruction(
        file="Dockerfile", first=2, last=4, text="RUN make \\\n  " + "word " * 40 + "\\\n  x" * 3
    )
    return explore(files, {str(files.layers[1][1].digest): line})


class Tags(HTMLParser):
    """The tags of a document, and those of its attributes that lead anywhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.events: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value or "")
            if key in ("href", "src"):
                self.links.add(value or "")
            if key.startswith("on"):
                self.events.add(key)


def test_page_loads_nothing_and_leads_only_to_its_own_maps(store: Store) -> None:
    text = page(model_of(store), "app:1")
    tags = Tags(text)
    assert not tags.tags & {"script", "img", "link", "iframe", "object", "form", "base"}
    assert len(tags.ids) == len(set(tags.ids))
    assert {link.removeprefix("#") for link in tags.links} <= set(tags.ids)
    assert "#f0" in tags.links
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|url\(|@import|expression", text)


def test_hostile_words_are_text(store: Store) -> None:
    model = explored(
        store,
        {"f/": b"", f"f/{HOSTILE.replace('/', '|')}": b"x" * 9},
        {"f/.wh..wh..opq": b"", HOSTILE.replace("/", "!"): b"y"},
    )
    model.config["config"]["Labels"] = {HOSTILE: HOSTILE}
    model.config["history"][0]["created_by"] = HOSTILE
    text = page(model, HOSTILE)
    tags = Tags(text)
    assert not tags.tags & {"script", "img"}
    assert tags.events == set()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("&lt;script&gt;") >= 5


def test_config_of_any_shape_is_shown(store: Store) -> None:
    model = explored(store, {"f": b"x"})
    model.config["config"] = {
        "Env": ["A=b", 5], "Cmd": ["a", "b c"], "Labels": {"k": "v", "n": 1}, "ExposedPorts": {"80/tcp": {}},
        "Volumes": [], "Odd": {"a": [1]},
    }  # fmt: skip
    model.config["history"] = [
        "x",
        {"created_by": None},
        {"created": "2001-01-01T00:00:00Z", "empty_layer": True},
    ]
    text = html.unescape(page(model, "x"))
    for part in ("A=b<br>5", '["a", "b c"]', "k=v<br>n=1", "80/tcp</code>", "a=[1]", "2001-01-01 00:00:00"):
        assert part in text
    for broken in ({}, {"config": 5, "history": 7}):
        model.config.clear()
        model.config.update(broken)
        assert "The config is empty." in page(model, "x")


def test_image_without_files(store: Store) -> None:
    text = page(explored(store, {"d/": b""}), "x")
    assert "No file of the image has a byte." in text
    assert "Nothing: the image shows every byte" in text


def test_page_is_bounded_and_says_what_is_left_out(store: Store) -> None:
    many = {f"d{n}/": b"" for n in range(300)} | {
        f"d{n % 300}/f{n}": b"x" * (1 + n % 50) for n in range(3000)
    }
    model = explored(store, many, {f"d{n}/.wh..wh..opq": b"" for n in range(150)})
    text = page(model, "x")
    assert len(text) < 3_000_000
    assert "41 folders are drawn, the largest; 110 small files and folders are drawn together" in text
    assert "150 names without bytes are not drawn" in text
    assert "more rows are left out." in text
    folders = largest_folders(model, most=3, names=3)
    assert next(iter(folders)) == ""
    assert len(folders) == 3
    assert [p.count for p in folders[""].pieces] == [1, 1, 1, 147]
    assert sum(p.size for p in folders[""].pieces) == folders[""].size == model.shown


@pytest.mark.parametrize("sizes", [[1], [5, 3, 1], [1] * 50, [10**9, 1], list(range(100, 0, -1))], ids=str)
@pytest.mark.parametrize("ratio", [0.3, 1.0, 1.8])
def test_rectangles_fill_the_whole_and_are_as_large_as_their_numbers(sizes: list[int], ratio: float) -> None:
    rects = divided(sizes, ratio)
    total = sum(sizes)
    assert len(rects) == len(sizes)
    for size, r in zip(sizes, rects, strict=True):
        assert abs(r.w * r.h - size / total) < 1e-6
        assert -1e-9 <= r.x <= r.x + r.w <= 1 + 1e-6
        assert -1e-9 <= r.y <= r.y + r.h <= 1 + 1e-6
    for n, a in enumerate(rects):
        for b in rects[:n]:
            apart = (
                a.x + a.w <= b.x + 1e-6
                or b.x + b.w <= a.x + 1e-6
                or a.y + a.h <= b.y + 1e-6
                or b.y + b.h <= a.y + 1e-6
            )
            assert apart


#: Tells, of the page in a frame, how wide it is, which cells' words overlap, and what colours it has.
_MEASURE = """
const out = [];
for (const frame of document.querySelectorAll('iframe')) {
  const doc = frame.contentDocument, win = frame.contentWindow, bad = [];
  const boxes = [];
  for (const e of doc.querySelectorAll('h1, .sub, .tile > *, .head > *, th, td, .path, .rest, .area > .p')) {
    const r = e.getBoundingClientRect();
    if (!r.width || !r.height) continue;
    const text = e.textContent.slice(0, 40), map = e.matches('.area > .p');
    if (r.right > win.innerWidth + 0.5 || r.left < -0.5) bad.push('outside: ' + text);
    if (!map && e.scrollWidth > e.clientWidth + 1 && e.clientWidth) bad.push('cut: ' + text);
    boxes.push([r, e]);
  }
  for (let i = 0; i < boxes.length; i++) for (let j = 0; j < i; j++) {
    const [a, x] = boxes[i], [b, y] = boxes[j];
    if (x.contains(y) || y.contains(x)) continue;
    const across = a.left < b.right - 1.5 && b.left < a.right - 1.5;
    if (across && a.top < b.bottom - 1.5 && b.top < a.bottom - 1.5)
      bad.push('collide: ' + x.textContent.slice(0, 30) + ' | ' + y.textContent.slice(0, 30));
  }
  const style = win.getComputedStyle(doc.body);
  out.push({wide: doc.documentElement.scrollWidth, inner: win.innerWidth, bad: bad.slice(0, 9),
            page: style.backgroundColor,
            maps: [...doc.querySelectorAll('.map')].filter(m => m.getBoundingClientRect().height).length,
            boxes: boxes.length});
}
document.body.textContent = JSON.stringify(out);
"""


@pytest.mark.slow
@pytest.mark.parametrize(("dark", "background"), [(False, "rgb(246, 247, 249)"), (True, "rgb(16, 19, 24)")])
def test_browser_finds_no_overflow_and_no_collision(
    store: Store, tmp_path: Path, dark: bool, background: str
) -> None:
    chromium = need_program("chromium")
    text = html.escape(page(model_of(store), "registry.example.com/" + "team/" * 12 + "app:1"))
    frames = "".join(
        f'<iframe srcdoc="{text}" style="width:{w}px;height:900px;border:0"></iframe>' for w in (400, 1280)
    )
    (tmp_path / "x.html").write_text(
        f"<meta charset=utf-8><meta name=color-scheme content='light dark'><body>{frames}"
        f"<script>window.onload = () => {{ {_MEASURE} }}</script>"
    )
    dark_words = ["--blink-settings=preferredColorScheme=0"] if dark else []
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1400,2000", "--dump-dom", *dark_words,
    ]  # fmt: skip
    done = subprocess.run(
        [*command, (tmp_path / "x.html").as_uri()], check=True, capture_output=True, timeout=120
    )
    body = re.search(r"<body>(\[.*\])", html.unescape(done.stdout.decode()))
    assert body is not None, done.stdout[-500:]
    for found, width in zip(json.loads(body[1]), (400, 1280), strict=True):
        assert found["inner"] == width
        assert found["bad"] == []
        assert found["wide"] <= width
        assert found["page"] == background
        assert found["maps"] == 1
        assert found["boxes"] > 60
