"""What is attested of an image and does not go along with it: one line says so, and none where all goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from imagesmith.cli.main import main
from tests.cli.conftest import Run

Said = Callable[[str], list[str]]
AS_THEY_WERE = "left out what is attested of it, which is about the images as they were"
KEPT = (
    "left out what is attested of the image: a copy of the whole index keeps it, "
    "copy --referrers takes it along"
)


@pytest.fixture
def said(run: Run, context: Path, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> Said:
    """Runs a line beside `a:1`, which is attested, and `p:1`, which is not; returns what it says is left."""
    for name, words in (("a:1", ("--provenance", "mode=min")), ("p:1", ())):
        run("build", "-q", "-t", name, "--platform", "linux/amd64", *words, str(context))
    (tmp_path / "f.tar").write_bytes(bytes(1024))

    def said(line: str) -> list[str]:
        capfdbinary.readouterr()
        assert main(line.split()) == 0, capfdbinary.readouterr().err.decode()
        lines = capfdbinary.readouterr().err.decode().splitlines()
        return [
            text.partition("left out")[1] + text.partition("left out")[2]
            for text in lines
            if "left out" in text
        ]

    return said


CHANGES = [
    "mutate NAME -l a=b -t store:x",
    "flatten NAME -t store:x",
    "append f.tar -b NAME -t store:x",
    "rebase NAME --platform linux/amd64 --old-base p:1 --new-base p:1 -t store:x",
    "copy -f docker store:NAME oci:x",
    "copy -f docker store:NAME store:x",
]
ALONE = [
    "save --format docker --platform linux/amd64 -o x.tar NAME",
    "save --format oci --platform linux/amd64 -o x.tar NAME",
    "copy store:NAME docker-archive:x.tar",
    "copy --platform linux/amd64 store:NAME store:x",
    "copy --platform linux/amd64 store:NAME oci:x",
    "push --platform linux/amd64 NAME oci:x",
]
WHOLE = [
    "mutate NAME -t store:x",
    "save --format oci -o x.tar NAME",
    "copy store:NAME oci:x",
    "copy -f oci store:NAME oci:x",
    "copy --platform linux/amd64,linux/amd64 store:NAME oci:x",
    "copy --platform linux/amd64 --referrers store:NAME oci:x",
]


@pytest.mark.parametrize(
    ("line", "told"),
    [(line, [text]) for lines, text in ((CHANGES, AS_THEY_WERE), (ALONE, KEPT)) for line in lines]
    + [(line, []) for line in WHOLE],
)  # fmt: skip
def test_it_is_told_in_one_line_where_something_stays(said: Said, line: str, told: list[str]) -> None:
    assert said(line.replace("NAME", "p:1")) == []
    assert said(line.replace("NAME", "a:1")) == told


def test_images_that_become_others_leave_their_index_without_what_was_said(said: Said, run: Run) -> None:
    assert said("copy -f docker store:a:1 oci:x:1") == [AS_THEY_WERE]
    shown = json.loads(run("inspect", "--raw", "oci:x:1"))
    assert [m["platform"]["os"] for m in shown["manifests"]] == ["linux"]
    run("validate", "oci:x:1")


def test_a_docker_archive_takes_no_referrers(run: Run, image: str) -> None:
    text = run("copy", "--referrers", "store:app:1", "docker-archive:x.tar", status=2)
    assert "--referrers: a docker archive holds images only" in text
