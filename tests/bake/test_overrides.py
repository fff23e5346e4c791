"""--set: which targets it reaches, what it replaces and adds to, and what it does to outputs."""

from __future__ import annotations

import pytest

from imagesmith.bake.overrides import Override, overridden, overrides_of
from imagesmith.bake.target import Attributes
from imagesmith.errors import UsageError

_NAMES = ["app", "app-dev", "web"]


def after(given: Attributes, *texts: str, env: dict[str, str] | None = None) -> Attributes:
    return overridden(given, overrides_of(texts, ["app"], env or {}).get("app", ()))


def test_patterns_and_names() -> None:
    assert set(overrides_of(["app.target=x"], _NAMES, {})) == {"app"}
    assert set(overrides_of(["app*.target=x"], _NAMES, {})) == {"app", "app-dev"}
    assert set(overrides_of(["*.target=x"], _NAMES, {})) == set(_NAMES)
    assert overrides_of(["web.target=x", "*.target=y"], _NAMES, {})["web"] == (Override("target", "y"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("app", "invalid override key app, expected target.name"),
        ("app.target", "invalid override app.target, expected target.name=value"),
        ("ap.target=x", "could not find any target matching 'ap' (did you mean app?)"),
        ("app.platforms=x", "unknown key: platforms (did you mean platform?)"),
        ("app.args=x", "invalid key app.args, args requires name"),
        ("app.contexts=x", "contexts requires name"),
        ("app.tags.x=y", "tags has no parts"),
        ("app.pull=perhaps", "--set app.pull=perhaps: non-bool"),
        ("app.resources.cpu=1", "unknown resources key cpu"),
        ("app.resources.cpu-quota=x", "cpu-quota: a number is needed"),
        ("app.attest=mode=max", "attestation type not specified"),
        ("*.push=2", "non-bool value specified for push: 2"),
        ("[.target=x", "syntax error in pattern"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        overrides_of([text], _NAMES, {})
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("given", "texts", "found"),
    [
        ({"tags": ("a",)}, ["app.tags=b", "app.tags=c"], {"tags": ("b", "c")}),
        ({"tags": ("a",)}, ["app.tags+=b"], {"tags": ("a", "b")}),
        ({"tags": ("a",)}, ["app.tags="], {"tags": ()}),
        ({"platforms": ("p",)}, ["app.platform=linux/amd64"], {"platforms": ("linux/amd64",)}),
        ({"args": {"A": "1"}}, ["app.args.A=2", "app.args.B=x=y"], {"args": {"A": "2", "B": "x=y"}}),
        ({"labels": {"a": "1"}}, ["app.labels.org.x.y=2"], {"labels": {"a": "1", "org.x.y": "2"}}),
        ({"contexts": {"n": "dir"}}, ["app.contexts.n="], {}),
        ({}, ["app.extra-hosts.h=1.2.3.4"], {"extra-hosts": {"h": "1.2.3.4"}}),
        ({"resources": {"memory": "1g"}}, ["app.resources.cpu-quota=5"],
         {"resources": {"memory": "1g", "cpu-quota": "5"}}),
        ({"annotations": ("a=1",)}, ["app.annotations=b=2"], {"annotations": ("a=1", "b=2")}),
        ({"attest": ({"type": "sbom"},)}, ["app.attest=type=sbom,disabled=true"],
         {"attest": ({"type": "sbom", "disabled": "true"},)}),
        ({"cache-from": ({"type": "gha"},)}, ["app.cache-from=r"],
         {"cache-from": ({"type": "registry", "ref": "r"},)}),
        ({"cache-to": ({"type": "gha"},)}, ["app.cache-to="], {}),
        ({}, ["app.network=host"], {"network": "host", "entitlements": ("network.host",)}),
        ({"ulimits": ("nofile=1",)}, ["app.ulimits=nproc=2"], {"ulimits": ("nproc=2",)}),
        ({"no-cache-filter": ("a",)}, ["app.no-cache-filter+=b"], {"no-cache-filter": ("a", "b")}),
        ({"pull": True}, ["app.pull=0", "app.no-cache=T"], {"pull": False, "no-cache": True}),
        ({}, ["app.secrets=id=a,src=f", "app.ssh=default"],
         {"secret": ({"id": "a", "src": "f"},), "ssh": ({"id": "default"},)}),
        ({}, ["app.context=c", "app.dockerfile=d", "app.target=t", "app.call=check", "app.shm-size=1m"],
         {"context": "c", "dockerfile": "d", "target": "t", "call": "check", "shm-size": "1m"}),
    ],
)  # fmt: skip
def test_what_is_set(given: Attributes, texts: list[str], found: Attributes) -> None:
    assert after(given, *texts) == found


_IMAGE, _REGISTRY, _DOCKER = {"type": "image"}, {"type": "registry"}, {"type": "docker"}
_LOCAL, _PUSHED = {"type": "local", "dest": "d"}, {"type": "image", "push": "true"}


@pytest.mark.parametrize(
    ("outputs", "texts", "found"),
    [
        ((), ["*.push=true"], (_PUSHED,)),
        ((_DOCKER,), ["*.push=true"], (_DOCKER, _PUSHED)),
        ((_IMAGE,), ["*.push=true"], (_PUSHED,)),
        ((_LOCAL,), ["*.push=true"], (_LOCAL,)),
        ((_REGISTRY,), ["*.push=true"], (_REGISTRY,)),
        ((_REGISTRY, _LOCAL, _IMAGE), ["*.push=false"], ({**_IMAGE, "push": "false"}, _LOCAL)),
        ((), ["*.load=true"], (_DOCKER,)),
        ((_IMAGE,), ["*.load=true"], (_IMAGE, _DOCKER)),
        ((_DOCKER, _IMAGE), ["*.load=true"], (_DOCKER, _IMAGE)),
        (({**_DOCKER, "dest": "f"},), ["*.load=true"], ({**_DOCKER, "dest": "f"}, _DOCKER)),
        ((_LOCAL,), ["*.load=true"], (_LOCAL,)),
        ((), ["*.load=false"], None),
        ((), ["*.push=true", "*.load=true"], (_PUSHED, _DOCKER)),
        ((_LOCAL,), ["*.push=true", "*.output=type=image"], (_PUSHED,)),
    ],
)
def test_push_and_load_fit_the_outputs(
    outputs: tuple[dict[str, str], ...], texts: list[str], found: tuple[dict[str, str], ...] | None
) -> None:
    assert after({"output": outputs}, *texts).get("output") == found


def test_an_argument_without_a_value_takes_the_environments() -> None:
    given: Attributes = {"args": {"A": "1"}}
    env = {"A": "2"}
    assert after(given, "*.args.A", "*.args.B", env=env) == {"args": {"A": "2"}}
    assert after(given, "*.args.A", env=env | {"BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP": "1"}) == given


def test_a_key_without_a_target_is_told_how_to_write_it() -> None:
    with pytest.raises(UsageError) as caught:
        overrides_of(["tags=x"], _NAMES, {})
    assert caught.value.hint == "*.tags=… is for all targets"
