"""`imagesmith config` tells which defaults hold, where each is from, and every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagesmith.cli.main import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "imagesmith").mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["config", *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_places_are_told_where_nothing_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = told(capsys)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "project: no imagesmith.toml here or above, up to the repository's root",
        f"user: no {here}/imagesmith/imagesmith.toml",
    ]


def test_defaults_are_told_with_their_places(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = here / "imagesmith/imagesmith.toml"
    mine.write_text('[build]\npush = true\ntarget = "a"\nprogress = "tty"\n[cache.prune]\nall = true\n')
    (here / "project/imagesmith.toml").write_text('[build]\ntarget = "b"\nlabel = ["a=1", "b=2"]\n')
    monkeypatch.setenv("BUILDKIT_PROGRESS", "plain")
    status, out, err = told(capsys)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "project: imagesmith.toml",
        f"user: {mine}",
        "  build --target=b  # imagesmith.toml:2",
        "  build --label=a=1  # imagesmith.toml:3",
        "  build --label=b=2  # imagesmith.toml:3",
        f"  build --push  # {mine}:2",
        f"  build --target=a  # {mine}:3; imagesmith.toml:2 counts",
        f"  build --progress=tty  # {mine}:4; BUILDKIT_PROGRESS counts",
        f"  cache prune --all  # {mine}:6",
    ]
    document = json.loads(told(capsys, "--json")[1])
    assert [f["kind"] for f in document["files"]] == ["project", "user"]
    assert document["defaults"][1] == {
        "command": "build", "flag": "label", "value": ["a=1", "b=2"], "file": "imagesmith.toml", "line": 3,
    }  # fmt: skip
    assert [d.get("instead") for d in document["defaults"]] == [
        None, None, None, "imagesmith.toml:2", "BUILDKIT_PROGRESS", None,
    ]  # fmt: skip
    assert document["mistakes"] == []


def test_secrets_are_not_shown(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = here / "imagesmith/imagesmith.toml"
    mine.write_text(
        '[push]\npassword = "hush"\nusername = "me"\nregistry-token = "hush"\ncreds = "me:hush"\n'
    )
    for words in ((), ("--json",)):
        status, out, err = told(capsys, *words)
        assert status == 0
        assert "me" in out
        assert "hush" not in out + err


def test_every_mistake_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = here / "imagesmith/imagesmith.toml"
    mine.write_text("[build]\npsuh = true\n[images]\nnothing = 1\n[cache]\nall = true\n[nothing]\n")
    (here / "project/imagesmith.toml").write_text('[build]\npush = true\n"a\\u001b[31m" = true\n')
    status, out, err = told(capsys)
    assert status == 2
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert [e.split(": ")[1] for e in errors] == [
        "imagesmith.toml:2", "imagesmith.toml:1", f"{mine}:7", f"{mine}:2", f"{mine}:4", f"{mine}:6",
    ]  # fmt: skip
    assert "\x1b" not in out + err
    assert json.loads(told(capsys, "--json")[1])["mistakes"][0].endswith("a project's file may not give it")


def test_a_value_of_several_lines_makes_no_line_of_its_own(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "project/imagesmith.toml").write_text('[build]\nlabel = "a=b\\nuser: /nowhere"\n')
    assert "  build --label=a=b user: /nowhere  # imagesmith.toml:2" in told(capsys)[1].splitlines()


def test_variable_is_told(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGESMITH_CONFIG", "")
    assert told(capsys)[1] == "IMAGESMITH_CONFIG is empty: no file of defaults is read\n"
    monkeypatch.setenv("IMAGESMITH_CONFIG", str(here / "other.toml"))
    (here / "other.toml").write_text("")
    assert told(capsys)[1] == f"IMAGESMITH_CONFIG: {here}/other.toml\n"
