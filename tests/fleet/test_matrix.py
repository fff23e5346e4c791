"""Matrices: what they say of units, what a CI refuses, and the workflow files of docs/ci that use them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagesmith.errors import UsageError
from imagesmith.fleet.matrix import GITHUB_JOBS, WORKER_FILE, matrix_of
from imagesmith.fleet.units import Unit
from imagesmith.oci.codec import dumps
from tests.fleet.support import unit
from tests.support import PROJECT, need_program

PLACES = [f"registry.example/cache@sha256:{n}" + "0" * 63 for n in range(4)]
CI = PROJECT / "docs" / "ci"


def waves() -> list[tuple[str, list[Unit]]]:
    """Two waves: a shared stage for two platforms, and what needs it."""
    base = [unit("base", platform, stage="deps") for platform in ("linux/amd64", "linux/arm64")]
    rest = [unit("app", "linux/arm/v7"), unit("app", "linux/amd64", base[0])]
    return [(PLACES[0], base), (PLACES[1], rest)]


def test_github_has_a_matrix_a_wave() -> None:
    found = matrix_of(waves())
    assert list(found) == ["waves", "wave0", "wave1"]
    assert found["waves"] == 2
    assert found["wave0"]["include"][1] == {
        "name": "base deps linux/arm64", "target": "base", "stage": "deps", "platform": "linux/arm64",
        "arch": "arm64", "place": PLACES[0], "index": 1,
    }  # fmt: skip
    assert [(row["place"], row["index"], row["arch"]) for row in found["wave1"]["include"]] == [
        (PLACES[1], 0, "arm"), (PLACES[1], 1, "amd64")
    ]  # fmt: skip


def test_a_wave_of_more_jobs_than_github_allows_is_cut() -> None:
    many = [unit(f"t{n}") for n in range(GITHUB_JOBS + 3)]
    found = matrix_of([(PLACES[0], many), (PLACES[1], [unit()])])
    assert [len(found[f"wave{n}"]["include"]) for n in range(found["waves"])] == [GITHUB_JOBS, 3, 1]
    rows = [row for n in range(2) for row in found[f"wave{n}"]["include"]]
    assert [row["index"] for row in rows] == list(range(GITHUB_JOBS + 3))


def test_gitlab_has_a_pipeline() -> None:
    found = matrix_of(waves(), "gitlab")
    assert found["include"] == [{"local": WORKER_FILE}]
    assert found["stages"] == ["wave0", "wave1"]
    assert found["app linux/amd64"] == {
        "stage": "wave1", "extends": ".imagesmith-amd64",
        "variables": {"IMAGESMITH_PLACE": PLACES[1], "IMAGESMITH_INDEX": "1"},
    }  # fmt: skip
    assert len(found) == 6
    assert yaml.safe_load(dumps(found)) == found  # JSON that GitLab reads as YAML
    assert matrix_of(waves(), "gitlab", "ci/x.yml")["include"] == [{"local": "ci/x.yml"}]


def test_gitlabs_jobs_have_names_of_their_own_that_it_takes() -> None:
    alike = [unit("a" * 300, stage=f"s{n}") for n in range(3)] + [unit(), unit(epoch="1")]
    found = matrix_of([(PLACES[0], alike)], "gitlab")
    jobs = [name for name in found if name not in ("include", "stages")]
    assert len(jobs) == 5
    assert all(len(name) <= 255 for name in jobs)


def test_nothing_left_is_no_matrix_and_a_pipeline_that_gitlab_takes() -> None:
    assert matrix_of([(PLACES[0], [])]) == {"waves": 0}
    (job,) = matrix_of([], "gitlab").values()
    assert job["script"] == ["true"]


def test_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="matrix 'jenkins': unknown; known are github, gitlab"):
        matrix_of([], "jenkins")


@pytest.fixture
def stub(tmp_path: Path) -> dict[str, str]:
    """An environment whose `imagesmith` writes its words down, and its plan to where --matrix-file says."""
    program = tmp_path / "bin" / "imagesmith"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'printf "%s\\n" "$@" > "$HERE/words"\n'
        'while [ "$#" -gt 1 ]; do [ "$1" = --matrix-file ] && cp "$HERE/plan" "$2"; shift; done; true\n'
    )
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "HERE": str(tmp_path), "CACHE": "r.example/c"}


def step(job: dict[str, Any], name: str) -> dict[str, Any]:
    """A job's step by its id."""
    found: dict[str, Any] = next(each for each in job["steps"] if each.get("id") == name)
    return found


def ran(script: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A step's script, run as GitHub does."""
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], cwd=env["HERE"], env=env, capture_output=True, text=True
    )


def planned(count: int) -> list[tuple[str, list[Unit]]]:
    return [(PLACES[0], [unit(f"t{n}")]) for n in range(count)]


def test_githubs_workflow_takes_the_waves(stub: dict[str, str], tmp_path: Path) -> None:
    need_program("jq")
    jobs = yaml.safe_load((CI / "github.yml").read_text())["jobs"]
    plan = step(jobs["plan"], "plan")["run"]
    (tmp_path / "plan").write_bytes(dumps(matrix_of(waves()), indent=2))
    done = ran(plan, {**stub, "GITHUB_OUTPUT": str(tmp_path / "output")})
    assert done.returncode == 0, done.stderr
    outputs = dict(line.split("=", 1) for line in (tmp_path / "output").read_text().splitlines())
    assert {k: json.loads(v) for k, v in outputs.items()} == matrix_of(waves())

    (tmp_path / "plan").write_bytes(dumps(matrix_of(planned(5))))
    done = ran(plan, {**stub, "GITHUB_OUTPUT": str(tmp_path / "output")})
    assert (done.returncode, done.stdout) == (1, "add jobs for 5 waves\n")


def test_githubs_jobs_wait_for_the_wave_before_and_do_its_units(stub: dict[str, str], tmp_path: Path) -> None:
    jobs = yaml.safe_load((CI / "github.yml").read_text())["jobs"]
    each = [f"wave{n}" for n in range(4)]
    assert jobs["plan"]["outputs"] == {name: f"${{{{ steps.plan.outputs.{name} }}}}" for name in each}
    for n, name in enumerate(each):
        assert jobs[name]["needs"] == ["plan", *each[:n]]
        assert jobs[name]["strategy"]["matrix"] == f"${{{{ fromJSON(needs.plan.outputs.{name}) }}}}"
        assert f"needs.plan.outputs.{name} != ''" in jobs[name]["if"]
        work = step(jobs[name], "work")
        (row,) = matrix_of(planned(1))["wave0"]["include"]
        env = {k: str(row[re.sub(r"\W|matrix", "", v)]) for k, v in work["env"].items()}
        assert ran(work["run"], {**stub, **env}).returncode == 0
        assert (tmp_path / "words").read_text().split() == ["work", PLACES[0], "--index", "0"]
    assert jobs["tags"]["needs"] == ["plan", *each]


def test_githubs_last_job_fails_where_units_are_left(stub: dict[str, str], tmp_path: Path) -> None:
    need_program("jq")
    script = step(yaml.safe_load((CI / "github.yml").read_text())["jobs"]["tags"], "tags")["run"]
    for count, status in ((0, 0), (1, 1)):
        (tmp_path / "plan").write_bytes(dumps(matrix_of(planned(count))))
        assert ran(script, stub).returncode == status


def test_gitlabs_files_make_a_pipeline_with_ours(stub: dict[str, str], tmp_path: Path) -> None:
    parent = yaml.safe_load((CI / "gitlab.yml").read_text())
    worker = yaml.safe_load((CI / "gitlab-worker.yml").read_text())
    assert parent["include"] == [{"local": WORKER_FILE}]
    assert parent["work"]["trigger"]["include"] == [{"artifact": "waves.yml", "job": "plan"}]
    child = worker | matrix_of([(PLACES[0], waves()[0][1])], "gitlab")
    job = child["base deps linux/arm64"]
    script, at = None, job
    while script is None:
        at = child[at["extends"]]
        script = at.get("script")
    assert ran("\n".join(script), {**stub, **job["variables"]}).returncode == 0
    assert (tmp_path / "words").read_text().split() == ["work", PLACES[0], "--index", "1"]


def test_gitlabs_last_job_fails_where_units_are_left(stub: dict[str, str], tmp_path: Path) -> None:
    script = "\n".join(yaml.safe_load((CI / "gitlab.yml").read_text())["tags"]["script"])
    for count, status in ((0, 0), (1, 1)):
        (tmp_path / "plan").write_bytes(dumps(matrix_of(planned(count), "gitlab")))
        assert ran(script, stub).returncode == status
