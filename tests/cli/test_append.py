"""append: tar files as layers on an image, or on nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.registry.images import layer_tar


def test_layer_lies_on_top_of_the_base(run: Run, image: str, tmp_path: Path) -> None:
    (tmp_path / "l.tar").write_bytes(layer_tar({"new": b"n"}))
    run("append", "l.tar", "-b", "app:1", "-t", "store:more:1")
    report = json.loads(run("inspect", "more:1"))
    assert report["History"] == ["layer 0", "layer 1", "imagesmith append l.tar"]
    assert len(report["Layers"]) == 3
    assert run("diff", "--only", "files", "app:1", "more:1", status=10).startswith("error: ")


def test_image_of_nothing_but_layers(
    run: Run, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1100000000")
    (tmp_path / "l.tar").write_bytes(layer_tar({"new": b"n"}))
    words = ("append", "l.tar", "l.tar", "--platform", "linux/arm64", "-t")
    made = run(*words, f"{host}/t/only:1")
    assert made == run(*words, f"{host}/t/only:2")
    asked = "{{.Architecture}} {{.Created}} {{len .Layers}}"
    assert run("inspect", "--platform", "linux/arm64", "-f", asked, f"{host}/t/only:1") == (
        "arm64 2004-11-09T11:33:20Z 2\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the result needs a name"),
        (["-b", "app:1", "--platform", "linux/arm64"], "--platform is for an image without a base"),
        (["-t", "store:x"], "l.tar"),
    ],
)
def test_what_cannot_be_appended_is_told(run: Run, image: str, words: list[str], said: str) -> None:
    assert said in run("append", "l.tar", *words, status=2)
