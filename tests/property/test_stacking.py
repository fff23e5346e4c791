"""COPY's view, a merged extraction, an overlay of trees and one of EROFS images show the same files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.support import PROJECT, need_root

Row = dict[str, Any]
Show = Callable[[list[list[Row]]], dict[str, Any]]


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Show]:
    """Ask the program that stacks layers."""
    need_root()
    folder = tmp_path_factory.mktemp("stacking")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.property.stacking", str(folder)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, cwd=PROJECT,
    ) as process:  # fmt: skip
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def ask(layers: list[list[Row]]) -> dict[str, Any]:
            stdin.write(json.dumps(layers) + "\n")
            stdin.flush()
            answer: dict[str, Any] = json.loads(stdout.readline())
            return answer

        yield ask
        stdin.close()


names = st.sampled_from(["a", "b", "c"])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
targets = st.sampled_from(
    ["a", "b", "c/a", "../a", "/b", "/a/b", ".", "..", "/", "../../c", "b/../c", "gone"]
)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """One entry of a layer, anywhere in the tar."""
    kind = draw(st.sampled_from("ffffdddlllwwohc"))
    row: Row = {"path": draw(paths), "kind": kind, "mtime_ns": draw(st.integers(1, 9)) * 10**9}
    if kind not in "wol":
        row["mode"] = draw(st.sampled_from([0o755, 0o644, 0o2775, 0o1777, 0o4711]))
        row["uid"], row["gid"] = draw(st.sampled_from([(0, 0), (7, 8), (0, 8)]))
    if kind == "f":
        row["data"] = draw(st.sampled_from(["one", "two", ""]))
    elif kind == "l":
        row["link"] = draw(targets)
    elif kind == "h":
        row["link"] = draw(paths)
    elif kind == "c":
        row["rdev"] = [1, 3]
    return row


def f(path: str, data: str = "x") -> Row:
    return {"path": path, "kind": "f", "data": data}


def d(path: str, mode: int = 0o755) -> Row:
    return {"path": path, "kind": "d", "mode": mode, "uid": 5}


def e(kind: str, path: str, link: str = "") -> Row:
    return {"path": path, "kind": kind, "link": link}


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(layers=st.lists(st.lists(rows(), max_size=7), min_size=1, max_size=4))
@example([[d("t", 0o700), f("t/a"), d("t/d"), f("t/d/x")], [e("o", "t"), f("t/new"), f("t/d/y")]])
@example([[d("t"), e("l", "t/l", "real"), f("t/f"), d("t/real", 0o700)], [f("t/l/in"), f("t/f/in")]])
@example([[d("t"), d("t/real"), e("l", "t/sl", "real")], [d("t/sl"), f("t/sl/b")]])
@example([[d("a"), d("a/b"), f("a/b/x")], [e("l", "a/c", "b"), f("a/c/y")]])
@example([[f("a"), e("h", "b", "a"), f("a", "new")], [e("h", "c", "b"), e("w", "b")]])
@example([[d("a"), f("a/x")], [e("w", "a")], [f("a/y")]])
@example([[e("l", "a", "b"), d("b"), f("b/x")], [e("o", "a")], [e("w", "a/x")]])
@example([[f("a/b")], [e("l", "b", "."), f("a/a"), e("o", "b")]])
@example([[f("a/b/c"), f("a/b", "file"), d("a/b"), f("a/b/d")]])
@example([[d("t", 0o2775), f("t/a")], [e("w", "t/a"), e("w", "u/v")]])
@example([[f("a/a")], [e("h", "a/a", "a/a")]])
def test_every_way_to_stack_layers_shows_the_same(show: Show, layers: list[list[Row]]) -> None:
    told = show(layers)
    assume("refused" not in told)
    assert "failed" not in told, told
    for name in ("flat", "merged", "overlay", "erofs"):
        assert told[name] == told["view"], name


def test_folder_that_a_layer_only_implies_has_what_is_below(show: Show) -> None:
    lower = [d("t", 0o2750), e("l", "t/l", "real"), f("t/f"), d("t/real", 0o700)]
    told = show([lower, [f("t/l/in"), f("t/f/in"), f("t/new/in")]])["overlay"]
    assert [row[:4] for row in told if row[1] == "d"] == [
        ["t", "d", "0o2750", 5], ["t/f", "d", "0o755", 0], ["t/l", "d", "0o700", 5],
        ["t/new", "d", "0o755", 0], ["t/real", "d", "0o700", 5],
    ]  # fmt: skip
