"""artifact push, pull and ls: files and folders as oras keeps them, and names that would lead elsewhere."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.store.store import Store
from tests.cli.conftest import Run
from tests.support import need_program

TITLE = "org.opencontainers.image.title"
UNPACK, CONTENT = "io.deis.oras.content.unpack", "io.deis.oras.content.digest"


def _files(tmp_path: Path) -> None:
    """A file and a folder with a link, a file that runs and an empty folder."""
    (tmp_path / "model.bin").write_bytes(os.urandom(70_000))
    (tmp_path / "conf/deep/empty").mkdir(parents=True)
    (tmp_path / "conf/a.txt").write_text("a")
    (tmp_path / "conf/deep/run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "conf/deep/run.sh").chmod(0o755)
    (tmp_path / "conf/deep/up").symlink_to("../a.txt")


def _tree(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    return {
        str(p.relative_to(folder)): (
            p.lstat().st_mode & 0o777,
            os.readlink(p) if p.is_symlink() else p.read_bytes() if p.is_file() else "",
        )
        for p in folder.rglob("*")
    }


@pytest.mark.parametrize("place", ["{}/t/art:1", "oci:layout:art", "store:art:1"])
def test_what_is_pushed_comes_back(run: Run, host: str, tmp_path: Path, place: str) -> None:
    _files(tmp_path)
    name = place.format(host)
    made = run("artifact", "push", name, "model.bin:application/vnd.me.model", "conf").strip()
    run("artifact", "pull", name, "-o", "out")
    assert (tmp_path / "out/model.bin").read_bytes() == (tmp_path / "model.bin").read_bytes()
    assert _tree(tmp_path / "out/conf") == _tree(tmp_path / "conf")
    manifest = Manifest.parse(run("inspect", "--raw", name).encode())
    assert manifest.artifact_type == "application/vnd.unknown.artifact.v1"
    assert manifest.config.media_type == "application/vnd.oci.empty.v1+json"
    model, conf = manifest.layers
    assert (model.media_type, model.annotations) == ("application/vnd.me.model", {TITLE: "model.bin"})
    assert conf.media_type == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert conf.annotations[UNPACK] == "true"
    os.utime(tmp_path / "conf/a.txt", (1, 1))
    assert run("artifact", "push", "oci:again", "model.bin:application/vnd.me.model", "conf").strip() == made
    listed = run("artifact", "ls", name).splitlines()
    assert [line.split()[0] for line in listed] == ["NAME", "model.bin", "conf/"]
    assert [f["path"] for f in json.loads(run("artifact", "ls", "--json", name))] == ["model.bin", "conf"]


def test_config_annotations_and_subject_are_said(run: Run, host: str, image: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "config.json").write_text("{}")
    notes = {"$manifest": {"by": "file", "m": "1"}, "$config": {"c": "2"}, "a": {"f": "3"}}
    (tmp_path / "notes.json").write_text(json.dumps(notes))
    run("push", "app:1", f"{host}/t/app:1")
    flags = ("--config", "config.json:application/vnd.me.config", "--annotation-file", "notes.json")
    more = ("-a", "by=flag", "--subject", f"{host}/t/app:1", "--artifact-type", "application/vnd.me")
    made = run("artifact", "push", f"{host}/t/app:note", "a", *flags, *more).strip()
    manifest = Manifest.parse(run("inspect", "--raw", f"{host}/t/app:note").encode())
    assert manifest.annotations == {"by": "flag", "m": "1"}
    assert manifest.config.annotations == {"c": "2"}
    assert manifest.config.media_type == "application/vnd.me.config"
    assert manifest.layers[0].annotations == {"f": "3", TITLE: "a"}
    assert str(manifest.subject and manifest.subject.digest) == image
    assert made in run("referrers", f"{host}/t/app:1")
    (tmp_path / "notes.json").write_text('{"b": {}}')
    assert "annotations for b" in run("artifact", "push", "oci:x", "a", *flags, status=2)


def test_titles_are_paths_that_stay_inside(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/f").write_text("f")
    (tmp_path / "f").write_text("other")
    run("artifact", "push", "oci:x", "./sub//f", str(tmp_path / "f"))
    assert [f["path"] for f in json.loads(run("artifact", "ls", "--json", "oci:x"))] == ["sub/f", "f"]
    assert "have the same name" in run("artifact", "push", "oci:y", "f", str(tmp_path / "f"), status=2)
    assert "cannot read none" in run("artifact", "push", "oci:y", "none", status=2)
    assert "nothing is pushed" in run("artifact", "push", "oci:y", status=2)


def test_files_that_are_there_are_replaced_or_kept(run: Run, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("new")
    run("artifact", "push", "oci:x", "f")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/f").write_text("old")
    assert "is to be kept" in run("artifact", "pull", "-k", "oci:x", "-o", "out", status=2)
    assert (tmp_path / "out/f").read_text() == "old"
    (tmp_path / "out/f").unlink()
    (tmp_path / "out/f").symlink_to(tmp_path / "f")
    run("artifact", "pull", "oci:x", "-o", "out")
    assert not (tmp_path / "out/f").is_symlink()


def test_an_image_has_no_files_of_that_kind(run: Run, image: str) -> None:
    del image
    assert "nothing in it has a file's name" in run("artifact", "pull", "store:app:1", status=6)


def _hostile(store: Path, title: str, tar: bytes | None = None, **more: str) -> None:
    """An artifact `bad:1` of one layer."""
    from imagesmith.oci.names import ImageRef

    data = b"x" if tar is None else gzip.compress(tar)
    notes = {TITLE: title, **({UNPACK: "true"} if tar is not None else {}), **more}
    with Store(store) as there:
        for blob in (b"{}", data):
            there.blobs.put(blob)
        config = Descriptor(
            media_type="application/vnd.oci.empty.v1+json", digest=digest_bytes(b"{}"), size=2
        )
        layer = Descriptor(media_type="a/b", digest=digest_bytes(data), size=len(data), annotations=notes)
        manifest = Manifest.build(config, [layer], artifact_type="a/b")
        there.blobs.put(manifest.raw)
        there.name(ImageRef.parse("bad:1"), manifest.descriptor())


@pytest.mark.parametrize(
    "title", ["../evil", "/tmp/evil", "a/../../evil", "..", ".", "/", "a/\0b", "x" * 300]
)
def test_titles_that_lead_elsewhere_are_refused(run: Run, tmp_path: Path, title: str) -> None:
    _hostile(tmp_path / "store", title)
    run("artifact", "pull", "store:bad:1", "-o", "deep/out", status=6)
    assert not (tmp_path / "deep/evil").exists()


def _tar(*members: tuple[str, bytes, str]) -> bytes:
    """A tar of (name, type, link)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = kind, link, 0o755
            tar.addfile(info)
    return out.getvalue()


DIR, LINK, HARD, FILE = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.REGTYPE


@pytest.mark.parametrize(
    "members",
    [
        [("evil", FILE, "")],
        [("d", DIR, ""), ("d/../evil", FILE, "")],
        [("d", DIR, ""), ("d/l", LINK, "/etc")],
        [("d", DIR, ""), ("d/l", LINK, "../..")],
        [("d", DIR, ""), ("d/l", LINK, ".."), ("d/l/evil", FILE, "")],
        [("d", DIR, ""), ("d/same", LINK, "."), ("d/l", LINK, "same/../evil")],
        [("d", LINK, "/etc")],
        [("d", DIR, ""), ("d/h", HARD, "secret")],
        [("dd/evil", FILE, "")],
    ],
)
def test_tars_that_lead_elsewhere_are_refused(
    run: Run, tmp_path: Path, members: list[tuple[str, bytes, str]]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/secret").write_text("mine")
    _hostile(tmp_path / "store", "d", _tar(*members))
    run("artifact", "pull", "store:bad:1", "-o", "out", status=6)
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.name != "d") == ["secret"]
    assert not (tmp_path / "evil").exists()


def test_links_on_the_way_are_not_followed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/d").symlink_to(tmp_path / "elsewhere")
    _hostile(tmp_path / "store", "d/f")
    assert "a link or a file, where" in run("artifact", "pull", "store:bad:1", "-o", "out", status=6)
    _hostile(tmp_path / "store", "d", _tar(("d", DIR, ""), ("d/f", FILE, "")))
    run("artifact", "pull", "store:bad:1", "-o", "out")
    assert not list((tmp_path / "elsewhere").iterdir())
    _hostile(tmp_path / "store", "d", _tar(("d", DIR, "")), **{CONTENT: f"sha256:{'0' * 64}"})
    assert "as its annotation says" in run("artifact", "pull", "store:bad:1", "-o", "out", status=6)


def test_artifacts_go_wherever_images_go(run: Run, host: str, tmp_path: Path) -> None:
    _files(tmp_path)
    made = run("artifact", "push", f"{host}/t/art:1", "model.bin", "conf")
    assert run("copy", f"{host}/t/art:1", "oci:layout:art") == made
    assert run("copy", "oci:layout:art", "oci-archive:art.tar:art") == made
    assert run("copy", "oci-archive:art.tar", "store:art:1") == made
    run("save", "--format", "oci", "-o", "saved.tar", "art:1")
    run("load", "--root", "other", "-i", "saved.tar")
    assert run("push", "--root", "other", "art:1", f"{host}/t/back:1") == made
    assert run("mirror", "-", stdin=f"{host}/t/back:1 {host}/m/art:1".encode()).split()[0] == made.strip()
    run("artifact", "pull", f"{host}/m/art:1", "-o", "out")
    assert _tree(tmp_path / "out/conf") == _tree(tmp_path / "conf")


def test_skopeo_carries_an_artifact(run: Run, host: str, tmp_path: Path) -> None:
    skopeo = need_program("skopeo")
    _files(tmp_path)
    made = run("artifact", "push", "oci:layout:art", "model.bin", "conf", "--config", "conf/a.txt:a/b")
    target = ("--dest-tls-verify=false", f"docker://{host}/t/art:1")
    done = subprocess.run([skopeo, "--insecure-policy", "copy", "-q", "oci:layout:art", *target], check=False)
    assert done.returncode == 0
    assert run("digest", f"{host}/t/art:1") == made
    run("artifact", "pull", f"{host}/t/art:1", "-o", "out")
    assert _tree(tmp_path / "out/conf") == _tree(tmp_path / "conf")


@pytest.mark.parametrize("name", ["f", "d"])
def test_what_is_damaged_is_not_left_there(run: Run, tmp_path: Path, name: str) -> None:
    """Where a blob is not what the manifest says, nothing gets its name."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x").write_text("x" * 5000)
    (tmp_path / "f").write_text("y" * 5000)
    run("artifact", "push", "oci:layout", name)
    [layer] = Manifest.parse(run("inspect", "--raw", "oci:layout").encode()).layers
    blob = tmp_path / "layout/blobs/sha256" / layer.digest.hex
    data = bytearray(blob.read_bytes())
    data[-9 if name == "d" else 9] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    run("artifact", "pull", "oci:layout", "-o", "out", status=6)
    assert not list((tmp_path / "out").iterdir())
