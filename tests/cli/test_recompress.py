"""copy with another compression: the same files, media types that fit, and bytes that a build makes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Index, Manifest
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store
from imagesmith.values import replace
from tests.cli.conftest import Run
from tests.registry.images import make_image
from tests.support import need_program


def _manifest(run: Run, name: str) -> Manifest:
    return Manifest.parse(run("inspect", "--raw", name).encode())


def _config(run: Run, name: str) -> str:
    return run("inspect", "--config", name)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("zstd", mt.OCI_LAYER_ZSTD), ("uncompressed", mt.OCI_LAYER), ("estargz", mt.OCI_LAYER_GZIP)],
)
def test_layers_are_compressed_otherwise(run: Run, host: str, image: str, name: str, media_type: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    made = run("copy", "--compression", name, f"{host}/t/app:1", f"{host}/t/app:{name}")
    found = _manifest(run, f"{host}/t/app:{name}")
    assert made.strip() == str(found.digest) != image
    assert [d.media_type for d in found.layers] == [media_type] * 2
    assert run("validate", f"{host}/t/app:{name}")
    assert run(
        "diff", "--json", f"{host}/t/app:1", f"{host}/t/app:{name}", status=0 if name != "estargz" else 10
    )
    if name != "estargz":  # its table is in the tar
        assert _config(run, f"{host}/t/app:{name}") == _config(run, "store:app:1")
    assert run("copy", "--compression", name, f"{host}/t/app:1", "oci:again") == made
    back = run("copy", "--compression", "gzip", f"{host}/t/app:{name}", "oci:back")
    if name == "estargz":
        assert back == made  # it is gzip
    else:
        assert run("copy", "--compression", "gzip", "--force-compression", f"{host}/t/app:1", "oci:b") == back


def test_bytes_are_those_of_a_build(run: Run, context: Path) -> None:
    run(
        "build",
        "-q",
        "-o",
        "type=oci,tar=false,dest=built,compression=zstd,compression-level=9",
        str(context),
    )
    run("build", "-q", "-o", "type=oci,tar=false,dest=plain", str(context))
    again = ("--root", "other", "--compression", "zstd", "--compression-level", "9")
    run("copy", *again, "oci:plain", "oci:copied")
    assert _manifest(run, "oci:copied").layers == _manifest(run, "oci:built").layers
    kept = run("copy", "--compression", "zstd", "--compression-level", "3", "oci:built", "oci:kept")
    assert kept.strip() == str(_manifest(run, "oci:built").digest)
    level = ("--compression", "zstd", "--compression-level", "3", "--force-compression")
    assert run("copy", *level, "oci:built", "oci:forced") != kept


def test_docker_types_stay_where_they_can_be_said(run: Run, image: str) -> None:
    del image
    run("copy", "-f", "docker", "store:app:1", "oci:docker")
    run("copy", "--compression", "uncompressed", "oci:docker", "oci:plain")
    assert _manifest(run, "oci:plain").media_type == mt.DOCKER_MANIFEST
    assert {d.media_type for d in _manifest(run, "oci:plain").layers} == {mt.DOCKER_LAYER}
    run("copy", "--compression", "gzip", "oci:plain", "oci:gzip")
    assert {d.media_type for d in _manifest(run, "oci:gzip").layers} == {mt.DOCKER_LAYER_GZIP}
    run("copy", "--compression", "zstd", "oci:docker", "oci:zstd")
    assert _manifest(run, "oci:zstd").media_type == mt.OCI_MANIFEST
    assert _manifest(run, "oci:zstd").config.media_type == mt.OCI_CONFIG
    assert {d.media_type for d in _manifest(run, "oci:zstd").layers} == {mt.OCI_LAYER_ZSTD}


def test_all_of_an_index_without_what_was_attested_of_it(run: Run, context: Path) -> None:
    words = ("--platform", "linux/amd64,linux/arm64", "--provenance", "mode=min")
    run("build", "-q", "-t", "a:1", *words, str(context))
    run("copy", "--compression", "zstd", "store:a:1", "oci:zstd")
    index = Index.parse(run("inspect", "--raw", "oci:zstd").encode())
    assert [str(m.platform) for m in index.manifests] == ["linux/amd64", "linux/arm64"]
    assert len(Index.parse(run("inspect", "--raw", "store:a:1").encode()).manifests) == 4


def test_skopeo_reads_what_was_compressed(run: Run, host: str, image: str, tmp_path: Path) -> None:
    del image
    skopeo = need_program("skopeo")
    for name in ("zstd", "estargz"):
        run("copy", "--compression", name, "store:app:1", f"{host}/t/app:{name}")
        source = ("--src-tls-verify=false", f"docker://{host}/t/app:{name}")
        target = f"oci:{tmp_path}/skopeo:{name}"
        subprocess.run([skopeo, "--insecure-policy", "copy", "-q", *source, target], check=True)
        assert run("digest", target) == run("digest", f"{host}/t/app:{name}")
        run("validate", target)


def test_a_layer_that_is_not_what_its_config_says_is_refused(run: Run, image: str, tmp_path: Path) -> None:
    del image
    with Store(tmp_path / "store") as store:
        manifest = Manifest.parse(store.blobs.read(make_image(store).digest))
        config = json.loads(store.blobs.read(manifest.config.digest))
        config["rootfs"]["diff_ids"].reverse()
        raw = json.dumps(config).encode()
        store.blobs.put(raw)
        lies = replace(manifest.config, digest=digest_bytes(raw), size=len(raw))
        made = Manifest.build(lies, manifest.layers)
        store.blobs.put(made.raw)
        store.name(ImageRef.parse("lies:1"), made.descriptor())
    said = run("copy", "--compression", "zstd", "store:lies:1", "oci:none", status=6)
    assert "diff_id" in said


def test_what_is_no_image_stays_as_it_is(run: Run, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    run("copy", "store:app:1", "oci:layout", status=7)
    with Store(tmp_path / "store") as store:
        make_image(store, "app:1")
    run("copy", "store:app:1", "oci:layout:app")
    made = run("attach", "oci:layout:app", "f", "--artifact-type", "text/x-note").strip()
    assert run("copy", "--compression", "zstd", f"oci:layout@{made}", "oci:copied").strip() == made
