"""The request as provenance tells it: what is left out in min, and what is never told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagesmith.attest.parameters import dockerfile_path, is_whole, request_document
from imagesmith.context.named import parse_named
from imagesmith.dockerfile.mounts import Mount
from imagesmith.oci.config import Runtime
from imagesmith.oci.names import Platform
from imagesmith.ops.run import RunOp
from imagesmith.ops.runmount import RunMount
from imagesmith.plan.plan import Plan, PlannedImage
from imagesmith.request import BuildRequest, SecretSource
from imagesmith.solve.step import Step

MOUNTS = (
    Mount(type="secret", target="/run/secrets/npmrc", required=True),
    Mount(type="secret", target="/x", id="token"),
    Mount(type="secret", target="/y", id="token", required=True),
    Mount(type="secret", target="/z", id="maybe"),
    Mount(type="ssh", target="/run/agent"),
    Mount(type="ssh", target="/run/agent2", id="deploy", required=True),
    Mount(type="cache", target="/cache", id="kept"),
)


def plan(*mounts: Mount) -> Plan:
    run = RunOp(argv=("true",), env=(), cwd="/", mounts=tuple(RunMount(m, None) for m in mounts))
    image = PlannedImage(
        platform=Platform("linux", "arm", "v7"), tip=Step.of(run, None, "RUN true"), epoch=None,
        runtime=Runtime(), author="", base_history=(), history=(),
    )  # fmt: skip
    return Plan((image,))


def told(request: BuildRequest, *mounts: Mount, full: bool = True) -> Any:
    return request_document(request, plan(*mounts), full=full)


def test_ids_of_secrets_and_agents_are_told_in_max_alone() -> None:
    request = BuildRequest(
        secrets=(SecretSource("token", "/home/alice/token"),), ssh={"default": "/run/alice"}
    )
    document = told(request, *MOUNTS)
    assert document["secrets"] == [{"id": "maybe", "optional": True}, {"id": "npmrc"}, {"id": "token"}]
    assert document["ssh"] == [{"id": "default", "optional": True}, {"id": "deploy"}]
    assert "alice" not in json.dumps(document)
    small = told(request, *MOUNTS, full=False)
    assert (small.keys() & {"secrets", "ssh"}, small["platform"]) == (set(), "linux/arm/v7")


def test_arguments_and_labels_are_told_in_max_alone() -> None:
    request = BuildRequest(
        build_args={"V": "1", "URL": "https://u:pw@e.example/", "BUILDKIT_ATTEST_PROVENANCE": "mode=max"},
        labels={"l": "v"}, target="app", no_cache=(), network="none", extra_hosts=(("h", "1.2.3.4"),),
        shm_size_bytes=5, ulimits=(("nofile", 1, 2),),
    )  # fmt: skip
    common = {
        "add-hosts": "h=1.2.3.4", "force-network-mode": "none", "no-cache": "", "shm-size": "5",
        "target": "app", "ulimit": "nofile=1:2",
    }  # fmt: skip
    own = {"build-arg:URL": "https://e.example/", "build-arg:V": "1", "label:l": "v"}
    assert told(request)["args"] == dict(sorted({**common, **own}.items()))
    assert list(told(request)["args"]) == sorted(told(request)["args"])
    assert told(request, full=False)["args"] == common


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize(
    ("context", "dockerfile", "shown"),
    [
        ("https://u:pw@e.example/r.git#main", "-", "https://e.example/r.git#main"),
        ("https://e.example/c.tar", "https://e.example/Dockerfile", "https://e.example/c.tar"),
        ("https://e.example/r.git", "sub/Dockerfile", None),
        ("https://e.example/r.git", None, None),
        (".", "https://e.example/Dockerfile", None),
        ("-", "-", None),
    ],
)
def test_context_is_told_where_the_dockerfile_did_not_come_with_it(
    context: str, dockerfile: str | None, shown: str | None, full: bool
) -> None:
    """Else it is the source of the configuration that tells it."""
    document = told(BuildRequest(context=context, dockerfile=dockerfile), full=full)
    assert document.get("args", {}).get("context") == shown


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        ({}, (True, True)), ({"labels": {"a": "b"}}, (False, True)),
        ({"build_args": {"A": "b"}}, (False, True)),
        ({"build_args": {"BUILDKIT_ATTEST_SBOM": ""}}, (True, True)),
        ({"secrets": (SecretSource("a", "b"),)}, (True, True)),
        ({"build_args": {"A": "https://e.example/?a=b"}}, (False, False)),
        ({"labels": {"a": "https://u:p@e.example/"}}, (False, False)),
    ],
)  # fmt: skip
def test_it_is_whole_where_nothing_is_left_out_or_masked(
    words: dict[str, Any], whole: tuple[bool, bool]
) -> None:
    assert tuple(is_whole(BuildRequest(**words), full=full) for full in (False, True)) == whole


def test_named_contexts_are_told_without_their_folders(tmp_path: Path) -> None:
    (tmp_path / "alice").mkdir()
    digest = "sha256:" + "a" * 64
    places = [
        f"assets={tmp_path}/alice", "base=docker-image://alpine:3", f"lay=oci-layout://{tmp_path}/alice:t",
        f"pin=oci-layout://{tmp_path}/alice@{digest}", "repo=https://u:pw@e.example/r.git#v1:d",
        "tar=https://u:pw@e.example/a.tar",
    ]  # fmt: skip
    request = BuildRequest(contexts=dict(parse_named(text) for text in places))
    document = told(request, full=False)
    assert document["args"] == {
        "context:assets": "local:assets",
        "context:base": "docker-image://alpine:3",
        "context:lay": "oci-layout://lay:t",
        "context:pin": f"oci-layout://pin@{digest}",
        "context:repo": "https://e.example/r.git#v1:d",
        "context:tar": "https://e.example/a.tar",
    }
    assert document["locals"] == [{"name": "context"}, {"name": "dockerfile"}, {"name": "assets"}]


@pytest.mark.parametrize(
    ("context", "dockerfile", "path", "names"),
    [
        ("/home/alice/app", None, "", ["context", "dockerfile"]),
        ("/home/alice/app", "/home/alice/app/ci/D", "ci/D", ["context", "dockerfile"]),
        ("/home/alice/app", "/home/alice/D", "D", ["context", "dockerfile"]),
        ("/home/alice/app", "-", "", ["context", "dockerfile"]),
        ("/home/alice/app", "https://e.example/D", "", ["context"]),
        ("-", "ci/D", "ci/D", ["context", "dockerfile"]),
        ("https://e.example/r.git", "ci/D", "ci/D", []),
        ("https://e.example/r.git", "-", "", ["dockerfile"]),
        ("github.com/o/r", None, "", []),
    ],
)
def test_dockerfile_is_told_by_its_path_in_the_context(
    context: str, dockerfile: str | None, path: str, names: list[str]
) -> None:
    request = BuildRequest(context=context, dockerfile=dockerfile)
    assert dockerfile_path(request) == path
    assert [entry["name"] for entry in told(request).get("locals", [])] == names
