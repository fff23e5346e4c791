"""Words of a target: build's own parser and checks make the request of them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from imagesmith.bake.flags import call_of, dockerfile_of, inline_of, words_of
from imagesmith.bake.places import Source, Span
from imagesmith.bake.target import ATTRIBUTES, Attributes, Setting, Target
from imagesmith.cli.build import configure
from imagesmith.cli.buildrequest import request_of
from imagesmith.cli.parser import Parser
from imagesmith.context.named import DockerImage
from imagesmith.errors import DefinitionError
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.quotas import Limits
from imagesmith.request import BuildRequest, Output, SecretSource

_EVERYTHING: Attributes = {
    "description": "said", "annotations": ("index:k=v",), "attest": ({"type": "sbom", "format": "spdx"},),
    "context": "dir", "contexts": {"base": "docker-image://alpine:3"}, "dockerfile": "sub/D",
    "args": {"A": "1,2", "B": "--x=\ny", "C": ""}, "labels": {"l": "v=w"}, "tags": ("r.example/a:1", "a:2"),
    "cache-from": ({"type": "registry", "ref": "r.example/c"},),
    "cache-to": ({"type": "local", "dest": "cache", "mode": "max"}, {"type": "inline"}), "target": "stage",
    "secret": ({"id": "s", "env": "TOKEN"},), "ssh": ({"id": "k", "paths": "agent"},),
    "platforms": ("linux/amd64,linux/arm64", "linux/arm"),
    "output": ({"type": "image", "push": "true", "name": "x,y"}, {"type": "local", "dest": "o,\"1"}),
    "pull": True, "no-cache": False, "network": "host", "no-cache-filter": ("a", "b"), "shm-size": "64m",
    "ulimits": ("nofile=1:2",), "call": "check", "entitlements": ("network.host",),
    "resources": {"memory": "1g", "cpu-shares": "5", "cpuset-cpus": "0-1"},
    "extra-hosts": {"h": "1.2.3.4,1.2.3.5", "six": "::1"}, "policy": ({"disabled": "true"},),
}  # fmt: skip


def target(**attributes: Setting) -> Target:
    return Target(name="app", attributes={k.replace("_", "-"): v for k, v in attributes.items()})


def request(target: Target) -> BuildRequest:
    parser = Parser(prog="imagesmith build")
    configure(parser)
    return request_of(parser.parse_args(words_of(target)))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind("agent")


def test_every_attribute_reaches_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {*ATTRIBUTES} - {*_EVERYTHING} == {"dockerfile-inline"}
    asked = request(Target(name="app", attributes=_EVERYTHING))
    assert (asked.context, asked.dockerfile, asked.target) == ("dir", "dir/sub/D", "stage")
    assert asked.build_args == {"A": "1,2", "B": "--x=\ny", "C": ""}
    assert asked.labels == {"l": "v=w"}
    assert [(a.kind, a.key, a.value) for a in asked.annotations] == [("index", "k", "v")]
    assert asked.tags == (ImageRef.parse("r.example/a:1"), ImageRef.parse("a:2"))
    assert asked.platforms == tuple(map(Platform.parse, ("linux/amd64", "linux/arm64", "linux/arm")))
    assert asked.contexts == {"base": DockerImage("alpine:3")}
    assert asked.outputs == (
        Output(type="image", options={"push": "true", "name": "x,y"}), Output(type="local", dest='o,"1'),
    )  # fmt: skip
    assert asked.secrets == (SecretSource("s", "", "TOKEN"),)
    assert asked.ssh == {"k": "agent"}
    assert [(p.type, str(p.ref)) for p in asked.cache_from] == [("registry", "r.example/c:latest")]
    assert [(p.type, p.path, p.mode) for p in asked.cache_to] == [
        ("local", "cache", "max"), ("inline", "", "min"),
    ]  # fmt: skip
    assert asked.attestations is not None
    assert asked.attestations.sbom is not None
    assert (asked.pull, asked.no_cache, asked.network) == (True, ("a", "b"), "host")
    assert asked.allow == {"network.host"}
    assert asked.limits == Limits(memory_bytes=1 << 30, shares=5, cpus="0-1")
    assert (asked.shm_size_bytes, asked.ulimits) == (64 << 20, (("nofile", 1, 2),))
    assert asked.extra_hosts == (("h", "1.2.3.4"), ("h", "1.2.3.5"), ("six", "::1"))


def test_a_target_that_says_nothing() -> None:
    assert words_of(target()) == ["."]
    assert request(target(no_cache=True)).no_cache == ()


def test_attestations_that_are_disabled() -> None:
    assert request(target(attest=({"type": "sbom", "disabled": "true"},))).attestations is None


@pytest.mark.parametrize(
    ("context", "dockerfile", "path"),
    [
        (".", "Dockerfile", None), ("dir", "Dockerfile", None), (".", "./D", "D"),
        ("dir", "../D", "dir/../D"),
        ("dir", "/abs/D", "/abs/D"), ("https://x.example/r.git", "sub/D", "sub/D"),
        ("dir", "https://x.example/D", "https://x.example/D"), ("dir", "", None),
    ],
)  # fmt: skip
def test_a_dockerfile_is_named_from_its_context(context: str, dockerfile: str, path: str | None) -> None:
    assert dockerfile_of(target(context=context, dockerfile=dockerfile)) == path


def test_places_of_this_machine_in_a_definition_from_elsewhere(tmp_path: Path) -> None:
    words = words_of(target(context="cwd://a", dockerfile="cwd://D", contexts={"n": "cwd://b/."}))
    assert words == ["--build-context=n=b", f"--file={tmp_path / 'D'}", "a"]


def test_a_link_stands_as_it_is() -> None:
    assert words_of(target(contexts={"n": "target:base"})) == ["--build-context=n=target:base", "."]


def test_a_context_is_no_flag() -> None:
    assert words_of(target(context="-x"))[-1] == "./-x"
    assert request(target(context="--push")).context == "./--push"


def test_an_inline_dockerfile_is_apart() -> None:
    one = target(dockerfile="D", dockerfile_inline="FROM scratch\n")
    assert words_of(one) == ["."]
    assert inline_of(one) == b"FROM scratch\n"
    assert inline_of(target(dockerfile_inline="\udcff")) == b"\xff"  # as the environment had it
    assert inline_of(target()) is None is inline_of(target(dockerfile_inline=""))


def test_a_call_is_apart() -> None:
    assert [call_of(target(call=call)) for call in ("", "build", "check")] == ["", "", "check"]
    assert call_of(target()) == ""


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"policy": ({"filename": "p.rego"},)}, "target app: policy p.rego: policies in Rego"),
        ({"policy": ({"disabled": "true"}, {"strict": "true"})}, "policy strict=true: policies in Rego"),
    ],
)
def test_what_cannot_be_done_is_refused(attributes: Attributes, said: str) -> None:
    span = Span(Source("docker-bake.hcl", "app"), 0, 3)
    for where in (None, span):
        with pytest.raises(DefinitionError) as caught:
            words_of(Target(name="app", attributes=attributes, span=where))
        assert said in caught.value.message
        assert caught.value.hint
    assert caught.value.file == "docker-bake.hcl"


def test_resources_that_say_nothing() -> None:
    assert words_of(target(resources={})) == ["."]


def test_places_of_caches_have_the_target_and_its_platform_filled_in() -> None:
    refs = ({"type": "registry", "ref": "r.example/c:{target}-{platform}"},)
    asked = request(target(cache_from=refs, cache_to=refs, platforms=("linux/arm64",)))
    assert [str(p.ref) for p in (*asked.cache_from, *asked.cache_to)] == ["r.example/c:app-linux-arm64"] * 2
