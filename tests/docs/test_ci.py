"""Files for CIs: our parsers take their commands, Kubernetes their objects; their rights are the least."""

from __future__ import annotations

import importlib.util
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.words import check, ours_in
from tests.support import PROJECT, lacking

CI = PROJECT / "docs" / "ci"
FILES = sorted(CI.iterdir())
RIGHTS = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "Unconfined"},
}


def documents(path: Path) -> list[Any]:
    """What is YAML in a file."""
    text = path.read_text()
    if path.name == "Jenkinsfile":
        parts = re.findall(r"yaml '''\n(.*?)'''", text, re.DOTALL)
        return [yaml.safe_load(textwrap.dedent(part)) for part in parts]
    return list(yaml.safe_load_all(text))


def scripts(value: Any) -> Iterator[str]:
    """Lines of shell, and words of containers, in a document of any CI."""
    if isinstance(value, dict):
        if value.get("command") == ["imagesmith"]:
            yield "imagesmith " + " ".join(f"'{word}'" for word in value["args"])
        for key, below in value.items():
            if key in ("run", "script", "before_script"):
                yield from [below] if isinstance(below, str) else below
            yield from scripts(below)
    elif isinstance(value, list):
        for below in value:
            yield from scripts(below)


def commands(path: Path) -> list[list[str]]:
    """The words behind `imagesmith` of every command of a file, each once."""
    lines = [line for document in documents(path) for line in scripts(document)]
    if path.name == "Jenkinsfile":
        lines += re.findall(r"^\s+sh '(.*)'$", path.read_text(), re.MULTILINE)
    found = [words for line in lines for words in ours_in(re.sub(r"\$\{\{.*?\}\}|\$\w*INDEX", "0", line))]
    return [list(words) for words in dict.fromkeys(map(tuple, found))]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_its_commands_are_ours(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = commands(path)
    assert found
    for words in found:
        check(words)


def pods(value: Any) -> Iterator[dict[str, Any]]:
    """Whatever has containers: specs of pods, and templates of Tekton and Argo."""
    if isinstance(value, dict):
        if {"containers", "container", "steps"} & set(value) and "runs-on" not in value:
            yield value
        for below in value.values():
            yield from pods(below)
    elif isinstance(value, list):
        for below in value:
            yield from pods(below)


@pytest.mark.parametrize("name", ["job.yaml", "tekton.yaml", "argo.yaml", "Jenkinsfile"])
def test_pods_have_the_least_rights(name: str) -> None:
    [document] = documents(CI / name)
    specs = list(pods(document))
    assert specs
    for spec in specs:
        for container in spec.get("containers") or spec.get("steps") or [spec["container"]]:
            own = container["securityContext"]
            assert RIGHTS.items() <= own.items()
            assert not own.get("privileged")
            pod = spec.get("securityContext") or document["spec"].get("securityContext") or own
            assert (pod["runAsUser"], pod["runAsNonRoot"]) == (1000, True)
    if name in ("job.yaml", "argo.yaml", "Jenkinsfile"):
        assert '"automountServiceAccountToken": false' in json.dumps(document)


@pytest.mark.parametrize("name", ["job.yaml", "Jenkinsfile", "argo.yaml", "tekton.yaml"])
def test_kubernetes_takes_its_objects(name: str) -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        lacking("kubernetes-validate is not installed")
    import kubernetes_validate

    [document] = documents(CI / name)
    if document["kind"] not in ("Job", "Pod"):  # objects of others: what in them is a container's or a pod's
        parts = list(pods(document["spec"]))
        held = [c for part in parts for c in part.get("steps") or [part["container"]]]
        containers = [{k: v for k, v in c.items() if k != "name"} | {"name": "build"} for c in held]
        document = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
            "spec": {"containers": containers, "volumes": document["spec"]["volumes"]},
        }  # fmt: skip
    kubernetes_validate.validate(document, "1.29", strict=True)


def test_workflow_of_github_may_write_packages_alone() -> None:
    for name in ("github.yml", "github-build.yml"):
        [document] = documents(CI / name)
        assert document["permissions"] == {"contents": "read", "packages": "write"}


def test_every_file_is_on_its_page() -> None:
    text = (PROJECT / "docs" / "ci.md").read_text()
    assert [path.name for path in FILES if f"(ci/{path.name})" not in text] == []
