"""explore: a summary, JSON, a page and limits; the terminal view has tests of its own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.cli.explore import configure
from imagesmith.cli.explore import run as explore
from imagesmith.errors import Different
from imagesmith.store.store import Store
from tests.cli.conftest import Run
from tests.registry.images import make_image
from tests.support import IMAGESMITH, PROJECT

LAYERS = ({"a": b"1" * 600, "b": b"2" * 200}, {"a": b"3" * 150, ".wh.b": b""}, {"c": b"4" * 50})


@pytest.fixture
def files(tmp_path: Path, run: Run) -> str:
    del run
    with Store(tmp_path / "store") as store:
        make_image(store, "files:1", layers=LAYERS)
    return "files:1"


def test_summary(run: Run, files: str) -> None:
    lines = run("explore", files).splitlines()
    assert lines[0] == "docker.io/library/files:1 linux/amd64"
    assert "in 3 layers, 1.0 kB unpacked, 800 B of it wasted, efficiency 20.0%" in lines[1]
    assert lines[3].split() == ["layer", "size", "unpacked", "wasted", "+", "~", "-", "made", "by"]
    assert lines[4].split()[3:] == ["800", "B", "800", "B", "2", "0", "0", "layer", "0"]
    assert lines[5].split()[3:] == ["150", "B", "0", "B", "0", "1", "1", "layer", "1"]
    assert lines[-2:] == ["    600 B  /a  overwritten by layer 2", "    200 B  /b  removed by layer 2"]


def test_json_has_the_numbers(run: Run, files: str) -> None:
    found = json.loads(run("explore", "--json", files))
    assert (found["unpacked"], found["shown"], found["wasted"], found["efficiency"]) == (1000, 200, 800, 0.2)
    assert [x["wasted"] for x in found["layers"]] == [800, 0, 0]
    assert found["hidden"][0] == {
        "path": "/a", "size": 600, "copies": 1, "layers": [1], "by": 2, "fate": "overwritten",
    }  # fmt: skip
    assert found["config"]["config"]["Env"] == ["A=b"]
    assert "limits" not in found


def judged(capfdbinary: pytest.CaptureFixture[bytes], *words: str) -> tuple[list[str], str]:
    """The verdicts, and what is said of the whole; empty where all limits are kept."""
    parser = argparse.ArgumentParser()
    configure(parser)
    capfdbinary.readouterr()
    said = ""
    try:
        assert explore(parser.parse_args(["--ci", *words])) == 0
    except Different as e:
        said = e.message
    sys.stdout.flush()
    lines = capfdbinary.readouterr().out.decode().splitlines()
    return [line for line in lines if line.startswith(("ok ", "FAIL "))], said


def test_limits(files: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert judged(capfdbinary, "--max-wasted", "800", "--max-wasted-percent", "80", files) == (
        ["ok   wasted bytes: 800 B, at most 800 B", "ok   wasted share: 80%, at most 80%"], "",
    )  # fmt: skip
    assert judged(capfdbinary, "--max-wasted", "799", "--max-wasted-percent", "79.9%", files) == (
        ["FAIL wasted bytes: 800 B, at most 799 B", "FAIL wasted share: 80%, at most 79.9%"],
        "files:1 breaks 2 of 2 limits",
    )
    lines, said = judged(capfdbinary, "--max-size", "1", "--lowestEfficiency", "0.2", files)
    assert said == "files:1 breaks 1 of 2 limits"
    assert lines[0].startswith("FAIL size: ")
    assert lines[1] == "ok   efficiency: 0.2, at least 0.2"
    dives = (
        "--highestWastedBytes",
        "1k",
        "--highestUserWastedPercent",
        "0",
        "--lowestEfficiency",
        "disabled",
    )
    assert judged(capfdbinary, *dives, files)[1] == ""


def test_limits_that_are_usual(run: Run, files: str) -> None:
    assert "files:1 breaks 1 of 2 limits" in run("explore", "--ci", files, status=10)
    words = ("--lowestEfficiency", "0.1", "--highestUserWastedPercent", "0.1")
    assert "share wasted above the lowest layer: 0, at most 0.1" in run("explore", "--ci", *words, files)


def test_limits_in_json(run: Run, files: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    run("explore", "--json", "--ci", "--max-wasted", "0", files, status=10)
    parser = argparse.ArgumentParser()
    configure(parser)
    capfdbinary.readouterr()
    with pytest.raises(Different):
        explore(parser.parse_args(["--json", "--ci", "--max-wasted", "0", files]))
    sys.stdout.flush()
    found = json.loads(capfdbinary.readouterr().out)
    assert found["limits"] == [
        {"name": "wasted bytes", "unit": "bytes", "found": 800, "limit": 0, "kept": False}
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-size", "1"], "limits are judged with --ci alone"),
        (["--ci", "--max-size", "much"], "--max-size: invalid size"),
        (["--ci", "--lowestEfficiency", "1.5"], "expected a number from 0 to 1"),
        (["--ci", "--max-wasted-percent", "nan"], "expected a number from 0 to 100"),
        (["--html", "/nowhere/x.html"], "/nowhere"),
    ],
    ids=" ".join,
)
def test_refusals(run: Run, files: str, words: list[str], said: str) -> None:
    assert said in run("explore", *words, files, status=2)


def test_page_is_written(run: Run, files: str, tmp_path: Path) -> None:
    assert run("explore", "--html", "x.html", files) == ""
    assert "<title>files:1" in (tmp_path / "x.html").read_text()
    assert "in 3 layers" in run("explore", "--html", "x.html", "--ci", "--max-wasted", "900", files)


def test_line_of_the_dockerfile_is_told(run: Run, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM scratch\n\n# one\nCOPY f /f\nCOPY f \\\n  /g\n")
    run("build", "-q", "-t", "lines:1", "--provenance", "mode=max", str(context))
    out = run("explore", "--plain", "lines:1")
    assert "Dockerfile:4: COPY f /f\n" in out
    assert "Dockerfile:5: COPY f \\ /g\n" in out
    run("build", "-q", "-t", "lines:2", str(context))
    assert "  COPY f /f\n" in run("explore", "--plain", "lines:2")


def test_terminal_without_textual_says_how_to_get_it(files: str, tmp_path: Path) -> None:
    """In a terminal, with an interpreter that finds no textual."""
    program = (
        "import pty, sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'textual' else find(name, *a)\n"
        "from imagesmith.cli.main import main\n"
        f"sys.exit(main(['explore', '--root', {str(tmp_path / 'store')!r}, {files!r}]))\n"
    )
    spawn = f"import pty, sys; sys.exit(pty.spawn([sys.executable, '-c', {program!r}]) >> 8)"
    done = subprocess.run(
        [IMAGESMITH[0], "-c", spawn], capture_output=True, text=True, cwd=PROJECT, timeout=60
    )
    assert done.returncode == 2
    assert "pip install 'imagesmith[explore]'" in done.stdout
    assert "hint: --plain, --html FILE, --json and --ci work without it" in done.stdout


def test_view_ends_with_its_terminal(files: str, tmp_path: Path) -> None:
    """Also where it is not the terminal's own session, and so nobody hangs it up."""
    words = ["explore", "--root", str(tmp_path / "store"), files]
    ours, theirs = os.openpty()
    view = subprocess.Popen(
        [*IMAGESMITH, *words], stdin=theirs, stdout=theirs, stderr=theirs, cwd=PROJECT,
        env={**os.environ, "TERM": "xterm-256color"}, start_new_session=True,
    )  # fmt: skip
    try:
        os.close(theirs)
        seen = b""
        while b"Layers" not in seen:
            seen += os.read(ours, 1 << 16)
        os.close(ours)
        view.wait(60)
    finally:
        view.kill()
        view.wait()
