"""The site: it is made without a warning, links lead somewhere, and pages fit on a phone and on a desk."""

from __future__ import annotations

import html
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import PROJECT, lacking, need_program

#: How wide pages are looked at, in CSS pixels.
WIDTHS = (400, 1280)
MEASURE = """
const found = [];
function wide(view) {
  const root = view.document.scrollingElement, out = [];
  for (const e of view.document.querySelectorAll('article *')) {
    const box = e.getBoundingClientRect();
    const inside = e.closest('pre, .table-wrapper');
    if (box.right > view.innerWidth + 1 && !inside) out.push(e.outerHTML.slice(0, 90));
  }
  for (const e of view.document.querySelectorAll('.table-wrapper')) {
    if (e.scrollWidth > e.clientWidth + 1) out.push(e.textContent.slice(0, 90));
  }
  return [root.scrollWidth, view.innerWidth, out.slice(0, 3)];
}
const colours = view => [getComputedStyle(view.document.body).backgroundColor,
                         getComputedStyle(view.document.body).color];
addEventListener('load', () => {
  for (const frame of document.querySelectorAll('iframe')) {
    const view = frame.contentWindow, body = view.document.body, seen = {page: frame.name};
    for (const theme of ['light', 'dark']) {
      body.dataset.theme = theme;
      seen[theme] = {size: wide(view), colours: colours(view)};
    }
    seen.foreign = [...view.document.querySelectorAll('script[src], link[rel=stylesheet], img')]
      .map(e => e.src || e.href).filter(url => !url.startsWith('file:'));
    found.push(seen);
  }
  document.body.innerHTML = '<pre id=found></pre>';
  document.getElementById('found').textContent = JSON.stringify(found);
});
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, made as anybody makes them, without a network."""
    for module in ("sphinx", "myst_parser", "furo"):
        if importlib.util.find_spec(module) is None:
            lacking(f"{module} is not installed")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(PROJECT / "docs", folder / "docs", ignore=shutil.ignore_patterns("reference", "out"))
    for name in ("SECURITY.md", "CHANGELOG.md"):
        shutil.copy(PROJECT / name, folder)
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", "out"],
        cwd=folder, env=os.environ | nowhere | {"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "out"


def test_every_extra_for_users_is_told() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    page = (PROJECT / "docs/install.md").read_text()
    told = set(re.findall(r"^\| `imagesmith\[(\w+)\]` \|", page, re.MULTILINE))
    assert told == set(project["optional-dependencies"]) - {"test", "peers"}


@pytest.mark.slow
def test_every_page_is_on_the_site(site: Path) -> None:
    from imagesmith.plugins import COMMANDS

    pages = {p.relative_to(PROJECT / "docs").with_suffix("") for p in (PROJECT / "docs").rglob("*.md")}
    made = {p.relative_to(site).with_suffix("") for p in site.rglob("*.html")}
    assert {p for p in pages if "reference" not in p.parts} <= made
    assert {Path("reference/commands") / name for name in COMMANDS} <= made
    index = (site / "index.html").read_text()
    for page in ("tour", "reference/commands", "migrate/kaniko", "security"):
        assert f'href="{page}.html"' in index


@pytest.mark.slow
def test_reference_shows_what_the_code_says(site: Path) -> None:
    from imagesmith.cli import reference

    build = html.unescape(re.sub(r"<[^>]+>", "", (site / "reference/commands/build.html").read_text()))
    page = next(page for page in reference.commands() if page.name == "build")
    for flag in page.flags:
        assert all(name in build for name in flag.names)
        assert flag.help.replace("`", "") in build
    statuses = (site / "reference/statuses.html").read_text()
    assert all(f"<p>{row.status}</p>" in statuses for row in reference.statuses())


@pytest.mark.slow
def test_library_page_has_every_public_name(site: Path) -> None:
    import imagesmith

    text = (site / "library.html").read_text()
    names = [name for name in dir(imagesmith) if name[0] != "_" and callable(getattr(imagesmith, name))]
    assert [name for name in names if f'id="imagesmith.{name}"' not in text] == []


@pytest.mark.slow
def test_pages_fit_in_light_and_in_dark(site: Path, tmp_path: Path) -> None:
    chromium = need_program("chromium")
    pages = [p for p in sorted(site.rglob("*.html")) if "commands" not in p.parts and p.name[:2] != "py"]
    pages += [site / "reference/commands/build.html", site / "reference/commands/index.html"]
    frames = [
        f'<iframe name="{p.relative_to(site)} {width}" src="{p.as_uri()}" width={width} height=800></iframe>'
        for p in pages
        for width in WIDTHS
    ]
    (site / "measure.html").write_text(f"<body>{''.join(frames)}<script>{MEASURE}</script></body>")
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=30000", "--dump-dom",
         (site / "measure.html").as_uri()],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert text is not None, done.stderr[-2000:]
    found = json.loads(html.unescape(text[1]))
    assert len(found) == len(frames)
    wide = [
        (seen["page"], theme, seen[theme]["size"])
        for seen in found
        for theme in ("light", "dark")
        if seen[theme]["size"][0] > seen[theme]["size"][1] or seen[theme]["size"][2]
    ]
    assert wide == []
    assert {tuple(seen["foreign"]) for seen in found} == {()}
    for seen in found:
        assert seen["light"]["colours"][0] != seen["dark"]["colours"][0]
        for theme in ("light", "dark"):
            paper, ink = (_brightness(colour) for colour in seen[theme]["colours"])
            assert abs(paper - ink) > 120, seen


def _brightness(colour: str) -> float:
    """Of `rgb(…)`, from 0 to 255."""
    red, green, blue = (float(n) for n in re.findall(r"[\d.]+", colour)[:3])
    return 0.3 * red + 0.59 * green + 0.11 * blue
