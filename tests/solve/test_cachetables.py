"""What a build fetches where a cache has tables of layers, and that it makes what one without them makes."""

from __future__ import annotations

import base64
import gzip
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesmith.errors import ImagesmithError
from imagesmith.events import Warned
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.registry.repository import Repository
from imagesmith.solve import cachetables
from imagesmith.solve.cacheio import CONFIG_TYPE
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases
from tests.kitchen import OLD_S, Kitchen
from tests.registry.conftest import serve_embedded
from tests.registry.faultproxy import FaultProxy
from tests.solve.cachefolder import changed

BASE = "FROM scratch\nCOPY tree /\nCOPY passwd /etc/passwd\nCOPY big /big\n"
APP = (
    "FROM {base}\nCOPY lib /lib\nCOPY more /more\nUSER app\nWORKDIR /home/app\n"
    "COPY --chown=app src /link/src\n"
)
TREE: dict[str, str | bytes] = {
    "tree/usr/x": "x", "tree/link": "-> usr", "lib/a": "a", "more/b": "b", "src/main": "one",
    "passwd": "root:x:0:0::/:/bin/sh\napp:x:7:8::/:\n", "big": "b" * 50_000, "c": "c",
}  # fmt: skip


class Place:
    """A registry whose requests are seen, and machines that have nothing."""

    def __init__(self, folder: Path, proxy: FaultProxy) -> None:
        self.folder, self.proxy, self.count = folder, proxy, 0
        self.first = Kitchen(folder)
        self.first.write(TREE)
        self.base, self.cache = f"{proxy.host}/base:1", f"{proxy.host}/app:cache"
        self.build(BASE, tags=[self.base], push=True)

    def build(self, text: str, **words: Any) -> Kitchen:
        """Build on a machine that has nothing."""
        self.count += 1
        k = Kitchen.__new__(Kitchen)
        k.context, k.events, k.root = self.first.context, [], self.folder / f"store{self.count}"
        self.proxy.exchanges.clear()
        words.setdefault("build_args", {"SOURCE_DATE_EPOCH": str(OLD_S)})
        with patch("time.time_ns", lambda: 1_700_000_000_000_000_000):
            self.built = k.build(text.format(base=getattr(self, "base", "")), insecure=True, **words)
        return k

    def fetched(self) -> list[int]:
        """The positions of the layers of the last image that were read, each as often as it was."""
        names = [layer.descriptor.digest.hex for layer in self.built.image.layers]
        targets = [e.target for e in self.proxy.seen("GET", "blobs/")]
        return sorted(n for target in targets for n, name in enumerate(names) if name in target)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "registry").mkdir()
    with serve_embedded(tmp_path / "registry") as served, FaultProxy(served.host) as proxy:
        yield Place(tmp_path, proxy)


def steps(k: Kitchen) -> list[str]:
    """The instructions that the last build executed."""
    return [n for n in k.executed if n.startswith(("COPY", "WORKDIR"))]


def warnings(k: Kitchen) -> list[str]:
    return [e.text for e in k.events if isinstance(e, Warned)]


def to(place: Place, more: str = "") -> list[str]:
    return [f"type=registry,ref={place.cache},mode=max{more}"]


@pytest.mark.parametrize("large", [False, True])
def test_copy_onto_layers_that_are_elsewhere_fetches_none_of_them(
    place: Place, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:  # each table is a blob of its own
        monkeypatch.setattr(cachetables, "_SMALL", 0)
    place.build(APP, cache_to=to(place), push=True, tags=[f"{place.proxy.host}/app:1"])
    place.first.write({"src/main": "two"})
    late = place.build(APP, cache_from=[place.cache], push=True, tags=[f"{place.proxy.host}/app:2"])
    assert steps(late) == ["COPY --chown=app src /link/src"]
    assert place.fetched() == []
    assert warnings(late) == []
    by_tables = place.built
    whole = place.build(APP, tags=["x/y:1"])
    assert place.built.digest == by_tables.digest
    assert whole.names(place.built) == ["usr", "usr/src", "usr/src/main"]
    assert whole.layer(place.built).getmember("usr/src/main").uid == 7


def test_only_the_layers_that_hold_what_is_copied_from_a_stage_are_fetched(place: Place) -> None:
    stage = "FROM {base} AS made\nCOPY lib /lib\nCOPY more /more\n"
    place.build(stage)
    wanted = place.built.image.layers[-1].descriptor.digest.hex
    place.build(f"{stage}FROM scratch\nCOPY --from=made /more/b /b\n", cache_to=to(place))
    late = place.build(f"{stage}FROM scratch\nCOPY --from=made /more/b /other\n", cache_from=[place.cache])
    assert steps(late) == ["COPY --from=made /more/b /other"]
    known = place.proxy.seen("GET", "manifests/|blobs/")
    assert sum(wanted in e.target for e in known) == 1
    assert len(known) == 5  # the manifests and configs of the base and of the cache, and the layer


def test_tables_are_handed_on_and_not_sent_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cachetables, "_SMALL", 0)
    place.build(APP, cache_to=to(place))
    sent = len(place.proxy.seen("PUT", "app/blobs/"))
    assert sent >= 2 * len(place.built.image.layers) - 3  # layers of steps, tables of all, the document
    again = place.build(APP, cache_from=[place.cache], cache_to=to(place))
    assert steps(again) == []
    assert place.proxy.seen("PUT|POST|PATCH", "blobs/") == []
    place.first.write({"src/main": "two"})
    place.build(APP, cache_from=[place.cache], cache_to=to(place))
    assert place.fetched() == []
    assert len(place.proxy.seen("PUT", "app/blobs/")) == 3  # a layer, its table, the document
    place.first.write({"src/main": "three"})
    place.build(APP, cache_from=[place.cache])
    assert place.fetched() == []


def test_merged_cache_keeps_the_tables_of_both(place: Place) -> None:
    other = APP.replace("COPY lib /lib", "COPY c /c")
    for text in (APP, other):
        place.build(text, cache_to=to(place, ",merge=true"))
    place.first.write({"src/main": "two"})
    for text in (APP, other):
        assert len(steps(place.build(text, cache_from=[place.cache]))) == 1
        assert place.fetched() == []


def test_cache_of_an_image_has_no_tables(place: Place) -> None:
    name = f"{place.proxy.host}/app:1"
    place.build(APP, cache_to=["type=inline"], push=True, tags=[name])
    assert "tables" not in place.built.image.config.extra["imagesmith.cache.v1"]
    place.first.write({"src/main": "two"})
    assert len(steps(place.build(APP, cache_from=[name]))) == 1
    assert place.fetched() == [*range(len(place.built.image.layers) - 1)]


# --- tables that are not what they should be ------------------------------------------------------


def _damaged(r: random.Random, data: bytes) -> bytes:
    raw = bytearray(data)
    for _ in range(r.randint(1, 3)):
        raw[r.randrange(len(raw))] ^= 1 << r.randrange(8)
    return bytes(raw)


HARM: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "damaged": _damaged,
    "cut": lambda r, data: data[: r.randrange(1, len(data))],
    "too large": lambda _, data: gzip.compress(gzip.decompress(data) + bytes(70 << 20)),
    "none": lambda _, data: data,
}


def _harm(r: random.Random, how: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(document: dict[str, Any], _: dict[str, Any]) -> None:
        rows = document["tables"]
        if how == "of another layer":
            names = [row["diff_id"] for row in rows]
            r.shuffle(names)
            for row, name in zip(rows, names, strict=True):
                row["diff_id"] = name
        elif how == "gone":
            del document["tables"]
        else:
            for row in rows:
                if "data" in row and r.random() < 0.7:
                    data = HARM[how](r, base64.b64decode(row["data"]))
                    row["data"] = base64.b64encode(data).decode()

    return change


PATHS = ("/w", "/w/d", "/w/d/x", "/w/l", "/w/l/y", "/o", "/o/f", "/new/in")
INTO = (*PATHS, "/w/", "/w/d/", "/new/")


@st.composite
def dockerfiles(draw: st.DrawFn) -> list[str]:
    """A stage and an image over few paths, some of which are links."""

    def some(least: int, stage: bool) -> Iterator[str]:
        for _ in range(draw(st.integers(least, 5))):
            kind, dest = draw(st.sampled_from(["copy", "copy", "dir", "from"])), draw(st.sampled_from(INTO))
            flags = draw(st.sampled_from(["", "", "--chown=5:6 ", "--chmod=700 ", "--chown=app "]))
            if kind == "dir":
                yield f"WORKDIR {dest}"
            elif kind == "from" and stage:
                yield f"COPY {flags}--from=s {draw(st.sampled_from(['/w', '/w/d', '/']))} {dest}"
            else:
                yield f"COPY {flags}{draw(st.sampled_from(['a', 'b', 'tree', 'links', 'names']))} {dest}"

    lines = ["FROM scratch AS s", "COPY names /etc/passwd", "COPY tree /w", *some(0, stage=False)]
    return [*lines, "FROM scratch", "COPY links /", *some(1, stage=True)]


FILES: dict[str, str | bytes] = {
    "a": "one", "b": "two", "tree/d/x": "x", "tree/y": "y", "links/w/l": "-> ../o", "links/o/d/z": "z",
    "names": "app:x:9:9::/:\n",
}  # fmt: skip


@settings(max_examples=25)
@given(dockerfiles(), st.sampled_from([*HARM, "of another layer", "gone"]), st.integers(0, 1 << 30))
def test_build_by_tables_makes_what_a_build_without_makes(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], how: str, seed: int
) -> None:
    folder, r = tmp_path_factory.mktemp("case"), random.Random(seed)
    try:
        machine = Kitchen(folder)
        machine.write(FILES)
        cache = folder / "cache"

        def build(name: str, **words: Any) -> Digest | str:
            machine.root = folder / name
            epoch = {"SOURCE_DATE_EPOCH": "1200000000"}
            try:
                with patch("time.time_ns", lambda: 1_700_000_000_000_000_000):
                    return machine.build("\n".join(lines) + "\n", build_args=epoch, **words).digest
            except ImagesmithError as e:
                return e.message

        if isinstance(build("first", cache_to=[f"type=local,dest={cache},mode=max"]), str):
            return
        changed(cache, _harm(r, how))
        at = r.randrange(2, len(lines) + 1)
        lines[at:at] = [f"COPY {r.choice(['a', 'tree', 'links'])} {r.choice(INTO)}"]
        alone = build("alone")
        assert build("second", cache_from=[f"type=local,src={cache}"]) == alone
    finally:
        shutil.rmtree(folder)


def _rewritten(change: Callable[[bytes], bytes]) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """Change what is unpacked of all tables."""

    def lie(document: dict[str, Any], _: dict[str, Any]) -> None:
        for row in document["tables"]:
            data = gzip.compress(change(gzip.decompress(base64.b64decode(row["data"]))))
            row["data"] = base64.b64encode(data).decode()

    return lie


def test_file_that_a_table_tells_of_and_the_layer_lacks_costs_the_cache(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    kitchen.write({"a": "one"})
    text, cache = "FROM scratch AS s\nCOPY a /d/a\nFROM scratch\nCOPY --from=s /d/a /b\n", tmp_path / "cache"
    kitchen.build(text, cache_to=[f"type=local,dest={cache},mode=max"])
    changed(cache, _rewritten(lambda plain: plain.replace(b'["d/a","f",420,0,0,3', b'["d/a","f",420,0,0,2')))
    kitchen.root = tmp_path / "other"
    built = kitchen.build(text.replace("/b", "/c"), cache_from=[f"type=local,src={cache}"], tags=["x/y:1"])
    assert any("building again without --cache-from" in said for said in warnings(kitchen))
    (member,) = kitchen.layer(built).getmembers()
    assert (member.name, member.size) == ("c", 3)


def test_what_a_lying_table_tells_is_no_index_of_the_layer(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"a": "one", "b": "two"})
    text, cache = "FROM scratch\nCOPY a /d/a\nCOPY b /d/b\n", tmp_path / "cache"
    first = kitchen.build(text, cache_to=[f"type=local,dest={cache},mode=max"])

    changed(cache, _rewritten(lambda plain: plain.replace(b'["d","d",493', b'["d","d",448')))
    kitchen.write({"b": "three"})
    kitchen.root = tmp_path / "other"
    kitchen.build(text, cache_from=[f"type=local,src={cache}"], tags=["x/y:1"])
    assert steps(kitchen) == ["COPY b /d/b"]
    with Store(kitchen.root) as store:
        layer = first.image.layers[0]
        stored = store.layers.layer(layer.diff_id, layer.descriptor.digest)
        assert stored.unread
        assert {e.path: e.mode for e in stored.entries()} == {"d": 0o755, "d/a": 0o644}


@pytest.mark.parametrize("stage", [False, True])
def test_what_was_made_by_tables_serves_builds_that_are_given_the_cache_and_no_others(
    place: Place, stage: bool
) -> None:
    text = "FROM {base}\nCOPY lib /usr/lib\n"
    if stage:
        text = "FROM {base} AS made\nCOPY c /c\nFROM scratch\nCOPY --from=made /usr /\nCOPY lib /lib\n"
    cache = place.folder / "cache"
    place.build(text, cache_to=[f"type=local,dest={cache},mode=max"])
    file = b'["usr/x","f",420' if stage else b'["usr","d",493'
    lie = file[:-3] + b"448"
    changed(cache, _rewritten(lambda plain: plain.replace(file, lie)))
    place.first.write({"lib/a": "new"})
    if stage:
        text = text.replace("/usr /", "/usr/x /")
    given: dict[str, Any] = {"cache_from": [f"type=local,src={cache}"]}
    machine = place.build(text, **given)
    lied = place.built.digest
    more: dict[str, Any] = {"insecure": True, "build_args": {"SOURCE_DATE_EPOCH": str(OLD_S)}}
    with patch("time.time_ns", lambda: 1_700_000_000_000_000_000):
        assert machine.build(text.format(base=place.base), **given, **more).digest == lied
        assert steps(machine) == []
        honest = machine.build(text.format(base=place.base), **more).digest
    place.build(text)
    assert lied != honest == place.built.digest


def test_layer_of_another_compression_is_known_as_one_where_it_was_found_by_its_files(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    kitchen.write({"a": "one", "b": "two"})
    text = "FROM scratch AS s\nCOPY a /d/a\n{}FROM scratch\nCOPY --from=s /d /e\n"
    cache, later = (f"type=local,{{}}={tmp_path}/{name}" for name in ("cache", "later"))
    kitchen.build(text.format(""), cache_to=[f"{cache.format('dest')},mode=max,compression=zstd"])
    text = text.format("COPY b /b\n")
    given, written = [cache.format("src")], [f"{later.format('dest')},mode=max"]
    digests = set()
    for n, words in enumerate(
        ({"cache_from": given, "cache_to": written}, {"cache_from": [later.format("src")]}, {})
    ):
        kitchen.root = tmp_path / f"{n}"
        built = kitchen.build(text, **words, build_args={"SOURCE_DATE_EPOCH": str(OLD_S)})
        digests.add(built.image.layers[-1].descriptor.media_type)
    assert digests == {"application/vnd.oci.image.layer.v1.tar+gzip"}


def test_file_with_the_name_of_a_deletion_is_one_on_every_machine(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"c/.wh.a": "x", "c/b": "b", "a": "a"})
    text, words = (
        "FROM scratch AS s\nCOPY a /d/a\nCOPY c /d\nFROM scratch\n",
        {"SOURCE_DATE_EPOCH": f"{OLD_S}"},
    )
    cache, found = f"={tmp_path}/cache", []
    kitchen.build(
        f"{text}COPY --from=s /d /e\n", build_args=words, cache_to=[f"type=local,dest{cache},mode=max"]
    )
    for n, caches in enumerate(([f"type=local,src{cache}"], [], [])):
        built = kitchen.build(f"{text}COPY --from=s /d /f\n", build_args=words, cache_from=caches)
        found.append(kitchen.names(built))
        kitchen.root = tmp_path / f"{n}"
    assert found == [["f", "f/b"]] * 3


# --- when caches are asked for --------------------------------------------------------------------


def test_cache_is_asked_for_once_and_by_a_machine_that_knows_nothing_before_the_base_is_known(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.build(APP, cache_to=to(place))
    asked, real = threading.Event(), Bases.resolve

    def resolve(self: Bases, *args: Any) -> Any:
        assert asked.wait(20)
        return real(self, *args)

    def document(self: Repository, d: Descriptor, real: Any = Repository.document) -> bytes:
        raw: bytes = real(self, d)
        if d.media_type == CONFIG_TYPE:
            asked.set()
        return raw

    monkeypatch.setattr(Bases, "resolve", resolve)
    monkeypatch.setattr(Repository, "document", document)
    assert steps(place.build(APP, cache_from=[place.cache])) == []
    assert len(place.proxy.seen("GET", "app/(manifests|blobs)")) == 2


def test_cache_that_is_not_there_is_told_of_once(place: Place) -> None:
    late = place.build(APP, cache_from=[place.cache])
    assert len(steps(late)) == 4
    assert len([said for said in warnings(late) if "is not used" in said]) == 1


@pytest.mark.parametrize(
    "rows",
    [
        7, {}, [7], [{}], [{"diff_id": "sha256:x", "data": "eA=="}], [{"diff_id": 7}],
        [{"diff_id": f"sha256:{'0' * 64}", "layer": 0}], [{"diff_id": f"sha256:{'0' * 64}", "layer": 99}],
        [{"diff_id": f"sha256:{'0' * 64}", "data": "?"}], [{"diff_id": f"sha256:{'0' * 64}", "data": 1}],
    ],
)  # fmt: skip
def test_tables_that_are_none_cost_neither_the_cache_nor_the_build(
    kitchen: Kitchen, tmp_path: Path, rows: object
) -> None:
    kitchen.write({"a": "one", "b": "two"})
    text, cache = "FROM scratch\nCOPY a /d/a\nCOPY b /d/b\n", tmp_path / "cache"
    kitchen.build(text, cache_to=[f"type=local,dest={cache},mode=max"])
    changed(cache, lambda document, _: document.update(tables=rows))
    kitchen.write({"b": "three"})
    kitchen.root = tmp_path / "other"
    kitchen.build(
        text,
        cache_from=[f"type=local,src={cache}"],
        cache_to=[f"type=local,dest={cache},mode=max,merge=true"],
    )
    assert steps(kitchen) == ["COPY b /d/b"]
    assert warnings(kitchen) == []
