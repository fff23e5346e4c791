from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from imagesmith.errors import UsageError
from imagesmith.events import Warned
from imagesmith.image.result import BuildResult
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Manifest
from imagesmith.request import Annotation, BuildRequest, Output
from imagesmith.transports.layout import LayoutFolder
from tests.kitchen import NOWHERE, Kitchen
from tests.layer.test_estargz import Snapshotter
from tests.support import need_program

FILE = "FROM scratch\nCOPY f /f\nCOPY f /g\n"
EPOCH = {"SOURCE_DATE_EPOCH": "1000"}


def _manifest(folder: Path) -> Manifest:
    """The manifest of a layout folder that holds one image."""
    index = json.loads((folder / "index.json").read_bytes())
    return Manifest.parse((folder / "blobs" / index["manifests"][0]["digest"].replace(":", "/")).read_bytes())


def _diff_ids(folder: Path) -> list[str]:
    config = _manifest(folder).config.digest
    found: list[str] = json.loads((folder / "blobs/sha256" / config.hex).read_bytes())["rootfs"]["diff_ids"]
    return found


def test_outputs_of_one_build_may_differ_in_compression(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"f": "text" * 100})
    kinds = ("gzip", "zstd", "uncompressed")
    kitchen.build(
        FILE, outputs=[f"type=oci,tar=false,dest={tmp_path / kind},compression={kind}" for kind in kinds]
    )
    assert len(kitchen.executed) == 2
    types = [_manifest(tmp_path / kind).layers[0].media_type.rpartition(".")[2] for kind in kinds]
    assert types == ["tar+gzip", "tar+zstd", "tar"]
    assert (
        _diff_ids(tmp_path / "gzip") == _diff_ids(tmp_path / "zstd") == _diff_ids(tmp_path / "uncompressed")
    )


def test_outputs_of_one_build_may_differ_in_times(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"f": "text"})
    own, clamped = tmp_path / "own", tmp_path / "clamped"
    kitchen.build(
        FILE,
        build_args=EPOCH,
        outputs=[
            f"type=oci,tar=false,dest={own}",
            f"type=oci,tar=false,dest={clamped},rewrite-timestamp=true",
        ],
    )
    note = "buildkit/rewritten-timestamp"
    assert [d.annotations.get(note) for d in _manifest(clamped).layers] == ["1000", "1000"]
    assert [d.annotations.get(note) for d in _manifest(own).layers] == [None, None]
    alone = tmp_path / "alone"
    kitchen.build(FILE, build_args=EPOCH, outputs=[f"type=oci,tar=false,dest={alone},rewrite-timestamp=true"])
    assert _manifest(alone).raw == _manifest(clamped).raw


def test_another_compression_executes_nothing_again(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"f": "text"})
    kitchen.build(FILE)
    kitchen.build(FILE, outputs=[f"type=oci,tar=false,dest={tmp_path / 'z'},compression=zstd"])
    assert kitchen.executed == []
    assert {d.media_type.rpartition("+")[2] for d in _manifest(tmp_path / "z").layers} == {"zstd"}


def _with_base(kitchen: Kitchen, tmp_path: Path, options: str) -> Path:
    """An image on a gzip base, built with these options."""
    kitchen.write({"f": "text"})
    base, out = tmp_path / "base", tmp_path / "out"
    kitchen.build(FILE, outputs=[f"type=oci,tar=false,dest={base}"])
    kitchen.build(
        "FROM base\nCOPY f /h\n",
        contexts={"base": f"oci-layout://{base}"},
        outputs=[f"type=oci,tar=false,dest={out},compression=zstd{options}"],
    )
    return out


def test_layers_of_the_base_keep_their_compression(kitchen: Kitchen, tmp_path: Path) -> None:
    layers = _manifest(_with_base(kitchen, tmp_path, "")).layers
    assert [d.media_type.rpartition("+")[2] for d in layers] == ["gzip", "gzip", "zstd"]


def test_forced_compression_reaches_the_base_and_keeps_its_diff_ids(kitchen: Kitchen, tmp_path: Path) -> None:
    out = _with_base(kitchen, tmp_path, ",force-compression=true")
    assert [d.media_type.rpartition("+")[2] for d in _manifest(out).layers] == ["zstd"] * 3
    assert _diff_ids(out)[:2] == _diff_ids(tmp_path / "base")


def test_epoch_of_an_output_counts_more_than_the_builds(kitchen: Kitchen) -> None:
    kitchen.write({"f": "text"})

    def created(options: dict[str, str]) -> str:
        built = kitchen.build(FILE, build_args=EPOCH, outputs=[Output(type="cacheonly", options=options)])
        return built.image.config.created

    assert created({}) == "1970-01-01T00:16:40Z"
    assert created({"source-date-epoch": "7"}) == "1970-01-01T00:00:07Z"
    assert created({"source-date-epoch": ""}) > "2020"
    with pytest.raises(UsageError, match="invalid SOURCE_DATE_EPOCH: x"):
        created({"source-date-epoch": "x"})


def test_docker_types_have_docker_layers(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"f": "text"})
    kitchen.build(FILE, outputs=[f"type=oci,tar=false,dest={tmp_path / 'd'},oci-mediatypes=false"])
    manifest = _manifest(tmp_path / "d")
    assert manifest.media_type == "application/vnd.docker.distribution.manifest.v2+json"
    assert manifest.layers[0].media_type == "application/vnd.docker.image.rootfs.diff.tar.gzip"


def _annotated(kitchen: Kitchen, *found: Annotation, options: dict[str, str] | None = None) -> BuildResult:
    from imagesmith.events import nobody
    from imagesmith.session import run_build
    from imagesmith.settings import Settings

    kitchen.write({"f": "text"})
    (kitchen.context / "Dockerfile").write_text(FILE)
    output = Output(type="cacheonly", options=options or {})
    request = BuildRequest(context=str(kitchen.context), annotations=found, outputs=(output,))
    return run_build(request, Settings(root=kitchen.root), NOWHERE, nobody)


def test_annotations_go_where_their_type_says(kitchen: Kitchen) -> None:
    built = _annotated(
        kitchen,
        Annotation("manifest", "a", "1"),
        Annotation("manifest-descriptor", "b", "2"),
        options={"annotation.c": "3", "annotation-manifest-descriptor[linux/s390x].d": "4"},
    )
    assert dict(built.image.manifest.annotations) == {"a": "1", "c": "3"}
    assert dict(built.descriptor.annotations) == {"b": "2"}


def test_annotations_that_cannot_be_are_refused_in_buildkits_words(kitchen: Kitchen) -> None:
    with pytest.raises(UsageError, match=r"^index annotations not supported for single platform export$"):
        _annotated(kitchen, Annotation("index", "a", "1"))
    with pytest.raises(UsageError, match=r'^cannot export annotations with "oci-mediatypes=false"$'):
        _annotated(kitchen, Annotation("manifest", "a", "1"), options={"oci-mediatypes": "false"})


def test_layout_of_an_export_is_found_by_our_own_reader(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"f": "text"})
    built = kitchen.build(FILE, tags=["n.example/x:3"], outputs=[f"type=oci,tar=false,dest={tmp_path / 'o'}"])
    assert LayoutFolder(tmp_path / "o", "3").root().digest == built.digest


_TABLE = "containerd.io/snapshot/stargz/toc.digest"


def test_estargz_has_its_table_and_other_outputs_have_none(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"f": "text" * 100})
    folders = {kind: tmp_path / kind for kind in ("estargz", "gzip")}
    outputs = [f"type=oci,tar=false,dest={folder},compression={kind}" for kind, folder in folders.items()]
    kitchen.build(FILE, outputs=outputs)
    assert len(kitchen.executed) == 2
    starred, plain = (_manifest(folder) for folder in folders.values())
    assert [_TABLE in d.annotations for d in (*starred.layers, *plain.layers)] == [True] * 2 + [False] * 2
    assert {d.media_type.rpartition("+")[2] for d in starred.layers} == {"gzip"}
    for d in starred.layers:
        blob = (folders["estargz"] / "blobs" / str(d.digest).replace(":", "/")).read_bytes()
        found = Snapshotter(blob)
        assert d.annotations[_TABLE] == str(digest_bytes(found.json))
        tar = gzip.decompress(blob)
        assert d.annotations["io.containers.estargz.uncompressed-size"] == str(len(tar))
        assert str(digest_bytes(tar)) in _diff_ids(folders["estargz"])
    alone = tmp_path / "alone"
    kitchen.build(FILE, outputs=[f"type=oci,tar=false,dest={alone},compression=estargz"], no_cache=True)
    assert _manifest(alone).layers == starred.layers


def test_steps_do_not_see_the_tables_of_estargz(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"f": "text"})
    kitchen.build(
        "FROM scratch AS a\nCOPY f /f\nFROM scratch\nCOPY --from=a / /\n",
        outputs=[
            f"type=oci,tar=false,dest={tmp_path / 'e'},compression=estargz",
            f"type=local,dest={tmp_path / 'l'}",
        ],
    )
    assert [p.name for p in (tmp_path / "l").iterdir()] == ["f"]


def test_estargz_of_clamped_layers_has_the_clamp(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"f": "text"})
    out, own = tmp_path / "out", tmp_path / "own"
    outputs = [
        f"type=oci,tar=false,dest={own}",
        f"type=oci,tar=false,dest={out},compression=estargz,rewrite-timestamp=true",
    ]
    kitchen.build(FILE, build_args=EPOCH, outputs=outputs)
    for d in _manifest(out).layers:
        assert d.annotations["buildkit/rewritten-timestamp"] == "1000"
        rows = Snapshotter((out / "blobs" / str(d.digest).replace(":", "/")).read_bytes()).rows
        assert [r.get("modtime") for r in rows] == [None, "1970-01-01T00:16:40Z"]


def test_estargz_is_forced_upon_a_base_once(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"f": "text"})
    folders = [tmp_path / name for name in ("base", "kept", "forced", "again")]
    kitchen.build(FILE, outputs=[f"type=oci,tar=false,dest={folders[0]}"])
    for n, force in ((1, "false"), (2, "true"), (3, "true")):
        kitchen.build(
            "FROM base\nCOPY f /h\n",
            contexts={"base": f"oci-layout://{folders[2 if n == 3 else 0]}"},
            outputs=[f"type=oci,tar=false,dest={folders[n]},compression=estargz,force-compression={force}"],
        )
    base, kept, forced, again = (_manifest(folder).layers for folder in folders)
    assert [_TABLE in d.annotations for d in kept] == [False, False, True]
    assert kept[:2] == base
    assert [_TABLE in d.annotations for d in forced] == [True] * 3
    assert again[:3] == forced


@pytest.mark.slow
def test_other_programs_take_estargz_for_a_gzip_image(kitchen: Kitchen, tmp_path: Path) -> None:
    skopeo = need_program("skopeo")
    kitchen.write({"f": "text"})
    kitchen.build(FILE, tags=["x:1"], outputs=[f"type=oci,dest={tmp_path / 'e'},compression=estargz"])
    subprocess.run(
        [skopeo, "--insecure-policy", "copy", f"oci-archive:{tmp_path / 'e'}", f"dir:{tmp_path / 'd'}"],
        check=True,
    )
    manifest = json.loads((tmp_path / "d" / "manifest.json").read_bytes())
    assert all(_TABLE in layer["annotations"] for layer in manifest["layers"])


def test_estargz_has_no_inline_cache_and_says_so(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"f": "text"})
    out = f"type=oci,tar=false,dest={tmp_path / 'o'},compression=estargz"
    built = kitchen.build(FILE, outputs=[out], cache_to=["type=inline"])
    assert not built.image.config.extra
    assert [e.text for e in kitchen.events if isinstance(e, Warned)] == [
        "an image with compression=estargz holds no inline cache"
    ]
