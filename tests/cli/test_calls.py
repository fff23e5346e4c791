"""`imagesmith build --call`: what is printed, and the exit status."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support import IMAGESMITH

_DOCKERFILE = """\
# one is first
FROM scratch AS one
# V the version
ARG V=3
RUN --mount=type=secret,id=tok,required --mount=type=cache,target=/c --mount=type=ssh x
FROM scratch AS two
"""


def call(folder: Path, *flags: str, text: str = _DOCKERFILE) -> subprocess.CompletedProcess[str]:
    (folder / "Dockerfile").write_text(text)
    command = [*IMAGESMITH, "build", "--root", str(folder / "root"), *flags, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_targets_are_listed_with_their_descriptions(tmp_path: Path) -> None:
    lines = call(tmp_path, "--call", "targets").stdout.splitlines()
    assert lines == ["TARGET          DESCRIPTION", "one             is first", "two (default)"]


def test_an_outline_tells_what_the_target_takes(tmp_path: Path) -> None:
    document = json.loads(call(tmp_path, "--call", "outline,format=json", "--target", "one").stdout)
    assert [(a["name"], a["value"], a["description"]) for a in document["args"]] == [
        ("V", "3", "the version")
    ]
    assert [(s["name"], s["required"]) for s in document["secrets"]] == [("tok", True)]
    assert [s["name"] for s in document["ssh"]] == ["default"]
    assert [c["ID"] for c in document["cache"]] == ["/c"]


def test_an_outline_shows_the_value_that_was_given(tmp_path: Path) -> None:
    done = call(tmp_path, "--call", "outline", "--target", "one", "--build-arg", "V=4")
    assert "V           4       the version" in done.stdout


def test_a_check_shows_the_lines_and_ends_with_1(tmp_path: Path) -> None:
    done = call(tmp_path, "--check", text="FROM scratch\nCMD a\n")
    assert done.returncode == 1
    assert done.stdout.startswith(
        "Check complete, 1 warning has been found!\n\nWARNING: JSONArgsRecommended - "
    )
    assert "   2 | >>> CMD a\n" in done.stdout


def test_a_check_without_findings_says_so(tmp_path: Path) -> None:
    done = call(tmp_path, "--check", text="FROM scratch\n")
    assert (done.returncode, done.stdout) == (0, "Check complete, no warnings found.\n")


def test_a_check_tells_the_mistake_after_what_it_found_before(tmp_path: Path) -> None:
    done = call(tmp_path, "--call", "check,format=json", text="FROM scratch AS A\nRUM x\n")
    document = json.loads(done.stdout)
    assert [w["ruleName"] for w in document["warnings"]] == ["StageNameCasing"]
    assert "unknown instruction: RUM (did you mean RUN?)" in document["buildError"]["message"]
    assert done.returncode == 1


@pytest.mark.parametrize("what", ["nonsense", "check,format=xml", "check,x"])
def test_a_call_that_is_not_known_is_a_usage_error(what: str, tmp_path: Path) -> None:
    done = call(tmp_path, "--call", what)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --call ")
