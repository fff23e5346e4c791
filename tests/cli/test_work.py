"""work: a unit is read, chosen, done, and told of; its secrets are where this machine has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagesmith.bake.selection import Selection
from imagesmith.bake.target import Target
from imagesmith.cli import work
from imagesmith.embedded.registry import Registry
from tests.cli.conftest import Run
from tests.gitserver import git_server
from tests.web import repository


def unit(host: str, url: str, **more: Any) -> dict[str, Any]:
    definition = {"target": {"app": {"context": url, "output": [{"type": "image", "push": "true"}]}}}
    return {
        "version": 1, "target": "app", "platform": "linux/amd64", "push": [f"{host}/app"],
        "verdicts": f"{host}/cache", "definition": definition, **more,
    }  # fmt: skip


def test_a_unit_is_done_once(run: Run, tmp_path: Path) -> None:
    with git_server(tmp_path / "served") as server, Registry(tmp_path / "registry") as registry:
        repository(server.root / "app", {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "text"})
        place = tmp_path / "unit.json"
        place.write_text(json.dumps(unit(registry.host, server.url("app"))))
        said = run("work", "--insecure", "--verdict", str(tmp_path / "verdict"), str(place))
        verdict = json.loads((tmp_path / "verdict").read_text())
        assert verdict["pushed"]["digest"] in said
        assert verdict["executed"] == 1
        before = registry.host, run("tags", "--insecure", f"{registry.host}/cache")
        assert run("work", "--insecure", str(place)) == said
        assert before == (registry.host, run("tags", "--insecure", f"{registry.host}/cache"))


def test_a_unit_that_fails_tells_its_line(run: Run, tmp_path: Path) -> None:
    with git_server(tmp_path / "served") as server, Registry(tmp_path / "registry") as registry:
        repository(server.root / "app", {"Dockerfile": "FROM scratch\n\nCOPY nothing /f\n"})
        place, out = tmp_path / "unit.json", tmp_path / "verdict"
        place.write_text(json.dumps(unit(registry.host, server.url("app"))))
        run("work", "--insecure", "--verdict", str(out), str(place), status=5)
        verdict = json.loads(out.read_text())
        assert (verdict["status"], verdict["line"]) == (5, 3)
        run("work", "--insecure", "--always-zero", str(place))


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["none.json"], {}, "none.json: no such file"),
        (["units.json"], {}, "2 units"),
        (["--index", "7", "units.json"], {}, "7"),
        (["--among", "0,1", "units.json"], {"JOB_COMPLETION_INDEX": "5"}, "--among: 2 indexes"),
        (["units.json"], {"JOB_COMPLETION_INDEX": "x"}, "JOB_COMPLETION_INDEX=x: it is no number"),
    ],
)
def test_a_unit_that_is_not_there_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], environment: dict[str, str],
    said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    one = unit("r.example", "https://git.example/o/r.git")
    (tmp_path / "units.json").write_text(json.dumps({"units": [one, one]}))
    assert said in run("work", *words, status=2)


def test_secrets_are_where_this_machine_has_them(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    entries = ({"id": "token", "env": "TOKEN"}, {"id": "other", "src": "/o"})
    selection = Selection(targets={"a": Target(name="a", attributes={"secret": entries})}, groups={})
    found = work._with_secrets(selection, [f"id=token,src={tmp_path / 'token'}"])
    assert found.targets["a"].attributes["secret"] == (
        {"id": "token", "src": str(tmp_path / "token")}, {"id": "other", "src": "/o"},
    )  # fmt: skip
