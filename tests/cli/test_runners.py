"""What GitHub shows beside the lines of a Dockerfile, and that nothing else is a command to it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from imagesmith.cli.lines import harmless, harmless_json
from imagesmith.cli.runners import path_of, remark
from imagesmith.request import BuildRequest
from tests.support import IMAGESMITH

BAD = "FROM scratch as base\nFROM base\nCOPY missing /##[add-mask]x\n"


def build(
    folder: Path, text: str, *words: str, name: str = "sub/Dockerfile"
) -> subprocess.CompletedProcess[str]:
    """A build of the folder `sub` in a job of GitHub's."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return subprocess.run(
        [*IMAGESMITH, "build", "--root", str(folder / "store"), *words],
        capture_output=True, text=True, cwd=folder, check=False,
        env={**os.environ, "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(folder)},
    )  # fmt: skip


def commands(text: str) -> list[str]:
    """The commands in a log."""
    return [line for line in text.splitlines() if line.strip().startswith("::")]


@pytest.mark.slow
def test_a_failed_line_and_the_warnings_are_shown_at_their_lines(tmp_path: Path) -> None:
    done = build(tmp_path, BAD, "sub")
    assert done.returncode == 5
    warning, error = commands(done.stderr)
    assert warning.startswith(
        "::warning file=sub/Dockerfile,line=1,endLine=1,title=FromAsCasing::FromAsCasing: 'as' and 'FROM'"
    )
    assert error == (
        "::error file=sub/Dockerfile,line=3,endLine=3,title=build failed::"
        'failed to compute cache key: "/missing": not found'
    )
    assert "##[" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: failed to compute cache key")


@pytest.mark.slow
def test_checks_and_parse_errors_are_shown_too_but_json_is_left_alone(tmp_path: Path) -> None:
    done = build(tmp_path, BAD, "--check", "-f", "sub/Dockerfile", "sub")
    (warning,) = commands(done.stderr)
    assert warning.startswith("::warning file=sub/Dockerfile,line=1,")
    assert not commands(done.stdout)
    assert "##[" not in done.stdout
    done = build(tmp_path, "FROM scratch\nRUNN x\n", "sub")
    assert done.returncode == 3
    assert [line.partition("::dockerfile")[0] for line in commands(done.stderr)] == [
        "::error file=sub/Dockerfile,line=2,endLine=2,title=build failed"
    ]
    done = build(tmp_path, BAD, "--progress", "rawjson", "sub")
    assert not commands(done.stderr)
    assert "##[" not in done.stderr


def test_what_is_in_a_remark_ends_neither_it_nor_its_place() -> None:
    said = remark("error", "100%\n::x::y\r", file="a:b,c%/D", line=1, title="t:1,2\n")
    assert said == "::error file=a%3Ab%2Cc%25/D,line=1,endLine=1,title=t%3A1%2C2::100%25 ::x::y\n"
    assert remark("warning", "x") == "::warning ::x\n"


def test_paths_are_those_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/Dockerfile").write_text("")
    monkeypatch.chdir(tmp_path / "a")
    assert path_of(BuildRequest(context="b"), "Dockerfile") == "b/Dockerfile"
    assert path_of(BuildRequest(context=".", dockerfile="b/Dockerfile"), "b/Dockerfile") == "b/Dockerfile"
    assert path_of(BuildRequest(context="https://host/x.git"), "Dockerfile") == ""
    assert path_of(BuildRequest(context="b", dockerfile="-"), "Dockerfile") == ""
    assert remark("error", "x", file="b/Dockerfile", line=2).startswith("::error file=a/b/Dockerfile,line=2")
    assert remark("error", "x", file="/etc/x", line=2).startswith("::error file=/etc/x,line=2")


def test_json_stays_the_same_and_lines_outside_of_a_ci_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    value = {"##[x]": ["##vso[y]", "##", ["##"], "#[", "::error::"]}
    text = harmless_json(json.dumps(value))
    assert json.loads(text) == value
    assert "##[x" not in text
    assert "##vso[" not in text
    for name in ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD"):
        monkeypatch.delenv(name, raising=False)
    assert harmless("::error::##[x]") == "::error::##[x]"
    monkeypatch.setenv("CI", "1")
    assert harmless("::error::##[x]") == ": :error::# #[x]"
    assert harmless("a::b # x ##") == "a::b # x ##"
