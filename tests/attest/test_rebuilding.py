"""The build that makes an image again: what of a recipe it takes, what the user replaces, what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagesmith.attest.rebuilding import Rebuild, rebuild_of, told
from imagesmith.attest.recipe import Needed, Recipe
from imagesmith.context.git import GitRef
from imagesmith.context.named import DockerImage, GitContext, HttpContext, LocalContext
from imagesmith.image.reproduce import Original
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import Platform, host_platform
from imagesmith.request import BuildRequest, Pins, SecretSource
from imagesmith.values import replace

COMMIT = "1" * 40
URL = "https://git.example/r.git"
RECIPE = Recipe(
    builder="BuildKit", version="v1", context=f"{URL}#main", dockerfile="docker/Dockerfile", target="app",
    build_args={"SOURCE_DATE_EPOCH": "5", "V": "1"}, labels={"l": "m"},
    pins=Pins(repositories={f"{URL}#main": COMMIT}), builder_platform=host_platform(),
)  # fmt: skip
NOTHING = BuildRequest(context="")


def original(created: str = "2004-11-09T11:33:20Z", *, rewritten: bool = True) -> Original:
    raw = b'{"architecture":"amd64","os":"linux","created":"%s"}' % created.encode()
    assert ImageConfig.parse(raw).created == created
    layer = Descriptor(
        media_type="application/vnd.oci.image.layer.v1.tar+gzip", digest=digest_bytes(b"x"), size=1,
        annotations={"buildkit/rewritten-timestamp": "5"} if rewritten else {},
    )  # fmt: skip
    config = Descriptor(
        media_type="application/vnd.oci.image.config.v1+json", digest=digest_bytes(raw), size=len(raw)
    )
    return Original(None, Manifest.build(config, [layer]), raw)  # type: ignore[arg-type]  # nothing of it is read


def made(recipe: Recipe | None, given: BuildRequest = NOTHING, image: Original | None = None) -> Rebuild:
    return rebuild_of(recipe, given, Platform.parse("linux/amd64"), image or original())


def test_recipe_alone_is_the_build() -> None:
    found = made(RECIPE)
    request = found.request
    assert (request.context, request.dockerfile, request.target) == (
        f"{URL}#main",
        "docker/Dockerfile",
        "app",
    )
    assert (request.build_args, request.labels) == (RECIPE.build_args, RECIPE.labels)
    assert (request.pins, request.is_foreign) == (RECIPE.pins, True)
    assert (request.secrets, request.ssh, request.allow) == ((), {}, frozenset())
    assert (found.lacking, found.notes) == ((), ())


def test_word_of_the_user_goes_before_the_recipes(tmp_path: Path) -> None:
    given = BuildRequest(
        context=str(tmp_path),
        target="other",
        build_args={"V": "2"},
        labels={"l": "n", "k": ""},
        network="host",
    )
    request = made(replace(RECIPE, network="none"), given).request
    assert (request.context, request.target, request.network) == (str(tmp_path), "other", "host")
    assert (request.build_args["V"], request.labels) == ("2", {"l": "n", "k": ""})
    assert request.dockerfile == f"{tmp_path}/docker/Dockerfile"
    assert not request.is_foreign


def test_address_that_the_user_gives_is_not_pinned() -> None:
    assert made(RECIPE, BuildRequest(context=f"{URL}#main")).request.pins.repositories == {}
    assert made(RECIPE, BuildRequest(context=f"{URL}#other")).request.pins == RECIPE.pins


def test_named_repository_of_a_recipe_is_foreign_beside_the_users_own_context(tmp_path: Path) -> None:
    recipe = replace(RECIPE, contexts={"src": GitContext(GitRef.parse(URL))})
    given = BuildRequest(context=str(tmp_path))
    assert made(recipe, given).request.is_foreign
    own = replace(given, contexts={"src": LocalContext(tmp_path)})
    assert not made(recipe, own).request.is_foreign
    assert not made(replace(RECIPE, contexts={"b": DockerImage("a")}), given).request.is_foreign


@pytest.mark.parametrize(
    ("change", "given", "words"),
    [
        ({"context": ""}, {}, "(CONTEXT)"),
        ({"lacks_dockerfile": True}, {}, "(-f FILE)"),
        ({"local_contexts": ("src",)}, {}, "(--build-context src=PLACE)"),
        ({"secrets": (Needed("npmrc", False),)}, {}, "(--secret id=npmrc,src=FILE)"),
        ({"secrets": (Needed("npmrc", False),)}, {"secrets": (SecretSource("other"),)}, "secret npmrc"),
        ({"agents": (Needed("default", False),)}, {}, "(--ssh default)"),
        ({"context": "ssh://git@git.example/r.git#main"}, {}, "an agent for ssh://git@git.example/r.git"),
        ({"context": "git@git.example:r.git"}, {}, "an agent for git@git.example:r.git"),
        ({"network": "host"}, {}, "(--network host)"),
    ],
)
def test_what_a_build_cannot_do_without_is_told(
    change: dict[str, Any], given: dict[str, Any], words: str
) -> None:
    (lacking,) = made(replace(RECIPE, **change), replace(NOTHING, **given)).lacking
    assert words in lacking


@pytest.mark.parametrize(
    ("change", "given"),
    [
        ({"context": "", "lacks_dockerfile": True, "dockerfile": ""}, {"context": "/"}),
        ({"lacks_dockerfile": True}, {"dockerfile": "-"}),
        ({"local_contexts": ("src",)}, {"contexts": {"src": LocalContext(Path("/"))}}),
        ({"secrets": (Needed("npmrc", False),)}, {"secrets": (SecretSource("npmrc"),)}),
        ({"secrets": (Needed("npmrc", True),)}, {}),
        ({"agents": (Needed("default", False),)}, {"ssh": {"default": "/s"}}),
        ({"network": "host"}, {"network": "host"}),
    ],
)
def test_what_is_given_or_can_be_done_without_is_not_lacking(
    change: dict[str, Any], given: dict[str, Any]
) -> None:
    assert made(replace(RECIPE, **change), replace(NOTHING, **given)).lacking == ()


def test_dockerfile_of_another_folder_is_lacking_where_the_context_has_none(tmp_path: Path) -> None:
    recipe = replace(RECIPE, context="", lacks_dockerfile=True, dockerfile="D2")
    given = BuildRequest(context=str(tmp_path))
    assert len(made(recipe, given).lacking) == 1
    (tmp_path / "D2").write_text("FROM scratch")
    assert made(recipe, given).lacking == ()


@pytest.mark.parametrize(
    ("change", "image", "words"),
    [
        ({"is_partial": True}, original(), "arguments or labels are left out"),
        ({"unknown": ("hostname", "x")}, original(), "hostname, x"),
        ({"pins": Pins()}, original(), "taken as it is now"),
        ({"builder_platform": Platform.parse("linux/s390x")}, original(), "built on linux/s390x"),
        (
            {"build_args": {}},
            original("2004-11-09T11:33:20.5Z", rewritten=False),
            "without SOURCE_DATE_EPOCH",
        ),
        ({}, original(rewritten=False), "were not rewritten"),
    ],
)
def test_what_may_make_a_difference_is_told(change: dict[str, Any], image: Original, words: str) -> None:
    found = made(replace(RECIPE, **change), image=image)
    (note,) = found.notes
    assert words in note
    assert found.lacking == ()


def test_what_is_told_is_the_recipes_and_no_word_of_the_users() -> None:
    given = replace(NOTHING, build_args={"V": "secret", "W": "secret"}, labels={"l": "secret"})
    recipe = replace(RECIPE, context="https://u:secret@git.example/r.git#main")
    words = told(recipe, made(recipe, given).request)
    assert "secret" not in str(words)
    assert words["buildArgs"] == {"SOURCE_DATE_EPOCH": "5"}
    assert words["commit"] == COMMIT


def test_what_is_masked_must_be_said_in_full() -> None:
    masked = "https://e.example/f.tar?token=xxxxx"
    recipe = replace(
        RECIPE, context=masked, dockerfile="https://e.example/D?xxxxx",
        build_args={"U": f"at {masked}", "V": "x"},
        contexts={"c": HttpContext(masked), "d": HttpContext("https://e.example/xxxxx?v=1")},
        masked=(masked, "https://e.example/added?v=xxxxx"),
    )  # fmt: skip
    found = made(recipe)
    assert [line.rpartition("(")[2] for line in found.lacking] == [
        "CONTEXT)", "-f URL)", "--build-arg U=VALUE)", "--build-context c=PLACE)",
    ]  # fmt: skip
    assert [note for note in found.notes if "added?v=xxxxx" in note]
    given = BuildRequest(
        context="https://e.example/f.tar?token=mine", dockerfile="https://e.example/D?mine",
        build_args={"U": "x"}, contexts={"c": HttpContext("https://e.example/c?mine")},
    )  # fmt: skip
    assert made(recipe, given).lacking == ()
