"""Files of images are what an export has, and are read from the layers that decide about them alone."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagesmith.embedded.registry import Registry
from imagesmith.errors import DigestMismatch, LimitExceeded, NotAnImage, NotFound, UnsafeArchive, UsageError
from imagesmith.explore.files import ImageFiles, list_files, open_files, read_file
from imagesmith.export.rootfs import Root, write_tar
from imagesmith.layer.estargz import TABLE_NOTE, write_estargz
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.settings import Access
from imagesmith.store.store import Store
from imagesmith.transports.stored import StorePlace
from imagesmith.transports.transfer import Session
from tests.registry.faultproxy import FaultProxy
from tests.registry.images import layer_tar, make_image

HERE = Platform("linux", "amd64")
LAYERS = (
    {"etc/": b"", "etc/os": b"one", "etc/gone": b"x", "old/": b"", "old/f": b"f", "big": b"b" * 5000},
    {"etc/.wh.gone": b"", "new/": b"", "new/f": b"n" * 10},
    {"old/": b"", "old/.wh..wh..opq": b"", "old/g": b"g", "top": b"top"},
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def opened(store: Store, *layers: dict[str, bytes]) -> ImageFiles:
    root = make_image(store, layers=layers or LAYERS)
    return open_files(StorePlace(store, root=root), store, HERE)


def names(files: ImageFiles, path: str = "/", *, recursive: bool = False) -> list[str]:
    return [f.path for f in list_files(files, path, recursive=recursive)]


def test_layers_are_read_from_the_top_down(store: Store) -> None:
    for path, content, layers in (
        ("/top", b"top", [3]),
        ("old/g", b"g", [3]),
        ("/new/f", b"n" * 10, [3, 2]),
        ("/etc/os", b"one", [3, 2, 1]),
    ):
        files = opened(store)
        assert read_file(files, path) == content
        assert files.read == layers
        assert files.find(path).layer == layers[-1]
    files = opened(store)
    assert names(files, "/old") == ["/old/g"]
    assert files.read == [3]
    assert names(files) == ["/big", "/etc", "/new", "/old", "/top"]
    assert files.read == [3, 2, 1]
    assert names(files, "/etc/os") == ["/etc/os"]
    assert names(files, "/", recursive=True)[:3] == ["/big", "/etc", "/etc/os"]


@pytest.mark.parametrize(
    ("path", "said", "layers"),
    [
        ("/etc/gone", "no /etc/gone: layer 2 of 3 removed it", [3, 2]),
        ("/old/f", "no /old/f: layer 3 of 3 hides what lower ones have in /old", [3]),
        ("/top/x", "no /top/x: /top is not a folder", [3]),
        ("/never", "no /never", [3, 2, 1]),
        ("/" + "x" * 5000, "no /" + "x" * 199 + "...", [3, 2, 1]),
    ],
)
def test_what_is_missing_is_told_by_the_layer_that_took_it(
    store: Store, path: str, said: str, layers: list[int]
) -> None:
    files = opened(store)
    with pytest.raises(NotFound) as e:
        files.find(path)
    assert e.value.message.partition(": ")[2] == said
    assert files.read == layers
    if "layer 2 of 3" in said:
        assert e.value.hint == "layer 2 is of: layer 1"


def linked(store: Store) -> ImageFiles:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        link, device = tarfile.SYMTYPE, tarfile.CHRTYPE
        for name, kind, target in (
            ("up", link, "../../../real"), ("abs", link, "/d/rel"), ("d", tarfile.DIRTYPE, ""),
            ("d/rel", link, "../real"), ("dir", link, "d"), ("loop", link, "loop"), ("out", link, "/nowhere"),
            ("hard", tarfile.LNKTYPE, "real"), ("null", device, ""), ("pipe", tarfile.FIFOTYPE, ""),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.devmajor, info.devminor = kind, target, 1, 3
            tar.addfile(info)
    return ImageFiles(*_image(store, [layer_tar({"real": b"real"}), out.getvalue()]), store)


def _image(store: Store, tars: list[bytes]) -> tuple[StorePlace, Manifest]:
    config = dumps(
        {"architecture": "amd64", "os": "linux",
         "rootfs": {"type": "layers", "diff_ids": [str(digest_bytes(t)) for t in tars]}}
    )  # fmt: skip
    for blob in (config, *tars):
        store.blobs.put(blob)
    manifest = Manifest.build(
        Descriptor(media_type=mt.OCI_CONFIG, digest=digest_bytes(config), size=len(config)),
        [Descriptor(media_type=mt.OCI_LAYER, digest=digest_bytes(t), size=len(t)) for t in tars],
    )
    store.blobs.put(manifest.raw)
    return StorePlace(store, root=manifest.descriptor()), manifest


def test_links_are_followed_within_the_image(store: Store) -> None:
    files = linked(store)
    for path in ("up", "abs", "dir/rel", "/d/../dir/./rel", "hard", "../../real"):
        assert read_file(files, path) == b"real", path
    assert files.find("up").path == "/real"
    link = files.find("up", follow=False)
    assert (link.kind, link.target) == ("symlink", "../../../real")
    assert files.find("hard").hardlink == "/real"
    assert files.find("null").device == (1, 3)
    assert names(files, "/dir") == ["/d/rel"]
    with pytest.raises(NotFound, match="too many levels"):
        files.find("loop")
    with pytest.raises(NotFound, match="no /out, which leads to /nowhere"):
        files.find("out")


def test_what_is_no_file_has_no_bytes(store: Store) -> None:
    files = linked(store)
    for path, what in (("d", "a folder"), ("pipe", "a fifo"), ("null", "a device"), ("/", "a folder")):
        with pytest.raises(UsageError, match=f"{path} is {what}, not a file"):
            read_file(files, path)
    with pytest.raises(LimitExceeded, match="/real has 4 bytes, more than 3"):
        read_file(files, "real", most_bytes=3)


def test_artifact_has_no_files(store: Store) -> None:
    d = Descriptor(media_type="application/x", digest=store.blobs.put(b"{}"), size=2)
    manifest = Manifest.build(d, [d])
    store.blobs.put(manifest.raw)
    with pytest.raises(NotAnImage):
        open_files(StorePlace(store, root=manifest.descriptor()), store, HERE)


def test_image_without_layers_has_a_root(store: Store) -> None:
    files = ImageFiles(*_image(store, []), store)
    assert names(files) == []
    assert files.find("/").kind == "directory"


def pushed(store: Store, host: str, name: str, *, tables: bool) -> None:
    """Copy the image to a registry, its layers as eStargz with `tables`."""
    tars = [layer_tar(files) for files in LAYERS]
    blobs, ids, notes = [], [], []
    for tar in tars:
        out = io.BytesIO()
        with tempfile.TemporaryFile() as spool:
            result, _, table = write_estargz(io.BytesIO(tar), out, spool=spool)
        blobs.append(out.getvalue())
        ids.append(str(result.diff_id))
        notes.append({TABLE_NOTE: str(table)} if tables else {})
    config = dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}})
    for blob in (config, *blobs):
        store.blobs.put(blob)
    manifest = Manifest.build(
        Descriptor(media_type=mt.OCI_CONFIG, digest=digest_bytes(config), size=len(config)),
        [
            Descriptor(media_type=mt.OCI_LAYER_GZIP, digest=digest_bytes(b), size=len(b), annotations=n)
            for b, n in zip(blobs, notes, strict=True)
        ],
    )
    store.blobs.put(manifest.raw)
    with Session(store, access=Access(insecure=True)) as session:
        place = session.repository(ImageRef.parse(f"{host}/{name}"))
        session.copy(StorePlace(store, root=manifest.descriptor()), place)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[FaultProxy]:
    with Registry(tmp_path / "registry") as registry, FaultProxy(registry.host) as proxy:
        yield proxy


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Store]:
    """An empty store beside the first."""
    with Store(tmp_path / "far") as store:
        yield store


def test_layers_that_are_not_needed_are_not_fetched(store: Store, far: Store, proxy: FaultProxy) -> None:
    pushed(store, proxy.host, "plain:1", tables=False)
    with Session(far, access=Access(insecure=True)) as session:
        source = session.repository(ImageRef.parse(f"{proxy.host}/plain:1"))
        files = open_files(source, far, HERE)
        assert read_file(files, "/old/g") == b"g"
        assert [far.blobs.has(d.digest) for _, d in files.layers] == [False, False, True]
        again = open_files(source, far, HERE)
        with pytest.raises(NotFound, match="layer 2 of 3 removed it"):
            again.find("/etc/gone")
        assert [far.blobs.has(d.digest) for _, d in files.layers] == [False, True, True]
        assert not files.in_parts
    digests = {str(d.digest) for _, d in files.layers}
    fetched = {e.target.rpartition("/")[2] for e in proxy.exchanges if e.method == "GET"} & digests
    assert fetched == {str(d.digest) for _, d in files.layers[1:]}


def test_layers_with_tables_are_read_in_parts(store: Store, far: Store, proxy: FaultProxy) -> None:
    pushed(store, proxy.host, "parts:1", tables=True)
    with Session(far, access=Access(insecure=True)) as session:
        source = session.repository(ImageRef.parse(f"{proxy.host}/parts:1"))
        files = open_files(source, far, HERE)
        assert read_file(files, "/etc/os") == b"one"
        assert files.in_parts == {1, 2, 3}
        assert names(files, recursive=True) == [
            "/big",
            "/etc",
            "/etc/os",
            "/new",
            "/new/f",
            "/old",
            "/old/g",
            "/top",
        ]
        assert not any(far.blobs.has(d.digest) for _, d in files.layers)


def test_registry_that_gives_no_parts_gives_the_layer(
    store: Store, far: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(store, proxy.host, "whole:1", tables=True)
    monkeypatch.setattr("imagesmith.embedded.blobs._range", lambda _text, size: (0, size - 1))
    with Session(far, access=Access(insecure=True)) as session:
        source = session.repository(ImageRef.parse(f"{proxy.host}/whole:1"))
        files = open_files(source, far, HERE)
        assert read_file(files, "/top") == b"top"
        assert far.blobs.has(files.layers[2][1].digest)
        assert not files.in_parts


def test_damaged_layer_is_told(store: Store, far: Store, tmp_path: Path) -> None:
    with Registry(tmp_path / "registry") as registry:
        pushed(store, registry.host, "bad:1", tables=False)
        with Session(far, access=Access(insecure=True)) as session:
            files = open_files(session.repository(ImageRef.parse(f"{registry.host}/bad:1")), far, HERE)
            digest = files.layers[2][1].digest
            blob = max((tmp_path / "registry").rglob(f"*{digest.hex}*"), key=lambda p: p.stat().st_size)
            raw = bytearray(blob.read_bytes())
            raw[-60] ^= 1
            blob.write_bytes(raw)
            with pytest.raises(DigestMismatch):
                read_file(files, "/top")


# --- by export ------------------------------------------------------------------------------------

_paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
_rows = st.tuples(st.sampled_from("ffddlwoh"), _paths, _paths, st.binary(max_size=3))
_TYPES = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE}


def _tar(rows: list[tuple[str, str, str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for kind, path, link, data in rows:
            folder, _, name = path.rpartition("/")
            names = {"w": os.path.join(folder, f".wh.{name}"), "o": f"{path}/.wh..wh..opq"}
            info = tarfile.TarInfo(names.get(kind, path))
            info.type = _TYPES.get(kind, tarfile.REGTYPE)
            info.linkname = link if kind in "lh" else ""
            info.size = len(data) if kind == "f" else 0
            tar.addfile(info, io.BytesIO(data[: info.size]))
    return out.getvalue()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_rows, max_size=6), max_size=4))
def test_files_are_what_an_export_has(store: Store, layers: list[list[tuple[str, str, str, bytes]]]) -> None:
    files = ImageFiles(*_image(store, [_tar(rows) for rows in layers]), store)
    out = io.BytesIO()
    try:
        write_tar([Root(files.view)], out)
    except UnsafeArchive:
        return
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        members = {"/" + m.name.strip("./"): m for m in tar.getmembers() if m.name.strip("./")}
        late = ImageFiles(files.source, files.manifest, store)  # asked path by path
        for path, member in members.items():
            found = late.find(path, follow=False)
            first = members["/" + member.linkname.strip("./")] if member.islnk() else member
            kind = "file" if first.isfile() else "directory" if first.isdir() else "symlink"
            assert found.kind == kind, path
            if kind == "file":
                held = tar.extractfile(member)
                assert held is not None
                assert b"".join(late.pieces(path)) == held.read()
    assert sorted(names(late, recursive=True)) == sorted(members)
