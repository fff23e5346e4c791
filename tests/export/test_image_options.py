"""What the options of outputs that hold an image do, one by one; outputs of the same build keep their own."""

from __future__ import annotations

import json
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest

import imagesmith
from imagesmith.embedded.registry import Registry
from imagesmith.errors import NetworkFault, UsageError
from imagesmith.export.writing import access_of
from imagesmith.image.forms import form_of
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.outputoptions import parse_output
from imagesmith.request import Annotation, BuildRequest, Output
from imagesmith.settings import Access
from imagesmith.store.store import Store
from tests.kitchen import Kitchen
from tests.registry.conftest import make_certificate
from tests.support import need_program

FILE = "FROM scratch\nCOPY f /f\n"
AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")


@pytest.fixture
def cook(kitchen: Kitchen) -> Kitchen:
    """A kitchen with a file that shrinks."""
    words = random.Random(1).choices([f"word{n}" for n in range(500)], k=20_000)
    kitchen.write({"f": " ".join(words)})
    (kitchen.context / "Dockerfile").write_text(FILE)
    return kitchen


def names(cook: Kitchen) -> list[str]:
    with Store(cook.root) as store:
        return sorted(str(ref) for ref, _ in store.images())


def layout(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The index.json of a layout and the manifest that its first entry names."""
    index = json.loads((folder / "index.json").read_bytes())
    digest = index["manifests"][0]["digest"]
    return index, json.loads((folder / "blobs" / digest.replace(":", "/")).read_bytes())


@pytest.mark.parametrize("codec", ["gzip", "estargz", "zstd"])
def test_higher_level_makes_a_smaller_layer(cook: Kitchen, tmp_path: Path, codec: str) -> None:
    sizes = []
    for level in (1, 19) if codec == "zstd" else (0, 9):
        out = tmp_path / f"{codec}-{level}"
        cook.build(outputs=[f"type=oci,tar=false,dest={out},compression={codec},compression-level={level}"])
        sizes.append(layout(out)[1]["layers"][0]["size"])
    assert sizes[1] < sizes[0]


def test_dangling_name_is_given_as_the_options_say(cook: Kitchen) -> None:
    digest = cook.build(outputs=["type=image,dangling-name-prefix=d.example/x"]).digest
    assert names(cook) == [f"d.example/x@{digest}"]
    cook.build(tags=["a.example/y:1"], outputs=["type=image,dangling-name-prefix=e.example/x"])
    assert f"e.example/x@{digest}" in names(cook)
    only = "dangling-name-prefix=f.example/x,danging-name-empty-only=true"
    cook.build(tags=["a.example/y:1"], outputs=[f"type=image,{only}"])
    assert not any(name.startswith("f.example") for name in names(cook))
    cook.build(outputs=[f"type=image,{only}"])
    assert f"f.example/x@{digest}" in names(cook)


def test_canonical_name_is_in_archives_and_not_among_dockers_tags(cook: Kitchen, tmp_path: Path) -> None:
    built = cook.build(
        tags=["a.example/x:1"],
        outputs=[
            f"type=oci,dest={tmp_path / 'o'},name-canonical=true",
            f"type=docker,dest={tmp_path / 'd'},name-canonical=true",
        ],
    )
    for name in "od":
        with tarfile.open(tmp_path / name) as tar:
            found = json.loads(tar.extractfile("index.json").read())["manifests"]  # type: ignore[union-attr]
            assert [m["annotations"]["io.containerd.image.name"] for m in found] == [
                "a.example/x:1",
                f"a.example/x@{built.digest}",
            ]
            refs = [m["annotations"]["org.opencontainers.image.ref.name"] for m in found]
            assert refs == ["1", str(built.digest)]  # not "latest", which would be another image
            if name == "d":
                (row,) = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
                assert row["RepoTags"] == ["a.example/x:1"]


@pytest.mark.parametrize("kind", ["local", "tar"])
def test_epoch_of_an_output_of_files_is_their_time(cook: Kitchen, tmp_path: Path, kind: str) -> None:
    dest = tmp_path / "out"
    epoch = {"SOURCE_DATE_EPOCH": "1000"}
    cook.build(build_args=epoch, outputs=[f"type={kind},dest={dest},source-date-epoch=2000"])
    if kind == "local":
        assert (dest / "f").stat().st_mtime == 2000
    else:
        with tarfile.open(dest) as tar:
            assert {m.mtime for m in tar.getmembers()} == {2000}


# --- annotations ---------------------------------------------------------------------------------


def annotated(kind: str, options: str, *more: Annotation, platform: Platform = AMD64) -> Any:
    output = parse_output(f"type={kind},{options}") if options else Output(type=kind)
    return form_of(output, BuildRequest(annotations=more), None, platform, several=True)


def test_annotations_reach_their_level_and_platform() -> None:
    words = ",".join((
        "annotation.a=1", "annotation-manifest.b=2", "annotation[linux/arm64].a=3", "annotation-index.c=4",
        "annotation-manifest-descriptor[linux/arm64].d=5", "annotation-index-descriptor.e=6",
        "annotation-manifest[linux/s390x].f=7",
    ))  # fmt: skip
    amd64, arm64 = (annotated("image", words, platform=p) for p in (AMD64, ARM64))
    assert (dict(amd64.manifest), dict(amd64.descriptor)) == ({"a": "1", "b": "2"}, {})
    assert (dict(arm64.manifest), dict(arm64.descriptor)) == ({"a": "3", "b": "2"}, {"d": "5"})
    for form in (amd64, arm64):
        assert (dict(form.index), dict(form.index_descriptor)) == ({"c": "4"}, {"e": "6"})


def test_platforms_annotation_wins_in_any_order_and_the_flags_over_the_outputs() -> None:
    own = Annotation("manifest", "a", "platform", AMD64)
    general = Annotation("manifest", "a", "all")
    for more in ((own, general), (general, own)):
        assert dict(annotated("image", "", *more).manifest) == {"a": "platform"}
    assert dict(annotated("image", "annotation.a=output", general).manifest) == {"a": "all"}
    assert dict(annotated("image", "annotation[linux/amd64].a=output", general).manifest) == {"a": "output"}


def test_annotations_are_nothing_to_outputs_of_files(cook: Kitchen, tmp_path: Path) -> None:
    found = (Annotation("index", "a", "b"), Annotation("manifest", "a", "b"))
    output = Output(type="local", dest=str(tmp_path / "x"))
    assert form_of(output, BuildRequest(annotations=found), None, AMD64).manifest == ()


def test_index_annotations_need_an_index() -> None:
    output = parse_output("type=image,annotation-index.a=b")
    with pytest.raises(UsageError, match=r"^index annotations not supported for single platform export$"):
        form_of(output, BuildRequest(), None, AMD64)


# --- what concerns attestations and other platforms: carried to who makes them --------------------


def test_form_carries_what_attestations_ask_for(tmp_path: Path) -> None:
    kinds = {
        "image": "",
        "registry": "",
        "oci": f",dest={tmp_path / 'o'}",
        "docker": f",dest={tmp_path / 'd'}",
    }
    for kind, dest in kinds.items():

        def form(options: str = "", text: str = f"type={kind}{dest}") -> Any:
            return form_of(parse_output(f"{text}{options}"), BuildRequest(), None, AMD64)

        assert (form().artifact, form().inline) == (True, kind in ("image", "registry"))
        other = form(",oci-artifact=false,attestation-inline=" + str(kind in ("oci", "docker")).lower())
        assert (other.artifact, other.inline) == (False, kind not in ("image", "registry"))


# --- registries ------------------------------------------------------------------------------------


def test_insecure_output_lifts_the_certificate_of_its_own_registries() -> None:
    a = parse_output("type=image,push=true,registry.insecure=true,name=a.example/x")
    b = parse_output("type=image,push=true,name=b.example/x")
    assert access_of(BuildRequest(outputs=(a, b))).insecure == {"a.example"}
    tagged = BuildRequest(outputs=(a, b), tags=(ImageRef.parse("c.example/x"),))
    assert access_of(tagged).insecure == {"c.example"}
    assert access_of(BuildRequest(outputs=(a,), access=Access(insecure=True))).insecure is True
    assert access_of(BuildRequest(outputs=(b,))) == Access()


@pytest.mark.slow
def test_certificate_of_nobody_is_taken_where_the_output_says_so(cook: Kitchen, tmp_path: Path) -> None:
    need_program("openssl")
    folder = make_certificate(tmp_path / "tls")
    tls = (folder / "cert.pem", folder / "key.pem")
    with Registry(tmp_path / "registry", tls=tls) as served:
        words = f"type=image,push=true,name={served.host}/x:1"
        with pytest.raises(NetworkFault):
            cook.build(outputs=[words])
        built = cook.build(outputs=[f"{words},registry.insecure=true"])
        found = imagesmith.pull(f"{served.host}/x:1", root=tmp_path / "other", insecure=True)
    assert found.digest == built.digest


@pytest.mark.slow
def test_type_registry_is_a_push_unless_it_says_no(cook: Kitchen, tmp_path: Path) -> None:
    with Registry(tmp_path / "registry") as served:
        cook.build(outputs=[f"type=registry,push=false,name={served.host}/x:1"])
        with pytest.raises(imagesmith.ImagesmithError):
            imagesmith.pull(f"{served.host}/x:1", root=tmp_path / "other")
        built = cook.build(outputs=[f"type=registry,name={served.host}/x:1"])
        assert imagesmith.pull(f"{served.host}/x:1", root=tmp_path / "other").digest == built.digest


# --- layers that may not be distributed --------------------------------------------------------------


def foreign_base(cook: Kitchen, folder: Path, *, keep: bool = True) -> Path:
    """A layout whose layer may not be distributed, and is at an address."""
    cook.build(outputs=[f"type=oci,tar=false,dest={folder}"])
    index, manifest = layout(folder)
    layer = manifest["layers"][0]
    layer["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    layer["urls"] = ["https://nowhere.example/layer"]
    raw = json.dumps(manifest).encode()
    digest = digest_bytes(raw)
    (folder / "blobs/sha256" / digest.hex).write_bytes(raw)
    index["manifests"][0] |= {"digest": str(digest), "size": len(raw)}
    (folder / "index.json").write_text(json.dumps(index))
    if not keep:
        (folder / "blobs" / layer["digest"].replace(":", "/")).unlink()
    return folder


def test_foreign_layer_becomes_a_usual_one_unless_it_is_preferred(cook: Kitchen, tmp_path: Path) -> None:
    base = foreign_base(cook, tmp_path / "base")
    cook.root = tmp_path / "fresh"
    outs = {"plain": "", "foreign": ",prefer-nondist-layers=true", "docker": ",oci-mediatypes=false"}
    cook.build(
        "FROM base\nLABEL a=b\n",
        contexts={"base": f"oci-layout://{base}"},
        outputs=[f"type=oci,tar=false,dest={tmp_path / name}{words}" for name, words in outs.items()],
    )
    found = {name: layout(tmp_path / name)[1]["layers"][0] for name in outs}
    assert found["plain"]["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert found["docker"]["mediaType"] == "application/vnd.docker.image.rootfs.diff.tar.gzip"
    assert found["foreign"]["mediaType"].endswith("nondistributable.v1.tar+gzip")
    assert [found[name].get("urls") for name in outs] == [None, ["https://nowhere.example/layer"], None]
    there = {
        name: (tmp_path / name / "blobs" / found[name]["digest"].replace(":", "/")).exists() for name in outs
    }
    assert there == {"plain": True, "foreign": False, "docker": True}


def test_foreign_layer_that_is_nowhere_is_named_with_what_to_do(cook: Kitchen, tmp_path: Path) -> None:
    base = foreign_base(cook, tmp_path / "base", keep=False)
    cook.root = tmp_path / "fresh"
    words = {"contexts": {"base": f"oci-layout://{base}"}}
    with pytest.raises(UsageError, match="may not be distributed") as caught:
        cook.build("FROM base\nLABEL a=b\n", outputs=[f"type=oci,dest={tmp_path / 'o'}"], **words)
    assert "prefer-nondist-layers=true" in caught.value.hint
    out = f"type=oci,dest={tmp_path / 'o'},prefer-nondist-layers=true"
    cook.build("FROM base\nLABEL a=b\n", outputs=[out], **words)


# --- several outputs of one build ----------------------------------------------------------------------


@pytest.mark.slow
def test_every_kind_of_output_comes_of_one_build(cook: Kitchen, tmp_path: Path) -> None:
    at = {name: tmp_path / name for name in ("o", "z", "d", "f", "t", "e")}
    with Registry(tmp_path / "registry") as served:
        built = cook.build(
            tags=[f"{served.host}/x:1"],
            build_args={"SOURCE_DATE_EPOCH": "1000"},
            outputs=[
                "type=registry",
                f"type=oci,dest={at['o']}",
                f"type=oci,tar=false,dest={at['z']},compression=zstd,annotation.a=b",
                f"type=docker,dest={at['d']},oci-mediatypes=false,rewrite-timestamp=true",
                f"type=oci,tar=false,dest={at['e']},compression=estargz",
                f"type=local,dest={at['f']},source-date-epoch=7",
                f"type=tar,dest={at['t']}",
                "type=image,name-canonical=true",
                "type=cacheonly",
            ],
        )  # fmt: skip
        assert imagesmith.pull(f"{served.host}/x:1", root=tmp_path / "other").digest == built.digest
    assert cook.executed.count("COPY f /f") == 1
    assert layout(at["z"])[1]["annotations"] == {"a": "b"}
    assert {at[name].exists() for name in at} == {True}
    assert (at["f"] / "f").stat().st_mtime == 7
    assert f"{served.host}/x@{built.digest}" in names(cook)
