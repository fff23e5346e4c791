from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import imagesmith
from imagesmith.errors import InvalidDocument, NotFound, UsageError
from imagesmith.request import Output
from imagesmith.store.store import Store
from tests.kitchen import OLD_S, Kitchen
from tests.registry.conftest import serve_embedded
from tests.support import PROJECT, need_program

FILE = "FROM scratch\nCOPY --chown=5:6 d /d\nCOPY --chmod=4755 g /g\n"


@pytest.fixture
def cook(kitchen: Kitchen) -> Kitchen:
    """A kitchen with files in its context."""
    kitchen.write({"d/a": "a", "d/l": "-> a", "g": "tool"})
    os.link(kitchen.context / "d/a", kitchen.context / "d/b")
    kitchen.age()
    (kitchen.context / "Dockerfile").write_text(FILE)
    return kitchen


def test_layout_tar_is_laid_out_as_buildkits(cook: Kitchen, tmp_path: Path) -> None:
    built = cook.build(tags=["r.example/x:1", "y"], outputs=[f"type=oci,dest={tmp_path / 'o.tar'}"])
    with tarfile.open(tmp_path / "o.tar") as tar:
        names, members = tar.getnames(), tar.getmembers()
        index = json.loads(tar.extractfile("index.json").read())  # type: ignore[union-attr]  # a file
    assert names[:2] == ["blobs", "blobs/sha256"]
    assert names[-2:] == ["index.json", "oci-layout"]
    assert names[2:-2] == sorted(names[2:-2])
    assert {(m.mtime, m.uid, m.gid) for m in members} == {(0, 0, 0)}
    assert [oct(m.mode) for m in members[-3:]] == ["0o444", "0o644", "0o444"]
    annotations = [m["annotations"] for m in index["manifests"]]
    assert [a["io.containerd.image.name"] for a in annotations] == [
        "r.example/x:1",
        "docker.io/library/y:latest",
    ]
    assert [a["org.opencontainers.image.ref.name"] for a in annotations] == ["1", "latest"]
    assert {m["digest"] for m in index["manifests"]} == {str(built.digest)}
    platform = built.image.config.platform
    assert [m["platform"] for m in index["manifests"]] == [platform.to_json()] * 2


def test_layout_tar_is_the_same_each_time(cook: Kitchen, tmp_path: Path) -> None:
    for name in ("1", "2"):
        cook.build(tags=["x"], outputs=[f"type=oci,dest={tmp_path / name}"])
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_docker_archive_has_the_table_that_docker_reads(cook: Kitchen, tmp_path: Path) -> None:
    built = cook.build(tags=["r.example/x:1", "y"], outputs=[f"type=docker,dest={tmp_path / 'd.tar'}"])
    with tarfile.open(tmp_path / "d.tar") as tar:
        names = tar.getnames()
        (entry,) = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]  # a file
    assert names[-3:] == ["index.json", "manifest.json", "oci-layout"]
    assert entry["RepoTags"] == ["r.example/x:1", "y:latest"]
    assert entry["Config"] == f"blobs/sha256/{built.image_id.hex}"
    assert set(entry["Layers"]) <= set(names)


def test_layout_folder_keeps_images_of_other_names(cook: Kitchen, tmp_path: Path) -> None:
    folder = tmp_path / "o"
    for tag, label in (("x:1", "a"), ("x:2", "b"), ("x:1", "c")):
        cook.build(tags=[tag], labels={"l": label}, outputs=[f"type=oci,tar=false,dest={folder}"])
    index = json.loads((folder / "index.json").read_bytes())
    names = [m["annotations"]["org.opencontainers.image.ref.name"] for m in index["manifests"]]
    assert names == ["2", "1"]
    assert (folder / "ingest").is_dir()


def test_layout_folder_has_an_image_under_each_of_its_names(cook: Kitchen, tmp_path: Path) -> None:
    epoch = {"SOURCE_DATE_EPOCH": "1000"}
    for tags in ([], ["x:1"], ["x:2"], [], ["x:1"]):
        cook.build(tags=tags, build_args=epoch, outputs=[f"type=oci,tar=false,dest={tmp_path / 'o'}"])
    index = json.loads((tmp_path / "o" / "index.json").read_bytes())
    names = [m["annotations"].get("org.opencontainers.image.ref.name") for m in index["manifests"]]
    assert names == ["2", "1"]
    assert len({m["digest"] for m in index["manifests"]}) == 1


_WRITER = """
import sys
from pathlib import Path
from imagesmith.events import nobody
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store
from imagesmith.transports.copier import Choice, plan_copy
from imagesmith.transports.layout import LayoutFolder
from imagesmith.transports.sender import copy_image
from imagesmith.transports.stored import StorePlace

with Store(Path(sys.argv[1])) as store:
    source = StorePlace(store, ImageRef.parse("x"))
    plan = plan_copy(source, Choice())
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(20):
        names = [f"x:{sys.argv[3]}{n}"]
        folder = LayoutFolder(Path(sys.argv[2]), create=True, names=names, exported="2026-01-01T00:00:00Z")
        copy_image(source, folder, plan, step=1, events=nobody)
"""


def test_layout_folder_that_two_write_at_once_has_all_their_images(cook: Kitchen, tmp_path: Path) -> None:
    cook.build(tags=["x"])
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, cook.root, tmp_path / "o", name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT,
        )
        for name in "ab"
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [writer.communicate()[0] for writer in writers] == ["", ""]
    index = json.loads((tmp_path / "o" / "index.json").read_bytes())
    names = {m["annotations"]["org.opencontainers.image.ref.name"] for m in index["manifests"]}
    assert names == {f"{name}{n}" for name in "ab" for n in range(20)}


def test_layout_folder_that_cannot_be_written_is_named(cook: Kitchen, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot write .*file/o: not a directory"):
        cook.build(outputs=[f"type=oci,tar=false,dest={tmp_path / 'file' / 'o'}"])


def test_folders_of_results_are_made_with_those_above_them(cook: Kitchen, tmp_path: Path) -> None:
    cook.build(outputs=[f"type=local,dest={tmp_path}/a/b", f"type=oci,tar=false,dest={tmp_path}/c/d"])
    assert (tmp_path / "a" / "b").is_dir()
    assert (tmp_path / "c" / "d" / "index.json").is_file()


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"manifests":[{"annotations":[]}]}'])
def test_layout_folder_with_a_damaged_index_is_refused(cook: Kitchen, tmp_path: Path, text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.json").write_text(text)
    with pytest.raises(InvalidDocument, match=r"index\.json"):
        cook.build(outputs=[f"type=oci,tar=false,dest={tmp_path / 'out'}"])
    assert (tmp_path / "out" / "index.json").read_text() == text


def test_a_file_has_the_mode_of_any_new_file(cook: Kitchen, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    mask = os.umask(0o027)
    try:
        cook.build(outputs=[f"type=tar,dest={tmp_path / 'out' / 'o.tar'}"])
    finally:
        os.umask(mask)
    assert (tmp_path / "out" / "o.tar").stat().st_mode & 0o777 == 0o640
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["o.tar"]


def test_an_archive_is_on_disk_before_it_has_its_name(
    cook: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[int, int] = {}

    def fsync(fd: int) -> None:
        found = os.fstat(fd)
        synced[found.st_ino] = found.st_size

    monkeypatch.setattr(os, "fsync", fsync)
    files = [f"type={kind},dest={tmp_path / kind}" for kind in ("oci", "docker", "tar")]
    cook.build(tags=["x"], outputs=["type=image", *files])
    imagesmith.copy("store:x", f"oci-archive:{tmp_path / 'copy'}", root=cook.root)
    for name in ("oci", "docker", "tar", "copy"):
        found = (tmp_path / name).stat()
        assert synced[found.st_ino] == found.st_size


def test_root_file_system_comes_as_a_tar(cook: Kitchen, tmp_path: Path) -> None:
    cook.build(outputs=[f"type=tar,dest={tmp_path / 'r.tar'}"])
    with tarfile.open(tmp_path / "r.tar") as tar:
        members = {m.name: m for m in tar.getmembers()}
    assert list(members) == ["d", "d/a", "d/b", "d/l", "g"]
    assert (members["d/a"].uid, members["d/a"].gid, members["d/a"].mtime) == (5, 6, OLD_S)
    assert (members["d/b"].islnk(), members["d/b"].linkname) == (True, "d/a")
    assert (members["g"].mode, members["d/l"].linkname) == (0o4755, "a")


def test_every_time_of_a_tar_is_the_epoch(cook: Kitchen, tmp_path: Path) -> None:
    cook.build(build_args={"SOURCE_DATE_EPOCH": "1000"}, outputs=[f"type=tar,dest={tmp_path / 'r.tar'}"])
    with tarfile.open(tmp_path / "r.tar") as tar:
        assert {m.mtime for m in tar.getmembers()} == {1000}


def test_root_file_system_comes_as_a_folder(cook: Kitchen, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "kept").write_text("mine")
    (out / "g").write_text("old")
    cook.build(outputs=[f"type=local,dest={out}"])
    assert sorted(p.name for p in out.iterdir()) == ["d", "g", "kept"]
    assert (out / "g").read_text() == "tool"
    assert (out / "g").stat().st_mode & 0o7777 == 0o4755
    assert (out / "g").stat().st_mtime == OLD_S
    assert (out / "d/a").stat().st_ino == (out / "d/b").stat().st_ino
    assert (out / "d/a").stat().st_uid == os.geteuid()


def test_folder_is_emptied_first_when_that_is_asked_for(cook: Kitchen, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "old").mkdir(parents=True)
    (out / "old/x").write_text("gone")
    (out / "link").symlink_to(tmp_path)
    cook.build(outputs=[f"type=local,dest={out},mode=delete"])
    assert sorted(p.name for p in out.iterdir()) == ["d", "g"]
    assert (tmp_path / "store").is_dir()


def test_a_link_in_the_folder_is_not_followed_out_of_it(cook: Kitchen, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "d").symlink_to(tmp_path / "elsewhere")
    cook.build(outputs=[f"type=local,dest={out}"])
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_image_without_names_is_kept_under_none(cook: Kitchen) -> None:
    cook.build(outputs=["type=image"])
    with Store(cook.root) as store:
        assert list(store.images()) == []


def test_names_of_the_output_are_used_where_no_tag_is_given(cook: Kitchen) -> None:
    cook.build(outputs=['type=image,"name=a.example/x:1,b.example/y:2"'])
    cook.build(tags=["c.example/z:3"], outputs=["type=image,name=no.example/n:1"])
    with Store(cook.root) as store:
        names = [str(ref) for ref, _ in store.images()]
    assert sorted(names) == ["a.example/x:1", "b.example/y:2", "c.example/z:3"]


def test_canonical_name_has_the_digest_and_no_name_is_kept_without_store(cook: Kitchen) -> None:
    built = cook.build(tags=["a.example/x:1"], outputs=["type=image,name-canonical=true"])
    cook.build(tags=["b.example/y:1"], outputs=["type=image,store=false"])
    with Store(cook.root) as store:
        names = sorted(str(ref) for ref, _ in store.images())
    assert names == ["a.example/x:1", f"a.example/x@{built.digest}"]


def test_a_tag_cannot_be_pushed_by_digest(cook: Kitchen) -> None:
    with pytest.raises(UsageError, match="can't push tagged ref a\\.example/x:1 by digest"):
        cook.build(tags=["a.example/x:1"], outputs=["type=image,push=true,push-by-digest=true"])


def test_nothing_half_written_is_left_when_the_place_cannot_be_written(cook: Kitchen, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        cook.build(outputs=[Output(type="oci", dest=str(tmp_path / "file" / "o.tar"))])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["context", "file", "store"]


def test_a_pipe_takes_a_tar(cook: Kitchen, tmp_path: Path) -> None:
    import threading

    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    cook.build(outputs=[f"type=tar,dest={pipe}"])
    reader.join()
    assert got
    assert got[0].startswith(b"d/")


# --- with registries and other programs --------------------------------------------------------


@pytest.mark.slow
def test_image_is_pushed_under_every_tag(cook: Kitchen, tmp_path: Path) -> None:
    with serve_embedded(tmp_path / "registry") as served:
        tags = [f"{served.host}/a/b:1", f"{served.host}/c:2"]
        built = cook.build(tags=tags, push=True)
        for tag in tags:
            assert imagesmith.pull(tag, root=tmp_path / "other").digest == built.digest


@pytest.mark.slow
def test_image_is_pushed_by_digest_without_a_tag(cook: Kitchen, tmp_path: Path) -> None:
    with serve_embedded(tmp_path / "registry") as served:
        name = f"{served.host}/a/b"
        built = cook.build(outputs=[f"type=image,push=true,push-by-digest=true,name={name}"])
        assert imagesmith.pull(f"{name}@{built.digest}", root=tmp_path / "other").digest == built.digest
        with pytest.raises(NotFound):
            imagesmith.pull(f"{name}:latest", root=tmp_path / "other")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "transport"), [("oci", "oci-archive"), ("docker", "docker-archive")])
@pytest.mark.parametrize("compression", ["gzip", "zstd", "uncompressed"])
def test_skopeo_reads_the_archives(
    cook: Kitchen, tmp_path: Path, kind: str, transport: str, compression: str
) -> None:
    program = need_program("skopeo")
    out = tmp_path / "out.tar"
    built = cook.build(tags=["x:1"], outputs=[f"type={kind},dest={out},compression={compression}"])
    copied = tmp_path / "copied"
    done = subprocess.run(
        [program, "--insecure-policy", "copy", "-q", f"{transport}:{out}", f"dir:{copied}"],
        capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads((copied / "manifest.json").read_bytes())
    assert manifest["config"]["digest"] == str(built.image_id)
