"""Recipes: what is read of our provenance and BuildKit's, and what of a hostile one is refused, and how."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.attest.recipe import BUILDKIT_1, Needed, Recipe, recipe_of
from imagesmith.attest.statement import image_of_purl, purl_of
from imagesmith.context.named import DockerImage, GitContext, HttpContext
from imagesmith.errors import ImagesmithError, InvalidDocument, LimitExceeded
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import ImageRef, Platform
from tests.attest.conftest import EPOCH, Shelf
from tests.kitchen import Kitchen
from tests.support import PROJECT

COMMIT = "89292a1e2ec46e46ece905ecec4b29f4e144fb1a"
REPOSITORY = "https://git.example/app.git"
V1, V02 = "https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2"
HEX = "ab" * 32


def buildkit(version: str) -> dict[str, Any]:
    """The fixture of a version."""
    text = (PROJECT / f"fixtures/provenance/buildkit-{version}.json").read_text()
    found: dict[str, Any] = json.loads(text.replace("REPOSITORY", REPOSITORY).replace("COMMIT", COMMIT))
    return found


def read(predicate: dict[str, Any]) -> Recipe:
    found = recipe_of(V02 if "invocation" in predicate else V1, predicate)
    assert found is not None
    return found


def with_args(**args: Any) -> dict[str, Any]:
    """The fixture of version 1 with more arguments; `_` in their names is `:` or `-`."""
    predicate = buildkit("v1")
    request = predicate["buildDefinition"]["externalParameters"]["request"]
    request["args"] |= {k.replace("__", ":").replace("_", "-"): v for k, v in args.items()}
    return predicate


@pytest.mark.parametrize("version", ["v1", "v0.2"])
def test_both_versions_of_buildkit_tell_the_same(version: str) -> None:
    found = read(buildkit(version))
    assert (found.builder, found.version) == ("BuildKit", version)
    assert (found.context, found.dockerfile) == (f"{REPOSITORY}#main", "Dockerfile")
    assert found.pins.repositories == {f"{REPOSITORY}#main": COMMIT}
    assert found.build_args == {"SOURCE_DATE_EPOCH": "1100000000"}
    assert found.builder_platform == Platform.parse("linux/amd64")
    assert (found.is_partial, found.unknown, found.lacks_dockerfile) == (False, (), False)
    assert not [one for one in found.secrets if not one.optional]


def test_all_that_a_request_of_buildkit_can_hold_is_read() -> None:
    predicate = with_args(
        target="app", build_arg__V="1", label__l="x=y", add_hosts="a=10.0.0.1,b=::1", shm_size="65536",
        ulimit="nofile=10:20", force_network_mode="none", context__base="docker-image://alpine:3",
        context__src="https://git.example/lib.git#v2", context__tar="https://files.example/a.tar",
        context__here="local:here", hostname="h", vcs__revision="x", multi_platform="true",
    )  # fmt: skip
    request = predicate["buildDefinition"]["externalParameters"]["request"]
    request |= {"secrets": [{"id": "npmrc"}, {"id": "extra", "optional": True}], "ssh": [{"id": "default"}]}
    predicate["buildDefinition"]["resolvedDependencies"] += [
        {"uri": "pkg:docker/alpine@3?platform=linux%2Famd64", "digest": {"sha256": HEX}},
        {"uri": "https://git.example/lib.git#v2", "digest": {"sha1": COMMIT}},
        {"uri": "https://files.example/a.tar", "digest": {"sha256": HEX}},
        {"uri": f"pkg:docker/r.example%3A5000/b?digest=sha256:{HEX}", "digest": {"sha256": HEX}},
    ]
    found = read(predicate)
    assert (found.target, found.network, found.shm_size_bytes) == ("app", "none", 65536)
    assert (found.build_args["V"], found.labels) == ("1", {"l": "x=y"})
    assert found.extra_hosts == (("a", "10.0.0.1"), ("b", "::1"))
    assert found.ulimits == (("nofile", 10, 20),)
    assert {name: type(place) for name, place in found.contexts.items()} == {
        "base": DockerImage, "src": GitContext, "tar": HttpContext,
    }  # fmt: skip
    assert found.local_contexts == ("here",)
    assert found.secrets == (Needed("npmrc", False), Needed("extra", True))
    assert found.agents == (Needed("default", False),)
    assert found.unknown == ("hostname",)
    digest = Digest.parse(f"sha256:{HEX}")
    assert found.pins.images == {"docker.io/library/alpine:3": digest}
    assert found.pins.files == {"https://files.example/a.tar": digest}
    assert found.pins.repositories["https://git.example/lib.git#v2"] == COMMIT


def test_commit_of_a_folder_is_that_of_its_repository() -> None:
    """BuildKit tells of the folder in the source alone, and of its commit among the materials."""
    predicate = buildkit("v1")
    predicate["buildDefinition"]["externalParameters"]["configSource"] = {"uri": f"{REPOSITORY}#main:sub"}
    found = read(predicate)
    assert found.context == f"{REPOSITORY}#main:sub"
    assert found.pins.repositories == {f"{REPOSITORY}#main": COMMIT}


def test_files_whose_addresses_are_masked_are_held_to_nothing() -> None:
    predicate = buildkit("v1")
    listed = predicate["buildDefinition"]["resolvedDependencies"]
    masked = "https://e.example/f?v=xxxxx"
    listed += [{"uri": masked, "digest": {"sha256": c * 64}} for c in "ab"]
    listed.append({"uri": "https://e.example/xxxxx?v=1", "digest": {"sha256": "c" * 64}})
    found = read(predicate)
    assert found.masked == (masked, masked)
    assert list(found.pins.files) == ["https://e.example/xxxxx?v=1"]


def test_what_min_leaves_out_is_known_to_be_missing() -> None:
    one, two = buildkit("v1"), buildkit("v0.2")
    one["runDetails"]["metadata"]["buildkit_completeness"]["request"] = False
    two["metadata"]["completeness"]["parameters"] = False
    assert read(one).is_partial
    assert read(two).is_partial


@pytest.mark.parametrize("version", ["v1", "v0.2"])
def test_our_own_provenance_gives_back_what_was_asked(kitchen: Kitchen, shelf: Shelf, version: str) -> None:
    kitchen.write({"a": "x"})
    built = kitchen.build(
        "FROM scratch AS one\nCOPY a /\nFROM scratch\n", target="one", tags=["a:1"], network="none",
        build_args={**EPOCH, "V": "1"}, labels={"l": "m"}, contexts={"other": str(kitchen.context)},
        provenance=f"version={version}",
    )  # fmt: skip
    found = read(shelf.predicate(built))
    assert (found.builder, found.version, found.context) == ("imagesmith", version, "")
    assert (found.target, found.network, found.labels) == ("one", "none", {"l": "m"})
    assert found.build_args == {**EPOCH, "V": "1"}
    assert (found.local_contexts, found.lacks_dockerfile, found.unknown) == (("other",), True, ())


def test_builds_of_another_kind_are_not_read() -> None:
    predicate = buildkit("v1")
    predicate["buildDefinition"]["buildType"] = "https://actions.github.io/buildtypes/workflow/v1"
    assert recipe_of(V1, predicate) is None
    assert recipe_of(V02, {"buildType": "x"}) is None
    assert recipe_of(V02, {}) is None


# --- hostile ones ------------------------------------------------------------------------------


def _request(predicate: dict[str, Any]) -> Any:
    return predicate["buildDefinition"]["externalParameters"]["request"]


def _source(uri: str) -> Callable[[dict[str, Any]], None]:
    def change(predicate: dict[str, Any]) -> None:
        predicate["buildDefinition"]["externalParameters"]["configSource"] = {"uri": uri}

    return change


def _dockerfile(path: str) -> Callable[[dict[str, Any]], None]:
    def change(predicate: dict[str, Any]) -> None:
        predicate["buildDefinition"]["externalParameters"]["configSource"]["path"] = path

    return change


def _args(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda predicate: _request(predicate)["args"].update({key: value})


def _material(uri: object, digest: object) -> Callable[[dict[str, Any]], None]:
    row = {"uri": uri, "digest": digest}
    return lambda predicate: predicate["buildDefinition"]["resolvedDependencies"].append(row)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *((_source(uri), "is neither a repository nor an address") for uri in (
            "/etc", "../x", ".", "-", "file:///etc", "file:///srv/r.git#main", "ftp://h/x.git",
            "ext::sh -c id", "oci-layout:///srv/x", "host:path",
        )),
        (_source("ssh://-oProxyCommand=id/x"), "not a repository address"),
        (_source("https://git.example/a.git?mtime=x"), "invalid mtime value"),
        (_source("https://git.example/a.git\n#x"), "control characters"),
        *((_dockerfile(path), "is no path in its source") for path in (
            "-", "./-", "../Dockerfile", "a/../../Dockerfile", "a\0b",
        )),
        (_args("force-network-mode", "container:1"), "invalid netmode"),
        (_args("add-hosts", "a=b"), "expected host:ip"),
        (_args("shm-size", "huge"), "invalid size"),
        (_args("ulimit", "x=1"), "invalid ulimit type"),
        (_args("context:base", "docker-image://NO SUCH"), "invalid reference format"),
        (_args("build-arg:X", "a\0b"), "byte 0"),
        (_args("build-arg:X", 7), "must be a string"),
        (_args("source", "evil/frontend:1"), "evil/frontend"),
        (_material("pkg:docker/UPPER@1", {"sha256": HEX}), "must be lowercase"),
        (_material("pkg:docker/a@1", {"sha256": "xyz"}), "sha256:xyz"),
        (_material("pkg:docker/a@1", {"md5": "00"}), "neither a sha256 nor a sha512"),
        (_material("https://git.example/b.git", {"sha1": "main"}), "has no commit"),
        (_material(f"{REPOSITORY}#main", {"sha1": "0" * 40}), "is both"),
        (_material(7, {"sha256": HEX}), "uri must be a string"),
        (_material("https://h/f", []), "digest must be an object"),
        (lambda p: _request(p).update(args=[]), "args must be an object"),
        (lambda p: _request(p).update(secrets={"id": "x"}), "secrets must be a list"),
        (lambda p: _request(p).update(secrets=[{"id": "x", "optional": "no"}]), "must be true or false"),
        (lambda p: _request(p).update(locals=["context"]), "must be an object"),
        (lambda p: _request(p).update(frontend="gateway.v0", args={}), "the frontend ''"),
        (lambda p: p["buildDefinition"].update(externalParameters=1), "must be an object"),
        (lambda p: p["buildDefinition"]["internalParameters"].update(builderPlatform="*"), "wildcards"),
    ],
)  # fmt: skip
def test_what_no_source_and_no_word_can_be_is_refused_in_a_line(
    change: Callable[[dict[str, Any]], None], words: str
) -> None:
    predicate = buildkit("v1")
    change(predicate)
    with pytest.raises(InvalidDocument, match=r"^provenance: ") as e:
        recipe_of(V1, predicate)
    assert words in e.value.message
    assert len(e.value.message) < 400


@pytest.mark.parametrize("what", ["args", "secrets", "locals", "materials"])
def test_more_than_any_build_has_is_refused(what: str) -> None:
    predicate = buildkit("v1")
    if what == "args":
        _request(predicate)["args"] = {f"build-arg:{n}": "" for n in range(10_001)}
        _request(predicate)["frontend"] = "dockerfile.v0"
    elif what == "materials":
        predicate["buildDefinition"]["resolvedDependencies"] = [{}] * 10_001
    else:
        _request(predicate)[what] = [{"id": "x"}] * 10_001
    with pytest.raises(LimitExceeded, match="more than 10000"):
        recipe_of(V1, predicate)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["-", "../x", "file:///"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.data())
def test_whatever_stands_in_a_provenance_is_read_or_refused(data: st.DataObject) -> None:
    """One value of a provenance, wherever it stands, is replaced by any other."""
    predicate = copy.deepcopy(buildkit(data.draw(st.sampled_from(["v1", "v0.2"]))))
    places = list(_places(predicate))
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = data.draw(_JSON)
    with contextlib.suppress(ImagesmithError):
        found = recipe_of(V1, predicate)
        assert found is None or found.context == "" or found.context.startswith(("http", "ssh", "git"))


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    out = [(value, key) for key in keys]
    for key in keys:
        out += _places(value[key])
    return out


_NAMES = [
    "a",
    "a:1",
    "b/c:v1.2",
    "r.example/a:x",
    "r.example:5000/a/b:1",
    "localhost:80/x",
    f"a@sha256:{HEX}",
]


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("platform", [None, "linux/arm/v7"])
def test_package_url_of_an_image_is_read_back(name: str, platform: str | None) -> None:
    ref = ImageRef.parse(name)
    assert image_of_purl(purl_of(ref, Platform.parse(platform) if platform else None)) == ref


def test_build_types_are_the_ones_that_are_documented() -> None:
    text = Path(PROJECT / "docs/provenance.md").read_text()
    assert "urn:imagesmith:dockerfile-build:v1" in text
    assert buildkit("v1")["buildDefinition"]["buildType"] == BUILDKIT_1
