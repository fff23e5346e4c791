"""pull: from a registry into the store, this machine's platform unless told."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Run


def test_image_has_its_name_here(run: Run, host: str, image: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    there = ("--root", "s2")
    assert run("pull", *there, f"docker://{host}/t/app:1") == f"{image}\n"
    assert run("digest", *there, f"store:{host}/t/app:1") == f"{image}\n"
    assert run("validate", *there, f"store:{host}/t/app:1").startswith("valid: 1 manifests, 2 blobs")


def test_image_by_digest_has_no_tag_here(run: Run, host: str, image: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    assert json.loads(run("pull", "--json", "--root", "s2", f"{host}/t/app@{image}"))["digest"] == image
    (row,) = json.loads(run("images", "--json", "--root", "s2"))
    assert row["digest"] == image
    assert row["name"] == f"{host}/t/app@{image}"


@pytest.mark.parametrize(
    ("words", "here"),
    [
        (["--platform", "linux/arm64"], "linux/arm64"),
        (["--platform", "linux/amd64"], "linux/amd64"),
        (["--all"], "linux/amd64,linux/arm64"),
    ],
)
def test_platforms_that_were_asked_for_are_here(
    run: Run, host: str, index: str, words: list[str], here: str
) -> None:
    run("push", "multi:1", f"{host}/t/multi:1")
    assert run("pull", "--root", "s2", *words, f"{host}/t/multi:1") == f"{index}\n"
    (row,) = json.loads(run("images", "--json", "--root", "s2"))
    assert row["platform"] == here


def test_all_and_one_platform_exclude_each_other(run: Run) -> None:
    assert "not allowed with" in run("pull", "--all", "--platform", "linux/arm64", "a/b", status=2)
