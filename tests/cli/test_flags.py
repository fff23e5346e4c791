"""Flags that hold one of what could be several: none of them is dropped without a word."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from imagesmith.cli.flags import one_platform
from imagesmith.errors import UsageError
from tests.kitchen import Kitchen
from tests.support import IMAGESMITH


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*IMAGESMITH, *words], capture_output=True, text=True, env={**os.environ, **env}, check=False
    )


TWO = "--platform linux/amd64 --platform linux/arm64"
VERBS = (
    "pull busybox", "inspect busybox", "digest busybox", "reproduce x", "append x",
    "rebase x", "manifest get x", "attach x f", "referrers x", "export x", "diff x y", "index create x",
)  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        *(f"{verb} {TWO}" for verb in VERBS),
        f"run {TWO} busybox",
        "reproduce --platform linux/amd64,linux/arm64 x .",
        "pull --platform=linux/amd64 --quiet --platform linux/arm/v7 x",
    ],
)
def test_two_platforms_are_refused_in_one_line_where_one_is_worked_on(words: str) -> None:
    done = run(*words.split())
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "one platform at a time" in done.stderr


def test_platforms_of_the_environment_are_those_of_the_flag(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    words, two = ("build", "--root", str(tmp_path / "store")), "linux/amd64,linux/arm64"
    done = run(*words, "-o", f"type=oci,dest={tmp_path}/o", str(tmp_path), DOCKER_DEFAULT_PLATFORM=two)
    assert "exporting manifest list" in done.stderr
    done = run("reproduce", str(tmp_path / "o"), str(tmp_path), DOCKER_DEFAULT_PLATFORM=two)
    assert done.returncode == 2
    assert "one platform at a time" in done.stderr


def test_one_platform_may_be_named_twice() -> None:
    assert one_platform(["", "linux/amd64", "linux/amd64, linux/amd64,"]) == "linux/amd64"
    assert one_platform([""]) == ""
    with pytest.raises(UsageError, match="linux/amd64,linux/386: one platform"):
        one_platform(["linux/amd64", "linux/386"])


def test_no_cache_filter_takes_stages_with_commas_between_them(kitchen: Kitchen) -> None:
    kitchen.write({"f": "1\n", "Dockerfile": "FROM scratch AS a\nCOPY f /a\nFROM a AS b\nCOPY f /b\n"})
    words = ["build", "--root", str(kitchen.root), "--progress", "plain", str(kitchen.context)]
    run(*words)
    assert run(*words).stderr.count("CACHED") == 2
    assert run(*words, "--no-cache-filter", "a,B").stderr.count("CACHED") == 0
    assert run(*words, "--no-cache-filter", "b").stderr.count("CACHED") == 1
