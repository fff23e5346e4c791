from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imagesmith.events import nobody
from imagesmith.image.reproduce import Original, Report, epoch_of, reproduce
from imagesmith.oci.model import Manifest
from imagesmith.request import BuildRequest
from imagesmith.session import run_build
from imagesmith.settings import Settings
from imagesmith.store.store import Store
from imagesmith.transports.layout import LayoutFolder
from tests.kitchen import NOWHERE, Kitchen
from tests.support import IMAGESMITH, PROJECT

FIXTURE = PROJECT / "fixtures" / "conformance" / "reproduce"
FILE = "FROM scratch\nCOPY d /d\nCOPY g /g\nENV a=b\n"


@pytest.fixture
def made(kitchen: Kitchen) -> Kitchen:
    """A kitchen that has built an image into `image`, a layout beside its context."""
    kitchen.write({"d/one": "1234567890", "d/two": "two", "d/l": "-> one", "g": "text"})
    (kitchen.context / "Dockerfile").write_text(FILE)
    kitchen.build(
        build_args={"SOURCE_DATE_EPOCH": "1100000000"},
        outputs=[f"type=oci,tar=false,dest={kitchen.root.parent / 'image'},rewrite-timestamp=true"],
    )
    return kitchen


def _again(kitchen: Kitchen, **words: object) -> Report:
    settings = Settings(root=kitchen.root)
    with Store(settings.root) as store:
        source = LayoutFolder(kitchen.root.parent / "image", "")
        manifest = Manifest.parse(source.document(source.root()))
        original = Original(source, manifest, source.document(manifest.config))
        request = BuildRequest(context=str(kitchen.context), **words)  # type: ignore[arg-type]  # as the caller says
        return reproduce(
            original, request, store, lambda wanted: run_build(wanted, settings, NOWHERE, nobody).image
        )


def test_the_same_sources_make_the_same_image(made: Kitchen) -> None:
    report = _again(made)
    assert (report.equal, report.epoch, report.layers, report.config) == (True, 1100000000, (), ())


def _byte(folder: Path) -> None:
    (folder / "d/one").write_text("12345X7890")


def _size(folder: Path) -> None:
    (folder / "d/one").write_text("12345678901")


def _mode(folder: Path) -> None:
    (folder / "d/one").chmod(0o600)


def _name(folder: Path) -> None:
    (folder / "d/one").rename(folder / "d/uno")


def _gone(folder: Path) -> None:
    (folder / "d/two").unlink()


def _link(folder: Path) -> None:
    (folder / "d/l").unlink()
    (folder / "d/l").symlink_to("two")


def _time(folder: Path) -> None:
    os.utime(folder / "d/one", (77, 77))


def _kind(folder: Path) -> None:
    (folder / "d/two").unlink()
    (folder / "d/two").mkdir()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_byte, [("/d/one", "bytes, at 5", "'67890'", "'X7890'")]),
        (_size, [("/d/one", "size", "10", "11")]),
        (_mode, [("/d/one", "mode", "0644", "0600")]),
        (_name, [("/d/one", "entry", "file", "missing"), ("/d/uno", "entry", "missing", "file")]),
        (_gone, [("/d/two", "entry", "file", "missing")]),
        (_link, [("/d/l", "link", "one", "two")]),
        (_time, [("/d/one", "time", "1000000000", "77")]),
        (_kind, [("/d/two", "type", "file", "directory")]),
    ],
)
def test_a_change_of_the_context_is_named(
    made: Kitchen, change: Callable[[Path], None], found: list[tuple[str, ...]]
) -> None:
    change(made.context)
    for folder in (made.context / "d", made.context):
        os.utime(folder, (1_000_000_000, 1_000_000_000))
    report = _again(made)
    (layer,) = report.layers
    told = [d for d in layer.differences if d.field != "time" or change is _time]
    assert [(d.path, d.field, d.there, d.here) for d in told] == found
    assert (report.equal, layer.number, layer.made_by) == (False, 1, "COPY d /d # buildkit")


def test_changes_of_the_config_are_named(made: Kitchen) -> None:
    report = _again(made, labels={"x": "y"})
    assert (report.equal, report.layers) == (False, ())
    assert [(d.path, d.there, d.here) for d in report.config] == [("config.Labels", "missing", '{"x": "y"}')]


def test_a_layer_more_is_told(made: Kitchen) -> None:
    (made.context / "Dockerfile").write_text(FILE + "COPY g /more\n")
    report = _again(made)
    (layer,) = report.layers
    assert (layer.number, layer.there, layer.here is None) == (3, None, False)


def test_an_epoch_that_is_asked_for_counts_more_than_the_images(made: Kitchen) -> None:
    report = _again(made, build_args={"SOURCE_DATE_EPOCH": "5"})
    assert (report.epoch, report.equal) == (5, False)


def test_epoch_is_the_whole_second_of_the_config_where_layers_do_not_tell_it(made: Kitchen) -> None:
    source = LayoutFolder(made.root.parent / "image", "")
    manifest = Manifest.parse(source.document(source.root()))
    bare = Manifest.build(manifest.config, [])
    config = source.document(manifest.config)
    assert epoch_of(Original(source, bare, config)) == 1100000000
    ragged = config.replace(b'"created":"2004-11-09T11:33:20Z"', b'"created":"2004-11-09T11:33:20.5Z"')
    assert epoch_of(Original(source, bare, ragged)) is None


@pytest.mark.slow
def test_command_says_equal_for_an_image_that_buildkit_built(tmp_path: Path) -> None:
    context = tmp_path / "context"
    shutil.copytree(FIXTURE / "context", context)
    link = context / "src/deep/link"
    if not link.is_symlink():  # a checkout without links has its target as text
        link.unlink()
        link.symlink_to("data")
    for path in context.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.name == "tool" else 0o644)

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        words = [
            *IMAGESMITH,
            "reproduce",
            "--root",
            str(tmp_path / "store"),
            "--progress",
            "quiet",
            str(FIXTURE / "buildkit.tar"),
            str(context),
            *more,
        ]
        return subprocess.run(words, capture_output=True, text=True)

    said = run()
    assert (said.returncode, said.stdout.count("\n")) == (0, 1), said.stderr
    assert "equal" in said.stdout
    (context / "src/deep/data").write_text("Data\n")
    said = run()
    assert said.returncode == 10
    assert "/srv/deep/data: bytes, at 0: 'data\\n' there, 'Data\\n' here" in said.stdout
    assert "2 of 2 layers differ" in said.stderr
    document = json.loads(run("--json").stdout)
    assert [layer["number"] for layer in document["layers"]] == [1, 2]
    assert document["layers"][1]["differences"][0] == {
        "path": "/linked/data", "field": "bytes, at 0", "there": "'data\\n'", "here": "'Data\\n'",
    }  # fmt: skip
