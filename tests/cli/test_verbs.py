"""What several verbs do with one image, against the embedded registry and docker-registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagesmith.oci.model import Manifest
from imagesmith.plugins import COMMANDS
from imagesmith.registry import transport
from tests.cli.conftest import Run


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_tells_what_it_takes(verb: str, run: Run) -> None:
    assert run(verb, "--help").startswith(f"usage: imagesmith {verb}")


def test_push_pull_and_look(run: Run, host: str, image: str, tmp_path: Path) -> None:
    name = f"{host}/t/app:1"
    assert run("push", "app:1", name) == f"{image}\n"
    assert run("digest", name) == f"{image}\n"
    assert run("tags", f"{host}/t/app") == "1\n"
    assert run("catalog", host) == "t/app\n"
    assert json.loads(run("tags", "--json", f"{host}/t/app"))["Tags"] == ["1"]
    assert run("pull", "-q", "--root", str(tmp_path / "s2"), name) == f"{image}\n"
    assert name in run("images", "--root", str(tmp_path / "s2"))
    assert run("inspect", "-f", "{{.Digest}} {{index .Env 0}}", name) == f"{image} A=b\n"
    assert run("validate", name).startswith("valid: 1 manifests, 2 blobs")
    assert Manifest.parse(run("manifest", "get", name).encode()).layers


def test_what_is_here_of_an_index_goes_on_by_every_verb(run: Run, host: str, index: str) -> None:
    """As docker does: the one platform that was pulled is an image of its own elsewhere."""
    name = f"{host}/t/multi:1"
    run("push", "multi:1", name)
    run("pull", "--platform", "linux/arm64", "--root", "s2", name)
    alone = run("digest", "--platform", "linux/arm64", name)
    here = ("--root", "s2")
    assert run("push", *here, name, f"{host}/t/new:1") == alone
    assert run("copy", *here, f"store:{name}", f"{host}/t/new:2") == alone
    assert run("copy", *here, f"store:{name}", "oci:layout:1") == alone
    run("save", *here, name, "-o", "docker.tar")
    run("save", *here, "--format", "oci", name, "-o", "oci.tar")
    for file in ("docker.tar", "oci.tar"):
        assert run("load", "-q", "-i", file, "--root", "s3") == alone
    assert run("copy", *here, f"store:{name}", "store:kept:1") == f"{index}\n"
    said = run("copy", *here, "--all", f"store:{name}", f"{host}/t/new:9", status=7)
    assert "linux/amd64: not there" in said
    run("mutate", *here, name, "--label", "k=v", "-t", "store:mutated:1")
    assert run("inspect", *here, "--platform", "linux/arm64", "-f", "{{.Labels.k}}", "mutated:1") == "v\n"
    run("index", "create", *here, f"{host}/t/index:1", name)
    assert run("digest", f"{host}/t/index:1") == alone
    assert run("validate", *here, name) == "valid: 1 manifests, 1 blobs, 92 bytes; 1 not there\n"
    assert "for platform" in run("save", *here, "--platform", "linux/amd64", name, "-o", "no", status=7)
    run("pull", "--all", *here, name)
    assert run("push", *here, name, f"{host}/t/new:3") == f"{index}\n"


def test_platform_that_an_image_has_not_is_refused(run: Run, host: str, image: str, index: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    run("push", "multi:1", f"{host}/t/multi:1")
    for name in ("app", "multi"):
        for words in (
            ["pull", f"{host}/t/{name}:1", "--root", "s2"],
            ["copy", f"{host}/t/{name}:1", f"{host}/t/x:1"],
            ["push", f"{name}:1", f"{host}/t/x:1"],
            ["save", f"{name}:1", "-o", "x.tar"],
        ):
            said = run(*words, "--platform", "linux/s390x", status=7)
            assert "linux/s390x" in said or "no match for platform" in said
    run("save", "app:1", "-o", "app.tar")
    assert "not for linux/s390x" in run("load", "-i", "app.tar", "--platform", "linux/s390x", status=7)
    assert run("images", "--root", "s2") == "NAME   DIGEST   PLATFORM   SIZE\n"
    run("pull", f"{host}/t/app:1", "--platform", "linux/amd64", "--root", "s2")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["copy", "UPPER", "b"], 2),
        (["copy", "dir:x", "b"], 2),
        (["push", "nope:1"], 7),
        (["pull", "127.0.0.1:1/a"], 7),
        (["inspect", "oci:missing"], 7),
        (["load", "-i", "missing"], 2),
        (["copy", "oci-archive:missing", "oci:x"], 2),
        (["catalog", "not a host"], 2),
        (["blob", "get", "127.0.0.1:1/a", "sha256:x"], 2),
        (["mutate", "app:1", "--env", "novalue"], 2),
        (["attach", "127.0.0.1:1/a", "--artifact-type", "word"], 2),
        (["index", "remove", "oci:missing"], 7),
        (["rebase", "app:1"], 7),
        (["login", "-u", "a", "--password-stdin", "127.0.0.1:1"], 2),
    ],
)
def test_mistake_is_one_line_and_a_status(
    run: Run, image: str, monkeypatch: pytest.MonkeyPatch, words: list[str], status: int
) -> None:
    monkeypatch.setattr(transport, "_MOST_WAIT_S", 0.1)
    lines = [
        line
        for line in run(*words, status=status).splitlines()
        if not line.startswith(("#", "hint:", "127.0.0.1:1: waiting")) and line
    ]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
