"""Layouts and archives as ends of copies: what is written is read back, by us and by others."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.errors import (
    DigestMismatch,
    ImagesmithError,
    InvalidDocument,
    InvalidReference,
    NotFound,
    UsageError,
)
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import Platform
from imagesmith.store.store import Store
from imagesmith.transports.copier import Choice
from imagesmith.transports.files import TarFiles
from imagesmith.transports.layout import LayoutFolder
from imagesmith.transports.names import PlaceName, open_source, open_target
from imagesmith.transports.stored import StorePlace
from imagesmith.transports.transfer import Session
from imagesmith.transports.validate import validate
from tests.registry.images import layer_tar, make_image, make_index
from tests.support import need_program

AMD = Platform("linux", "amd64")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def copy(store: Store, source: str, target: str, choice: Choice | None = None) -> Descriptor:
    with (
        Session(store) as session,
        open_source(PlaceName.parse(source, "store"), session, store) as a,
        open_target(PlaceName.parse(target, "store"), session, store) as b,
    ):
        return session.copy(a, b, choice)


def check(store: Store, place: str) -> str:
    with Session(store) as session, open_source(PlaceName.parse(place), session, store) as source:
        return validate(source)


@pytest.mark.parametrize(
    ("text", "kind", "path", "ref"),
    [
        ("oci:dir", "oci", "dir", ""),
        ("oci:/a/dir:tag", "oci", "/a/dir", "tag"),
        ("oci:dir:host/name:1", "oci", "dir", "host/name:1"),
        (f"oci:dir@sha256:{'a' * 64}", "oci", "dir", f"@sha256:{'a' * 64}"),
        ("oci-archive:f.tar:x", "oci-archive", "f.tar", "x"),
        ("docker-archive:f.tar:a:1", "docker-archive", "f.tar", "a:1"),
    ],
)
def test_place_of_files_is_read(text: str, kind: str, path: str, ref: str) -> None:
    found = PlaceName.parse(text)
    assert (found.kind, found.path, found.ref) == (kind, path, ref)


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("alpine", "registry", "docker.io/library/alpine:latest"),
        ("docker://h.io/a:1", "registry", "h.io/a:1"),
        ("store:a", "store", "docker.io/library/a:latest"),
        ("oci", "registry", "docker.io/library/oci:latest"),
    ],
)
def test_place_of_a_name_is_read(text: str, kind: str, name: str) -> None:
    found = PlaceName.parse(text)
    assert (found.kind, str(found.image)) == (kind, name)


@pytest.mark.parametrize("text", ["oci:", "dir:x", "docker-daemon:a", "containers-storage:a", "UPPER", ""])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises((UsageError, InvalidReference)):
        PlaceName.parse(text)


@pytest.mark.parametrize("make", [make_image, make_index])
@pytest.mark.parametrize("place", ["oci:{}/layout:one", "oci-archive:{}/a.tar:one"])
def test_image_comes_back_from_a_layout_as_it_was(
    store: Store, tmp_path: Path, make: object, place: str
) -> None:
    d = make(store, "a:1")  # type: ignore[operator]  # one of two functions
    where = place.format(tmp_path)
    assert copy(store, "a:1", where).digest == d.digest
    with Store(tmp_path / "other") as other:
        assert copy(other, where, "b:1").digest == d.digest
        assert set(other.blobs.digests()) >= {d.digest}
        assert check(other, where).startswith("2 manifests" if make is make_index else "1 manifests")


def test_layout_holds_several_images_by_name(store: Store, tmp_path: Path) -> None:
    make_image(store, "a:1")
    make_index(store, "b:1")
    for name in ("a:1", "b:1"):
        copy(store, name, f"oci:{tmp_path}/l:{name[0]}")
    folder = LayoutFolder(tmp_path / "l", "b")
    assert folder.names() == ["a", "b"]
    with pytest.raises(NotFound, match="2 images in the layout"):
        LayoutFolder(tmp_path / "l").root()
    with pytest.raises(NotFound, match="no image named c"):
        LayoutFolder(tmp_path / "l", "c").root()
    copy(store, "a:1", f"oci:{tmp_path}/l:b")  # the name moves
    folder.unname()
    assert folder.names() == ["a"]


def test_names_given_at_the_same_time_are_all_kept(store: Store, tmp_path: Path) -> None:
    d = make_image(store, "a:1")
    begin = threading.Barrier(8)

    def name(n: int) -> None:
        begin.wait()
        for m in range(4):
            LayoutFolder(tmp_path / "l", f"{n}-{m}", create=True).finish(d, store.blobs.read(d.digest))

    threads = [threading.Thread(target=name, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(LayoutFolder(tmp_path / "l").names()) == 32
    assert sorted(p.name for p in (tmp_path / "l").iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_archive_is_the_same_every_time_and_appears_when_complete(store: Store, tmp_path: Path) -> None:
    make_index(store, "a:1")
    copy(store, "a:1", f"oci-archive:{tmp_path}/1.tar:x")
    copy(store, "a:1", f"oci-archive:{tmp_path}/2.tar:x")
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    with pytest.raises(NotFound):
        copy(store, "nope:1", f"oci-archive:{tmp_path}/3.tar:x")
    assert not list(tmp_path.glob("*3.tar*"))


def test_docker_archive_holds_one_platform(store: Store, tmp_path: Path) -> None:
    make_index(store, "a:1")
    with pytest.raises(UsageError, match="one platform"):
        copy(store, "a:1", f"docker-archive:{tmp_path}/a.tar:a:1")
    copy(store, "a:1", f"docker-archive:{tmp_path}/a.tar:a:1", Choice(platforms=(AMD,)))
    with tarfile.open(tmp_path / "a.tar") as tar:
        table = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]  # it is a file
    assert table[0]["RepoTags"] == ["a:1"]


def docker_save(path: Path, *, layer: bytes, name: str = "x/layer.tar", link: str = "") -> None:
    """An archive as `docker save` of old wrote it."""
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [str(digest_bytes(layer))]},
        }
    ).encode()
    table = json.dumps([{"Config": "c.json", "RepoTags": ["a:1", "b:2"], "Layers": [link or name]}]).encode()
    with tarfile.open(path, "w") as tar:
        for member, data in (("c.json", config), ("manifest.json", table), (name, layer)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, f"../{name}"
            tar.addfile(info)


@pytest.mark.parametrize("link", ["", "old/layer.tar"])
def test_what_docker_saved_is_compressed_on_its_way_in(store: Store, tmp_path: Path, link: str) -> None:
    docker_save(tmp_path / "d.tar", layer=layer_tar({"f": b"hello"}), name="l.tar", link=link)
    d = copy(store, f"docker-archive:{tmp_path}/d.tar:b:2", "c:1")
    manifest = store.manifest(d, AMD)
    assert [x.media_type.rpartition("+")[2] for x in manifest.layers] == ["gzip"]
    assert validate(StorePlace(store, root=d)).startswith("1 manifests")


def test_layer_that_is_not_what_the_config_says_is_refused(store: Store, tmp_path: Path) -> None:
    docker_save(tmp_path / "d.tar", layer=layer_tar({"f": b"hello"}))
    raw = (tmp_path / "d.tar").read_bytes().replace(b"hello", b"HELLO")
    (tmp_path / "d.tar").write_bytes(raw)
    with pytest.raises(DigestMismatch, match="diff_id"):
        copy(store, f"docker-archive:{tmp_path}/d.tar", "c:1")


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"", InvalidDocument), (b"not a tar" * 100, InvalidDocument), (b"\x1f\x8bbroken", InvalidDocument)],
)
def test_file_that_is_no_archive_is_refused(
    store: Store, tmp_path: Path, data: bytes, error: type[ImagesmithError]
) -> None:
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(error):
        copy(store, f"docker-archive:{tmp_path}/f", "c:1")


def test_compressed_archive_is_read(store: Store, tmp_path: Path) -> None:
    d = make_image(store, "a:1")
    copy(store, "a:1", f"oci-archive:{tmp_path}/a.tar")
    subprocess.run(["gzip", "a.tar"], cwd=tmp_path, check=True)
    with contextlib.closing(TarFiles(str(tmp_path / "a.tar.gz"), tmp_path)) as files:
        assert files.size(f"blobs/sha256/{d.digest.hex}") == d.size
    assert check(store, f"oci-archive:{tmp_path}/a.tar.gz").startswith("1 manifests")


@pytest.mark.parametrize("what", ["config", "layer", "manifest"])
def test_damage_in_a_layout_is_found(store: Store, tmp_path: Path, what: str) -> None:
    d = make_image(store, "a:1")
    copy(store, "a:1", f"oci:{tmp_path}/l")
    manifest = store.manifest(d, AMD)
    digest = {"config": manifest.config.digest, "layer": manifest.layers[1].digest, "manifest": d.digest}[
        what
    ]
    path = tmp_path / "l/blobs/sha256" / digest.hex
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(ImagesmithError):
        check(store, f"oci:{tmp_path}/l")


def test_skopeo_reads_what_we_write_and_we_what_it_writes(store: Store, tmp_path: Path) -> None:
    skopeo = need_program("skopeo")
    d = make_image(store, "a:1")
    copy(store, "a:1", f"oci:{tmp_path}/l:t")
    copy(store, "a:1", f"oci-archive:{tmp_path}/o.tar:t")
    copy(store, "a:1", f"docker-archive:{tmp_path}/d.tar:a:1")

    def run(*words: str) -> None:
        done = subprocess.run([skopeo, *words], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr

    run("--insecure-policy", "copy", "oci:l:t", "oci:l2:t")
    run("--insecure-policy", "copy", "oci-archive:o.tar:t", "oci-archive:o2.tar:t")
    run("--insecure-policy", "copy", "docker-archive:d.tar:a:1", "docker-archive:d2.tar:a:2")
    assert copy(store, f"oci:{tmp_path}/l2:t", "b:1").digest == d.digest
    assert copy(store, f"oci-archive:{tmp_path}/o2.tar:t", "c:1").digest == d.digest
    back = copy(store, f"docker-archive:{tmp_path}/d2.tar:a:2", "d:1")
    assert store.manifest(back, AMD).config.digest == store.manifest(d, AMD).config.digest
