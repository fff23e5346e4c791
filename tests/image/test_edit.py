from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagesmith.errors import InvalidDocument, NotFound, UsageError
from imagesmith.image.compare import compare_configs, compare_files
from imagesmith.image.edited import Edited, edit_image
from imagesmith.image.indexes import entries_of, index_of, without
from imagesmith.image.layers import appended, flattened, layer_of_file, rebased, scratch, view_of
from imagesmith.image.mutate import Changes
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import Platform
from imagesmith.store.store import Store
from imagesmith.transports.copier import Choice
from imagesmith.transports.stored import StorePlace
from imagesmith.transports.transfer import Session
from imagesmith.transports.validate import validate
from tests.registry.images import layer_tar, make_image, make_index

AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")
NOW = "2026-01-02T03:04:05Z"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def opened(store: Store, d: Descriptor) -> tuple[StorePlace, Manifest, bytes]:
    place = StorePlace(store, root=d)
    manifest = Manifest.parse(place.document(d))
    return place, manifest, place.document(manifest.config)


def config_of(store: Store, edited: Edited, platform: Platform = AMD) -> dict[str, Any]:
    with Session(store) as session:
        d = session.copy(edited, StorePlace(store), Choice())
    validate(StorePlace(store, root=d))
    return dict(json.loads(store.blobs.read(store.manifest(d, platform).config.digest)))


def test_mutate_changes_what_is_asked_and_nothing_else(store: Store) -> None:
    d = make_image(store)
    changes = Changes(
        entrypoint=("/e",),
        cmd=(),
        user="5",
        env={"A": "", "B": "2"},
        labels={"l": "1"},
        ports=("80", "53/udp"),
        volumes=("/v",),
        workdir="/w",
        stop_signal="9",
    )
    found = config_of(store, edit_image(StorePlace(store, root=d), d, store.blobs, changes.apply))
    assert found["config"] == {
        "Env": ["B=2"], "Entrypoint": ["/e"], "User": "5", "WorkingDir": "/w", "StopSignal": "9",
        "Labels": {"l": "1"}, "ExposedPorts": {"53/udp": {}, "80/tcp": {}}, "Volumes": {"/v": {}},
    }  # fmt: skip
    before = json.loads(opened(store, d)[2])
    assert {k: v for k, v in found.items() if k != "config"} == {
        k: v for k, v in before.items() if k != "config"
    }


def test_no_change_gives_the_same_image(store: Store) -> None:
    d = make_image(store)
    assert (
        edit_image(StorePlace(store, root=d), d, store.blobs, lambda m, c: (m, c)).root().digest == d.digest
    )


def test_mutate_of_an_index_changes_every_image(store: Store) -> None:
    d = make_index(store)
    edited = edit_image(
        StorePlace(store, root=d),
        d,
        store.blobs,
        Changes(labels={"x": "y"}).apply,
        index_annotations={"n": "1"},
    )
    assert config_of(store, edited, ARM)["config"]["Labels"] == {"x": "y"}
    index = Index.parse(edited.document(edited.root()))
    assert [m.platform for m in index.manifests] == [AMD, ARM]
    assert index.annotations == {"n": "1"}


def test_port_that_is_none_is_refused(store: Store) -> None:
    _, manifest, config = opened(store, make_image(store))
    with pytest.raises(UsageError, match="no port"):
        Changes(ports=("http",)).apply(manifest, config)


def test_append_puts_files_on_top(store: Store, tmp_path: Path) -> None:
    (tmp_path / "l.tar").write_bytes(layer_tar({"new": b"n", "a": b"changed"}))
    place, manifest, config = opened(store, make_image(store))
    layer = layer_of_file(str(tmp_path / "l.tar"), store)
    made, raw = appended(manifest, config, [layer], "test", NOW)
    edited = Edited("x", store.blobs)
    edited.rest(place)
    edited.add(raw)
    edited.add(made.raw)
    edited.set_root(made.descriptor())
    assert config_of(store, edited)["history"][-1] == {"created": NOW, "created_by": "test"}
    view = view_of(edited, made, store)
    assert {e.path: e.size for e in view.walk()} == {"a": 7, "b": 3000, "new": 1}


def test_layer_of_another_compression_is_refused(store: Store, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "l.tar.xz", "w:xz"):
        pass
    with pytest.raises(InvalidDocument, match="xz"):
        layer_of_file(str(tmp_path / "l.tar.xz"), store)
    with pytest.raises(UsageError, match="cannot read"):
        layer_of_file(str(tmp_path / "missing"), store)


def test_scratch_image_is_valid(store: Store) -> None:
    manifest, config = scratch(ARM)
    edited = Edited("scratch", store.blobs)
    edited.add(config)
    edited.add(manifest.raw)
    edited.set_root(manifest.descriptor())
    assert config_of(store, edited, ARM)["architecture"] == "arm64"


def test_flatten_keeps_the_files_in_one_layer(store: Store) -> None:
    d = make_image(store, layers=({"a": b"1", "gone": b"x", "dir/f": b"2"}, {".wh.gone": b"", "a": b"3"}))
    place, manifest, config = opened(store, d)
    made, raw = flattened(place, manifest, config, store, NOW)
    store.blobs.put(raw)
    store.blobs.put(made.raw)
    assert len(made.layers) == 1
    flat = StorePlace(store, root=made.descriptor())
    assert validate(flat).startswith("1 manifests")
    assert compare_files(view_of(place, manifest, store), view_of(flat, made, store)) == []


@pytest.mark.parametrize("contents", [False, True])
def test_view_whose_files_will_be_read_unpacks_new_layers_at_once(store: Store, contents: bool) -> None:
    place, manifest, config = opened(store, make_image(store))
    view_of(place, manifest, store, contents=contents)
    folders = [store.layers.folder(Digest.parse(d)) for d in json.loads(config)["rootfs"]["diff_ids"]]
    assert [(f / "tar").exists() for f in folders] == [contents] * 2


def test_rebase_exchanges_the_base(store: Store) -> None:
    base = opened(store, make_image(store, layers=({"base": b"old"},)))
    new = opened(store, make_image(store, layers=({"base": b"new"}, {"more": b"m"})))
    image = opened(store, make_image(store, layers=({"base": b"old"}, {"own": b"o"})))
    made, raw = rebased(image[1:], base[1:], new[1:], {})
    store.blobs.put(raw)
    view = view_of(StorePlace(store), made, store) if store.blobs.put(made.raw) else None
    assert view is not None
    assert sorted(e.path for e in view.walk()) == ["base", "more", "own"]
    assert len(json.loads(raw)["history"]) == 3
    with pytest.raises(NotFound, match="does not begin"):
        rebased(base[1:], new[1:], image[1:], {})


def test_index_is_made_added_to_and_taken_from(store: Store) -> None:
    amd = StorePlace(store, root=make_image(store))
    arm = StorePlace(store, root=make_image(store, layers=({"c": b"arm"},), architecture="arm64"))
    edited = index_of("x", [(amd, entries_of(amd)), (arm, entries_of(arm))], store.blobs)
    with Session(store) as session:
        d = session.copy(edited, StorePlace(store))
    index = Index.parse(store.blobs.read(d.digest))
    assert [m.platform for m in index.manifests] == [AMD, ARM]
    assert [m.platform for m in without(index, [], [AMD])] == [ARM]
    with pytest.raises(NotFound, match="linux/386"):
        without(index, [], [Platform("linux", "386")])
    with pytest.raises(UsageError, match="is an index"):
        entries_of(StorePlace(store, root=d), ARM)


def test_differences_are_told_by_path(store: Store) -> None:
    one = opened(store, make_image(store, layers=({"same": b"s", "size": b"1", "text": b"aa", "old": b"o"},)))
    two = opened(
        store, make_image(store, layers=({"same": b"s", "size": b"22", "text": b"bb", "new": b"n"},))
    )
    views = [view_of(place, manifest, store) for place, manifest, _ in (one, two)]
    assert [(d.sign, d.where, d.detail) for d in compare_files(*views)] == [
        ("+", "/new", "file 1 bytes"),
        ("-", "/old", "file"),
        ("~", "/size", "size 1 -> 2"),
        ("~", "/text", "content"),
    ]
    assert compare_files(views[0], views[0]) == []
    assert [d.where for d in compare_configs(one[2], two[2])] == ["rootfs.diff_ids[0]"]
