"""--on: what the flags of `build` and `bake` have other machines do, by words alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from tests.cli.conftest import Run

TO = ("--repository", "r.example/c")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    (tmp_path / "f").write_text("text")
    (tmp_path / ".dockerignore").write_text("*\n!f\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG A\nARG TARGETARCH\nCOPY f /$TARGETARCH-$A\n")
    (tmp_path / "docker-bake.hcl").write_text('target "default" {\n  tags = ["r.example/x:1"]\n}\n')
    return tmp_path


def test_a_build_for_two_platforms_is_two_units_and_comes_out_as_here(run: Run, here: Path) -> None:
    with Registry(here / "registry") as registry:
        words = (
            "build", "--insecure", "--platform", "linux/amd64,linux/arm64", "--build-arg", "A=1",
            "--label", "l=v", "-o", "type=image,push=true,rewrite-timestamp=true", "-t",
        )  # fmt: skip
        on = ("--on", "matrix", "--repository", f"{registry.host}/cache", "--matrix-file", "plan.json")
        away, meta = (*words, f"{registry.host}/away:1", *on, "."), "meta.json"
        run(*away)
        plan = json.loads((here / "plan.json").read_text())
        units = plan["wave0"]["include"]
        assert [(plan["waves"], u["platform"]) for u in units] == [(1, "linux/amd64"), (1, "linux/arm64")]
        for unit in units:
            run(
                "work",
                "--insecure",
                "--root",
                str(here / "worker"),
                unit["place"],
                "--index",
                str(unit["index"]),
            )
        run(*away[:-1], "--metadata-file", meta, ".")
        assert json.loads((here / "plan.json").read_text()) == {"waves": 0}
        run(*words, f"{registry.host}/here:1", ".")
        digest = run("digest", "--insecure", f"{registry.host}/here:1").strip()
        assert run("digest", "--insecure", f"{registry.host}/away:1").strip() == digest
        assert json.loads((here / meta).read_text())["default"]["containerimage.digest"] == digest


def test_jobs_and_rights_are_printed(run: Run, here: Path) -> None:
    with Registry(here / "registry") as registry:
        said = run(
            "bake", "--insecure", "--push", "--set", f"*.tags={registry.host}/x:1", "--print",
            "--on", "kubernetes", "--image", "imagesmith:1",
            "--repository", f"{registry.host}/cache", "--progress", "quiet",
        )  # fmt: skip
    [job] = json.loads(said)["items"]
    assert job["spec"]["completions"] == 1
    rights = json.loads(run("bake", "--print-rbac"))["items"]
    assert [o["kind"] for o in rights] == ["ServiceAccount", "Role", "RoleBinding"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bake", "--on", "slurm"), "no repository is given"),
        (("bake", "--on", "kubernetes", *TO, "--print"), "no image is given"),
        (("build", "--on", "slurm", *TO, "--load", "."), "--load: it is not honoured"),
        (("build", "--on", "slurm", *TO, "-"), "standard input"),
        (("build", "--on", "matrix", *TO, "-o", "out", "."), "stays on the machine"),
    ],
)
def test_what_cannot_be_is_told(run: Run, here: Path, words: tuple[str, ...], said: str) -> None:
    assert said in run(*words, status=2)
