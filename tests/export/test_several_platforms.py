"""Images of several platforms in every output: an index, or a folder for each."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from imagesmith.errors import UsageError
from imagesmith.oci.model import Index
from imagesmith.store.store import Store
from tests.kitchen import Kitchen
from tests.registry.conftest import serve_embedded

PLATFORMS = "linux/arm64,linux/amd64,linux/arm/v7"
FILE = "FROM scratch\nARG TARGETARCH\nCOPY same /same\nCOPY $TARGETARCH /own\n"
EPOCH = {"SOURCE_DATE_EPOCH": "1000"}


@pytest.fixture
def cook(kitchen: Kitchen) -> Kitchen:
    """A kitchen with a file for each architecture."""
    kitchen.write({"same": "same", **{arch: f"of {arch}" for arch in ("amd64", "arm64", "arm")}})
    kitchen.age()
    (kitchen.context / "Dockerfile").write_text(FILE)
    return kitchen


def index_of(layout: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The one entry of a layout, and the index that it names."""
    [entry] = json.loads((layout / "index.json").read_bytes())["manifests"]
    index: dict[str, Any] = json.loads((layout / "blobs" / entry["digest"].replace(":", "/")).read_bytes())
    return entry, index


def test_index_lists_the_images_in_the_order_in_which_they_were_asked_for(
    cook: Kitchen, tmp_path: Path
) -> None:
    built = cook.build(
        platform=PLATFORMS, build_args=EPOCH, outputs=[f"type=oci,tar=false,dest={tmp_path}/o"]
    )
    entry, index = index_of(tmp_path / "o")
    assert entry["digest"] == str(built.digest) == str(built.image_id)
    assert [m["platform"] for m in index["manifests"]] == [
        {"architecture": "arm64", "os": "linux"},
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm", "os": "linux", "variant": "v7"},
    ]
    assert [m["digest"] for m in index["manifests"]] == [
        str(i.manifest.digest) for i in built.images.values()
    ]


def test_image_of_each_platform_is_that_of_building_it_alone(cook: Kitchen, tmp_path: Path) -> None:
    built = cook.build(platform=PLATFORMS, build_args=EPOCH, outputs=[f"type=oci,dest={tmp_path}/o"])
    for platform, image in built.images.items():
        alone = cook.build(
            platform=platform, build_args=EPOCH, no_cache=True, outputs=[f"type=oci,dest={tmp_path}/alone"]
        )
        assert alone.index is None
        assert alone.image.manifest.raw == image.manifest.raw


def test_docker_types_make_a_manifest_list(cook: Kitchen, tmp_path: Path) -> None:
    cook.build(platform=PLATFORMS, outputs=[f"type=oci,tar=false,dest={tmp_path}/o,oci-mediatypes=false"])
    entry, index = index_of(tmp_path / "o")
    docker = "application/vnd.docker.distribution.manifest"
    assert (entry["mediaType"], index["mediaType"]) == (f"{docker}.list.v2+json",) * 2
    assert {m["mediaType"] for m in index["manifests"]} == {f"{docker}.v2+json"}


def test_one_platform_may_be_asked_for_as_an_index(cook: Kitchen, tmp_path: Path) -> None:
    args = {"BUILDKIT_MULTI_PLATFORM": "1"}
    cook.build(platform="linux/arm64", build_args=args, outputs=[f"type=oci,tar=false,dest={tmp_path}/o"])
    assert [m["platform"]["architecture"] for m in index_of(tmp_path / "o")[1]["manifests"]] == ["arm64"]


def test_doubled_platform_is_built_and_listed_once_with_a_warning(cook: Kitchen, tmp_path: Path) -> None:
    cook.build(platform="linux/arm,linux/armhf", outputs=[f"type=oci,tar=false,dest={tmp_path}/o"])
    assert len(index_of(tmp_path / "o")[1]["manifests"]) == 1
    assert 'Duplicate platform result requested "linux/arm/v7"' in [
        getattr(e, "text", "") for e in cook.events
    ]


def test_annotations_go_where_they_are_for(cook: Kitchen, tmp_path: Path) -> None:
    options = ",".join(
        (
            "annotation-index.i=1", "annotation-index-descriptor.d=2", "annotation.m=3",
            "annotation-manifest[linux/arm64].a=4", "annotation-manifest-descriptor[linux/amd64].e=5",
        )
    )  # fmt: skip
    built = cook.build(
        platform="linux/amd64,linux/arm64", outputs=[f"type=oci,tar=false,dest={tmp_path}/o,{options}"]
    )
    entry, index = index_of(tmp_path / "o")
    assert index["annotations"] == {"i": "1"}
    assert entry["annotations"]["d"] == "2"
    assert [m.get("annotations") for m in index["manifests"]] == [{"e": "5"}, None]
    found = [dict(image.manifest.annotations) for image in built.images.values()]
    assert found == [{"m": "3"}, {"a": "4", "m": "3"}]


def test_index_annotation_of_a_single_image_is_refused(cook: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="index annotations not supported for single platform export"):
        cook.build(outputs=[f"type=oci,dest={tmp_path}/o,annotation-index.a=b"])


@pytest.mark.parametrize(
    ("output", "instead"), [("type=docker,dest={}/d", "type=oci"), ("type=docker", "--push all of them")]
)
def test_docker_takes_one_platform(cook: Kitchen, tmp_path: Path, output: str, instead: str) -> None:
    with pytest.raises(UsageError, match="does not currently support exporting manifest lists") as e:
        cook.build(platform=PLATFORMS, outputs=[output.format(tmp_path)])
    assert instead in e.value.hint
    assert not (tmp_path / "d").exists()
    assert cook.executed == []  # that is known before


def test_store_and_registry_get_the_index_with_all_its_images(cook: Kitchen, tmp_path: Path) -> None:
    with serve_embedded(tmp_path / "registry") as served:
        name = f"{served.host}/app:1"
        built = cook.build(platform=PLATFORMS, tags=[name], push=True, insecure=True)
        from imagesmith import pull

        found = pull(name, root=tmp_path / "other", insecure=True)
        assert found.digest in (built.digest, *(i.manifest.digest for i in built.images.values()))
        with Store(cook.root) as store:
            assert Index.parse(store.blobs.read(built.digest)).manifests[0].platform is not None


def test_folders_and_tars_have_a_folder_for_each_platform(cook: Kitchen, tmp_path: Path) -> None:
    cook.build(platform=PLATFORMS, outputs=[f"type=local,dest={tmp_path}/l", f"type=tar,dest={tmp_path}/t"])
    folders = {"linux_arm64": "arm64", "linux_amd64": "amd64", "linux_arm_v7": "arm"}
    assert {p.name: (p / "own").read_text() for p in (tmp_path / "l").iterdir()} == {
        folder: f"of {arch}" for folder, arch in folders.items()
    }
    with tarfile.open(tmp_path / "t") as tar:
        names = tar.getnames()
    assert names == [n for f in folders for n in (f, f"{f}/own", f"{f}/same")]


def test_platforms_that_are_not_split_share_what_is_the_same(cook: Kitchen, tmp_path: Path) -> None:
    text = "FROM scratch\nARG TARGETARCH\nCOPY same /same\nCOPY $TARGETARCH /$TARGETARCH\n"
    outputs = [f"type={kind},dest={tmp_path}/{kind},platform-split=false" for kind in ("local", "tar")]
    cook.build(text, platform=PLATFORMS, outputs=outputs)
    expected = {"same", "amd64", "arm64", "arm"}
    assert {p.name for p in (tmp_path / "local").iterdir()} == expected
    with tarfile.open(tmp_path / "tar") as tar:
        assert sorted(n for n in tar.getnames() if n) == sorted(expected)


@pytest.mark.parametrize("kind", ["local", "local,mode=delete", "tar"])
def test_platforms_that_are_not_split_may_not_differ(cook: Kitchen, tmp_path: Path, kind: str) -> None:
    said = "cannot overwrite own from linux/arm64 with linux/amd64 when split option is disabled"
    place = tmp_path / "o"
    if kind != "tar":
        place.mkdir()
        (place / "mine").touch()
    with pytest.raises(UsageError, match=said):
        cook.build(platform=PLATFORMS, outputs=[f"type={kind},dest={place},platform-split=false"])
    assert not place.is_file()
    assert [p.name for p in place.glob("*")] == ([] if kind == "tar" else ["mine"]), "nothing was written"


def test_single_platform_is_split_where_that_is_asked_for(cook: Kitchen, tmp_path: Path) -> None:
    cook.build(platform="linux/arm64", outputs=[f"type=local,dest={tmp_path}/l,platform-split=true"])
    assert [p.name for p in (tmp_path / "l").iterdir()] == ["linux_arm64"]


def test_metadata_names_the_index_and_no_config(cook: Kitchen, tmp_path: Path) -> None:
    built = cook.build(platform=PLATFORMS, outputs=[f"type=oci,dest={tmp_path}/o"])
    document = json.loads(built.metadata())
    assert "containerimage.config.digest" not in document
    assert document["containerimage.descriptor"]["mediaType"].endswith("image.index.v1+json")
    assert document["containerimage.digest"] == str(built.digest)


@pytest.mark.parametrize("kind", ["registry", "inline"])
def test_cache_of_several_platforms_serves_all_of_them(cook: Kitchen, tmp_path: Path, kind: str) -> None:
    with serve_embedded(tmp_path / "registry") as served:
        name = f"{served.host}/app:1"
        to = "type=inline" if kind == "inline" else f"type=registry,ref={served.host}/app:cache,mode=max"
        of = name if kind == "inline" else f"{served.host}/app:cache"
        words: dict[str, Any] = {"platform": PLATFORMS, "build_args": EPOCH, "insecure": True}
        built = cook.build(tags=[name], push=True, cache_to=[to], **words)
        (tmp_path / "fresh").mkdir()
        cook.root = tmp_path / "fresh" / "store"
        again = cook.build(
            cache_from=[f"type=registry,ref={of}"], outputs=[f"type=oci,dest={tmp_path}/o"], **words
        )
        assert [name for name in cook.executed if name] == []
        assert [i.config.diff_ids for i in again.images.values()] == [
            i.config.diff_ids for i in built.images.values()
        ]


def test_platforms_of_one_tag_are_those_of_one_index(cook: Kitchen, tmp_path: Path) -> None:
    with serve_embedded(tmp_path / "registry") as served:
        name = f"{served.host}/base:1"
        first = cook.build(platform="linux/amd64,linux/arm64", tags=[name], push=True, insecure=True)
        cook.root = tmp_path / "one"
        # Whoever built for one platform remembers what the tag was; another has moved it since.
        cook.build(f"FROM {name}\nCOPY same /x\n", platform="linux/amd64", insecure=True)
        other = tmp_path / "two"
        root, cook.root = cook.root, other
        cook.write({"same": "moved"})
        moved = cook.build(platform="linux/amd64,linux/arm64", tags=[name], push=True, insecure=True)
        assert moved.digest != first.digest
        cook.root = root
        built = cook.build(f"FROM {name}\nCOPY amd64 /y\n", platform="linux/amd64,linux/arm64", insecure=True,
                           outputs=[f"type=oci,dest={tmp_path}/o"])  # fmt: skip
        below = [i.config.diff_ids[0] for i in built.images.values()]
        assert below in (
            [i.config.diff_ids[0] for i in first.images.values()],
            [i.config.diff_ids[0] for i in moved.images.values()],
        )
