"""What outputs get: indexes in every form, files with statements, and the metadata file."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from imagesmith.attest.materials import materials_of
from imagesmith.attest.worktree import worktree_of
from imagesmith.embedded.registry import Registry
from imagesmith.errors import RegistryError, UsageError
from imagesmith.image.result import BuildResult
from imagesmith.oci.names import host_platform
from imagesmith.request import BuildRequest
from imagesmith.session import run_build
from imagesmith.settings import Settings
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases
from tests.attest.conftest import EPOCH, Shelf
from tests.kitchen import NOWHERE, Kitchen
from tests.support import need_program

FILE = "FROM scratch\nCOPY a /a\nCOPY b /d/b\n"


def build(kitchen: Kitchen, *outputs: str, provenance: str = "mode=min", **words: Any) -> BuildResult:
    kitchen.write({"a": "text", "b": "more"})
    return kitchen.build(FILE, outputs=outputs, provenance=provenance, **words)


def test_index_of_one_image_and_its_attestation(kitchen: Kitchen, shelf: Shelf) -> None:
    built = build(kitchen, tags=["r.example/a:1"])
    index = shelf.json(built.digest)
    image, attestation = index["manifests"]
    assert image["digest"] == str(built.image.manifest.digest)
    assert image["platform"] == host_platform().to_json()
    assert attestation["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert attestation["annotations"]["vnd.docker.reference.digest"] == image["digest"]
    assert built.image_id == built.digest
    assert shelf.raw(built.digest) == json.dumps(index, indent=2).encode()


def test_layout_holds_all_of_it_and_skopeo_reads_it(kitchen: Kitchen, tmp_path: Path) -> None:
    built = build(kitchen, f"type=oci,tar=false,dest={tmp_path}/lay", tags=["r.example/a:1"])
    skopeo = need_program("skopeo")
    copy = [skopeo, "copy", "--all", f"oci:{tmp_path}/lay:1", f"dir:{tmp_path}/dir"]
    subprocess.run(copy, check=True, capture_output=True)
    raw = (tmp_path / "dir/manifest.json").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == built.digest.hex
    done = subprocess.run(
        [skopeo, "inspect", "--config", f"oci:{tmp_path}/lay:1"], check=True, capture_output=True
    )
    assert json.loads(done.stdout)["architecture"] == host_platform().architecture


def test_index_is_pushed_with_all_that_it_names(kitchen: Kitchen, tmp_path: Path) -> None:
    import imagesmith

    with Registry(tmp_path / "registry") as registry:
        name = f"{registry.host}/t/a:1"
        built = build(kitchen, tags=[name], push=True, insecure=True)
        other = tmp_path / "other"
        assert imagesmith.pull(name, root=other, insecure=True).digest == built.digest
        (entry,) = built.attestations[str(host_platform())]
        with Store(other) as store:
            (layer,) = json.loads(store.blobs.read(entry.digest))["layers"]
            raw = next(f for f in other.rglob(layer["digest"].partition(":")[2])).read_bytes()
    (subject,) = json.loads(raw)["subject"]
    assert subject["name"] == f"pkg:docker/{registry.host.replace(':', '%3A')}/t/a@1?platform=" + str(
        host_platform()
    ).replace("/", "%2F")


def test_docker_archive_of_an_index_has_no_manifest_json(kitchen: Kitchen, tmp_path: Path) -> None:
    build(kitchen, f"type=docker,dest={tmp_path}/a.tar", tags=["a:1"])
    build(kitchen, f"type=docker,dest={tmp_path}/b.tar", tags=["a:1"], provenance="inline-only=true")
    names = [tarfile.open(tmp_path / f"{name}.tar").getnames() for name in "ab"]
    assert ["manifest.json" in n for n in names] == [False, True]
    assert all("index.json" in n for n in names)


def test_outputs_of_one_build_have_what_each_can(kitchen: Kitchen, tmp_path: Path) -> None:
    outputs = (f"type=oci,dest={tmp_path}/o.tar", "type=image", f"type=oci,dest={tmp_path}/p.tar")
    built = build(kitchen, outputs[0], outputs[1], provenance="inline-only=true", tags=["a:1"])
    with tarfile.open(tmp_path / "o.tar") as tar, Store(kitchen.root) as store:
        entry = json.load(tar.extractfile("index.json"))["manifests"][0]  # type: ignore[arg-type]
        (named,) = store.images()
    assert (entry["digest"], built.index) == (str(built.image.manifest.digest), None)
    assert named[1].media_type == "application/vnd.oci.image.index.v1+json"


def test_what_outputs_share_is_worked_out_once(kitchen: Kitchen, tmp_path: Path) -> None:
    outputs = (f"type=oci,dest={tmp_path}/o.tar", "type=image", f"type=local,dest={tmp_path}/out")
    with (
        patch("imagesmith.attest.attesting.materials_of", wraps=materials_of) as materials,
        patch("imagesmith.attest.attesting.worktree_of", wraps=worktree_of) as worktree,
    ):
        built = build(kitchen, *outputs, tags=["a:1"], platform="linux/amd64,linux/arm64", build_args=EPOCH)
    assert (materials.call_count, worktree.call_count) == (2, 1)
    with tarfile.open(tmp_path / "o.tar") as tar:
        [entry] = json.load(tar.extractfile("index.json"))["manifests"]  # type: ignore[arg-type]
    assert entry["digest"] == str(built.digest)


def test_old_form_is_the_outputs_choice(kitchen: Kitchen, shelf: Shelf) -> None:
    built = build(kitchen, "type=image,oci-artifact=false", tags=["a:1"])
    (entry,) = built.attestations[str(host_platform())]
    manifest = shelf.json(entry.digest)
    assert "artifactType" not in manifest
    assert shelf.json(manifest["config"]["digest"])["os"] == "unknown"


@pytest.mark.parametrize(
    "text", ["type=image,oci-mediatypes=false", "type=local,dest=x,attestation-prefix=a/"]
)
def test_what_an_output_cannot_have_is_told_before_anything_is_built(kitchen: Kitchen, text: str) -> None:
    with pytest.raises(UsageError):
        build(kitchen, text, tags=["a:1"])
    assert kitchen.executed == []


def test_folder_has_statements_about_its_files(kitchen: Kitchen, tmp_path: Path) -> None:
    build(kitchen, f"type=local,dest={tmp_path}/out", provenance="mode=max,filename=p.json")
    statement = json.loads((tmp_path / "out/p.json").read_bytes())
    assert {s["name"]: s["digest"]["sha256"] for s in statement["subject"]} == {
        name: hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() for name in ("a", "d/b")
    }
    assert stat.S_IMODE((tmp_path / "out/p.json").stat().st_mode) == 0o600
    assert (tmp_path / "out/p.json").read_text().startswith('{\n  "_type": ')


def test_tar_has_them_too_under_a_prefix(kitchen: Kitchen, tmp_path: Path) -> None:
    for name in ("a", "b"):
        build(kitchen, f"type=tar,dest={tmp_path}/{name}.tar,attestation-prefix=x.", build_args=EPOCH)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames() == ["a", "d", "d/b", "x.provenance.json"]
        info = tar.getmember("x.provenance.json")
        assert (info.mode, info.mtime, info.uid) == (0o600, int(EPOCH["SOURCE_DATE_EPOCH"]), 0)
        statement = json.load(tar.extractfile(info))  # type: ignore[arg-type]
    assert [s["name"] for s in statement["subject"]] == ["a", "d/b"]


@pytest.mark.parametrize(("status", "words"), [(400, {}), (500, {}), (400, {"provenance": ""})])
def test_a_registry_that_refuses_attestations_is_told_with_what_helps(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch, status: int, words: dict[str, str]
) -> None:
    def push(*_: object) -> None:
        raise RegistryError("the registry refused it", status=status)

    monkeypatch.setattr(Bases, "push", push)
    with pytest.raises(RegistryError) as e:
        build(kitchen, "type=image,push=true,name=r.example/a", **words)
    assert ("oci-artifact=false" in e.value.hint) == (status == 400 and not words)


def test_no_statement_takes_the_place_of_a_file_of_the_image(kitchen: Kitchen, tmp_path: Path) -> None:
    for place in (f"type=local,dest={tmp_path}/out", f"type=tar,dest={tmp_path}/out.tar"):
        with pytest.raises(UsageError, match="the image has a file a, and so is its attestation called"):
            build(kitchen, place, provenance="filename=a")
    build(kitchen, f"type=local,dest={tmp_path}/out,attestation-prefix=x-", provenance="filename=a")
    assert (tmp_path / "out/a").read_text() == "text"


def test_inline_only_leaves_files_alone(kitchen: Kitchen, tmp_path: Path) -> None:
    build(kitchen, f"type=local,dest={tmp_path}/out", provenance="inline-only=true")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a", "d"]


@pytest.mark.parametrize("mode", ["min", "max", ""])
def test_metadata_file_has_it_also_where_nothing_is_attested(kitchen: Kitchen, mode: str) -> None:
    kitchen.write({"a": "text", "b": "more", "Dockerfile": FILE})
    request = BuildRequest(context=str(kitchen.context), recorded=mode, labels={"k": "v"})
    built = run_build(request, Settings(root=kitchen.root), NOWHERE, lambda _event: None)
    document = json.loads(built.metadata())
    if not mode:
        assert "buildx.build.provenance" not in document
        return
    found = document["buildx.build.provenance"]
    assert found["buildType"] == "urn:imagesmith:dockerfile-build:v1"
    assert found["invocation"]["parameters"]["args"] == {"label:k": "v"}
    assert ("buildConfig" in found, "metadata" in found) == (mode == "max", mode == "max")
    assert built.index is None


def test_a_build_that_attests_nothing_does_not_load_what_attests(kitchen: Kitchen) -> None:
    kitchen.write({"a": "text", "b": "more", "Dockerfile": FILE})
    program = (
        "import sys; from imagesmith.cli.main import main\n"
        "status = main(sys.argv[1:])\n"
        "print(status, [m for m in sys.modules if m.startswith('imagesmith.attest')], file=sys.stderr)"
    )
    words = ["build", "-q", "--root", str(kitchen.root), "-t", "a", str(kitchen.context)]
    for more, loaded in (([], False), (["--provenance=mode=min"], True)):
        done = subprocess.run(
            [sys.executable, "-c", program, *words, *more], capture_output=True, text=True, check=True
        )
        assert done.stderr.startswith("0 [")
        assert ("imagesmith.attest" in done.stderr) is loaded


def test_prune_keeps_what_is_attested_of_images_with_names(kitchen: Kitchen, shelf: Shelf) -> None:
    built = build(kitchen, tags=["a:1"])
    before = shelf.statement(built)
    with Store(kitchen.root) as store:
        store.prune()
    assert shelf.statement(built) == before
