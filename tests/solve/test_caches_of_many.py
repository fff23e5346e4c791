"""Caches of several machines: they compose, are mounted and merged; one that lost something is left alone."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imagesmith.cacheoptions import filled, parse_cache_from, parse_cache_to
from imagesmith.errors import ImagesmithError
from imagesmith.events import Event, StepStarted, Warned
from imagesmith.image.result import BuildResult
from imagesmith.request import BuildRequest, CachePlace
from imagesmith.session import Session
from imagesmith.settings import Access, Settings
from imagesmith.solve.cachewriting import CacheWriter
from imagesmith.store.store import Store
from tests.kitchen import NOWHERE, Kitchen
from tests.registry.conftest import serve_embedded
from tests.registry.faultproxy import FaultProxy
from tests.solve.cachefolder import changed

#: Each step has another result on each machine: a new folder has the time when it was made.
STEPS = ("WORKDIR /one", "COPY a /two/a", "WORKDIR /three", "COPY b /four/b")
TEXT = "FROM scratch\n" + "\n".join(STEPS) + "\n"


class Machines:
    """Machines with one context, whose clocks differ; each has a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.first = folder, Kitchen(folder)
        self.first.write({"a": "alpha", "b": "beta", "c": "gamma"})
        self.count = 0

    def build(self, text: str = TEXT, **words: Any) -> list[str]:
        """Build on a machine that has nothing; returns what it executed."""
        self.count += 1
        k = Kitchen.__new__(Kitchen)
        k.context, k.events, k.root = self.first.context, [], self.folder / f"store{self.count}"
        real, late = time.time_ns, self.count * 3_600_000_000_000
        with patch("time.time_ns", lambda: real() + late):
            self.built = k.build(text, **words)
        self.last = k
        return [n for n in k.executed if n.startswith(("COPY", "WORKDIR"))]

    def export(self, name: str, text: str = TEXT) -> Path:
        """Build and keep the cache in a folder."""
        self.build(text, cache_to=[f"type=local,dest={self.folder / name},mode=max"])
        return self.folder / name

    def warnings(self) -> list[str]:
        return [e.text for e in self.last.events if isinstance(e, Warned)]


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path)


def sources(*folders: Path) -> list[str]:
    return [f"type=local,src={folder}" for folder in folders]


def part(cache: Path, to: Path, keep: Callable[[int], bool]) -> Path:
    """A copy of a cache with some of its steps alone, counted from the first."""

    def some(document: dict[str, Any], _: object) -> None:
        names = [d for d in document["records"] if d["note"].get("name")]
        order = [next(n for n, s in enumerate(STEPS) if d["note"]["name"].endswith(s)) for d in names]
        document["records"] = [d for d, n in zip(names, order, strict=True) if keep(n)]

    shutil.copytree(cache, to)
    changed(to, some)
    return to


@pytest.mark.parametrize("order", [1, -1])
def test_base_step_of_one_cache_and_the_next_of_another(machines: Machines, order: int) -> None:
    whole = machines.export("whole")
    a = part(whole, machines.folder / "a", lambda n: n % 2 == 1)
    b = part(whole, machines.folder / "b", lambda n: n % 2 == 0)
    assert machines.build(cache_from=sources(a, b)[::order]) == []
    assert machines.build(cache_from=sources(a)) != []


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_results_of_a_step_that_is_taken_on_which_the_next_is_known(
    machines: Machines, order: int
) -> None:
    text = "FROM scratch\nWORKDIR /one\n"
    other, whole = machines.export("other", f"{text}COPY c /c\n"), machines.export("whole")
    assert machines.build(cache_from=sources(other, whole)[::order]) == []
    assert machines.build(f"{text}COPY c /c\n", cache_from=sources(whole, other)[::order]) == []


def test_look_ahead_does_not_take_what_files_have_changed(machines: Machines) -> None:
    text = "FROM scratch\nWORKDIR /one\nCOPY a /two/a\n"
    machines.first.write({"a": "old"})
    stale = machines.export("stale", f"{text}WORKDIR /three\n")
    machines.first.write({"a": "alpha"})
    good = machines.export("good", text)
    assert machines.build(cache_from=sources(stale, good)) == ["WORKDIR /three", "COPY b /four/b"]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Machines, Path, Path]:
    """The caches of two machines that built the same."""
    machines = Machines(tmp_path_factory.mktemp("machines"))
    return machines, machines.export("whole"), machines.export("other")


@settings(max_examples=20, deadline=None)
@example(homes=[0, 1, 0, 1], begun=2, at=0)
@given(
    homes=st.lists(st.sampled_from([0, 1, 2, 0, 1, 2, 0, 1, 2, None]), min_size=4, max_size=4),
    begun=st.integers(0, 4),
    at=st.integers(0, 3),
)
def test_all_steps_hit_if_all_caches_together_have_them(
    grown: tuple[Machines, Path, Path], homes: list[int | None], begun: int, at: int
) -> None:
    machines, whole, other = grown
    to = machines.folder / f"parts{machines.count}"
    caches = [part(whole, to / f"{n}", lambda step, n=n: homes[step] == n) for n in range(3)]  # type: ignore[misc]
    caches.insert(at, part(other, to / "begun", lambda n: n < begun))
    executed = machines.build(cache_from=sources(*caches))
    assert (executed == []) == (None not in homes or begun == 4)


def test_layer_that_one_cache_lost_comes_from_the_other(machines: Machines) -> None:
    whole, copy = machines.export("whole"), machines.folder / "copy"
    shutil.copytree(whole, copy)
    _lose_layers(whole)
    assert machines.build(cache_from=sources(whole, copy), tags=["x/y:1"]) == []
    assert machines.warnings() == []


def test_cache_that_lost_its_layers_is_left_and_the_others_are_not(machines: Machines) -> None:
    lost, good = machines.export("lost"), machines.export("good")
    _lose_layers(lost)
    assert machines.build(cache_from=sources(lost, good), tags=["x/y:1"])[4:] == []
    assert [text.partition(":")[0] for text in machines.warnings()] == [
        f"building again without --cache-from={lost}"
    ]


def _lose_layers(cache: Path) -> None:
    blobs = cache / "blobs" / "sha256"
    index = json.loads((cache / "index.json").read_bytes())
    for d in json.loads((blobs / index["manifests"][0]["digest"][7:]).read_bytes())["layers"]:
        (blobs / d["digest"][7:]).unlink()


# --- merging -----------------------------------------------------------------------------------

ONE, TWO = "FROM scratch\nCOPY a /a\nCOPY b /b\n", "FROM scratch\nCOPY a /a\nCOPY c /c\n"


@pytest.mark.parametrize("merge", [True, False])
def test_merged_cache_keeps_what_was_there(machines: Machines, merge: bool) -> None:
    to = f"type=local,dest={machines.folder / 'cache'},mode=max,merge={str(merge).lower()}"
    for text in (ONE, TWO):
        machines.build(text, cache_to=[to])
    found = sources(machines.folder / "cache")
    assert machines.build(TWO, cache_from=found, tags=["x/y:1"]) == []
    assert machines.build(ONE, cache_from=found, tags=["x/y:1"]) == ([] if merge else ["COPY b /b"])


def test_both_results_of_a_step_stay_in_a_merged_cache(machines: Machines) -> None:
    to = f"type=local,dest={machines.folder / 'cache'},mode=max,merge=true"
    start = "FROM scratch\nWORKDIR /one\n"
    for name in "abc":
        machines.build(f"{start}COPY {name} /{name}\n", cache_to=[to])
    for name in "abc":
        assert (
            machines.build(f"{start}COPY {name} /{name}\n", cache_from=sources(machines.folder / "cache"))
            == []
        )


def test_what_is_no_cache_is_not_merged_with(machines: Machines) -> None:
    folder = machines.folder / "cache"
    machines.build(ONE, outputs=[f"type=oci,tar=false,dest={folder}"], tags=["x/y:latest"])
    machines.build(TWO, cache_to=[f"type=local,dest={folder},mode=max,merge=true"])
    assert any("is not merged with: it is no cache" in text for text in machines.warnings())
    assert machines.build(TWO, cache_from=[f"type=local,src={folder},tag=latest"]) == []


def _alone(folder: Path, root: Path, text: str, **words: Any) -> list[str]:
    """Build in a session of its own; returns the COPYs that were executed."""
    events: list[Event] = []
    to = parse_cache_to(words.pop("cache_to", ()), {})
    from_ = parse_cache_from(words.pop("cache_from", ()))
    request = BuildRequest(context=str(folder), inline=text.encode(), cache_to=to, cache_from=from_, **words)
    with Session(Settings(root=root), NOWHERE, events.append) as session:
        session.build(request)
    return [e.name for e in events if isinstance(e, StepStarted) and "COPY" in e.name]


def test_many_merge_into_one_folder_at_a_time(machines: Machines) -> None:
    to = [f"type=local,dest={machines.folder / 'cache'},mode=max,merge=true"]
    texts = [f"FROM scratch\nCOPY a /x{n}\n" for n in range(6)]

    def work(n: int) -> None:
        _alone(machines.first.context, machines.folder / f"s{n}", texts[n], cache_to=to)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    for text in texts:
        assert machines.build(text, cache_from=sources(machines.folder / "cache")) == []


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[FaultProxy]:
    """A registry whose requests are seen."""
    (tmp_path / "registry").mkdir()
    with serve_embedded(tmp_path / "registry") as served, FaultProxy(served.host) as proxy:
        yield proxy


def test_cache_that_another_writes_meanwhile_is_merged_with(machines: Machines, registry: FaultProxy) -> None:
    context, ref = machines.first.context, f"{registry.host}/app:cache"
    words: dict[str, Any] = {
        "cache_to": [f"type=registry,ref={ref},mode=max,merge=true"],
        "access": Access(insecure=True),
    }
    real, sent = CacheWriter._send, []

    def send(self: CacheWriter, *args: Any) -> Any:
        sent.append(1)
        if len(sent) == 1:  # the other one begins later, and has ended before this one writes
            _alone(context, machines.folder / "s2", TWO, **words)
        return real(self, *args)

    with patch.object(CacheWriter, "_send", send):
        _alone(context, machines.folder / "s1", ONE, **words)
    assert len(sent) == 3
    for text in (ONE, TWO):
        assert machines.build(text, cache_from=[ref], insecure=True) == []


# --- several targets ---------------------------------------------------------------------------


def test_targets_with_one_place_write_it_once_with_the_steps_of_all(machines: Machines) -> None:
    folder, other = machines.folder / "cache", machines.folder / "other"
    [place, own] = parse_cache_to(
        [f"type=local,dest={folder},mode=max", f"type=local,dest={other},mode=min"], {}
    )
    requests = [
        BuildRequest(name=n, context=str(machines.first.context), inline=text.encode(), cache_to=to)
        for n, text, to in (("one", ONE, (place,)), ("two", TWO, (own, place)), ("three", ONE, ()))
    ]
    events: list[Event] = []
    with Session(Settings(root=machines.folder / "store"), NOWHERE, events.append) as session:
        one, two, three = session.build_all(requests)
    exports = [e.name for e in events if isinstance(e, StepStarted) and "exporting cache" in e.name]
    assert sorted(name.partition("] ")[2] for name in exports) == [
        f"exporting cache to {path}" for path in (folder, other)
    ]
    assert one.cache is not None
    assert (two.cache, three.cache) == (one.cache, None)
    for text in (ONE, TWO):
        assert machines.build(text, cache_from=sources(folder), tags=["x/y:1"]) == []
    assert machines.build(ONE, cache_from=sources(other)) == ["COPY b /b"]


def test_shared_cache_does_not_depend_on_who_ends_first(machines: Machines) -> None:
    found = []
    for turn, texts in enumerate(((ONE, TWO), (TWO, ONE))):
        place = parse_cache_to([f"type=local,dest={machines.folder / str(turn)},mode=max"], {})
        requests = [
            BuildRequest(
                name=f"t{n}", context=str(machines.first.context), inline=text.encode(), cache_to=place
            )
            for n, text in enumerate(texts)
        ]
        with Session(Settings(root=machines.folder / "store"), NOWHERE, lambda _: None) as session:
            found += [built.cache for built in session.build_all(requests)]
    assert found[0] is not None
    assert found == [found[0]] * 4


def test_shared_place_that_cannot_be_written_fails_unless_all_take_it(machines: Machines) -> None:
    (machines.folder / "file").write_text("in the way")
    lenient, strict = (
        CachePlace(type="local", path=str(machines.folder / "file"), ignore_error=ignored)
        for ignored in (True, False)
    )

    def build(*places: CachePlace) -> list[str]:
        requests = [
            BuildRequest(
                name=f"t{n}", context=str(machines.first.context), inline=ONE.encode(), cache_to=(p,)
            )
            for n, p in enumerate(places)
        ]
        events: list[Event] = []
        with Session(Settings(root=machines.folder / "store"), NOWHERE, events.append) as session:
            session.build_all(requests)
        return [e.text for e in events if isinstance(e, Warned)]

    [told] = build(lenient, lenient)
    assert told.startswith("the cache was not written to")
    with pytest.raises(ImagesmithError, match="cannot write"):
        build(lenient, strict)


def test_shared_cache_is_written_for_those_that_did_not_fail(machines: Machines) -> None:
    [place] = parse_cache_to([f"type=local,dest={machines.folder / 'cache'},mode=max"], {})
    texts = {"bad": "FROM scratch\nCOPPY a /a\n", "good": ONE, "lost": "FROM scratch\nCOPY nothing /a\n"}
    for names in (("bad", "good"), ("good", "lost")):
        shutil.rmtree(machines.folder / "cache", ignore_errors=True)
        requests = [
            BuildRequest(
                name=n, context=str(machines.first.context), inline=texts[n].encode(), cache_to=(place,)
            )
            for n in names
        ]
        with Session(Settings(root=machines.folder / "store"), NOWHERE, lambda _: None) as session:
            found = session.build_each(requests)
        [good] = [built for built in found if isinstance(built, BuildResult)]
        assert good.cache is not None
        assert machines.build(ONE, cache_from=sources(machines.folder / "cache")) == []


def test_shared_cache_that_fails_is_told_of_each_build_and_ends_none(machines: Machines) -> None:
    (machines.folder / "file").write_text("in the way")
    place = CachePlace(type="local", path=str(machines.folder / "file"))
    requests = [
        BuildRequest(name=n, context=str(machines.first.context), inline=ONE.encode(), cache_to=to)
        for n, to in (("one", (place,)), ("two", (place,)), ("three", ()))
    ]
    with Session(Settings(root=machines.folder / "store"), NOWHERE, lambda _: None) as session:
        one, two, three = session.build_each(requests)
    assert isinstance(one, ImagesmithError)
    assert isinstance(two, ImagesmithError)
    assert isinstance(three, BuildResult)


def test_words_for_target_and_platform_are_filled_in() -> None:
    text = "type=registry,ref=r.example/c:{target}-{platform},mode=max"
    assert (
        filled(text, "Web_App.x", "linux/arm/v7")
        == "type=registry,ref=r.example/c:web-app-x-linux-arm-v7,mode=max"
    )
    assert filled("{other}", "a") == "{other}"
    assert filled("type=local,src={target}", "{platform}", "p") == "type=local,src=platform"


# --- layers stay in their registry ---------------------------------------------------------------


def _layers(proxy: FaultProxy, machines: Machines, method: str) -> list[str]:
    """What was asked about the last image's layers, each as it was asked."""
    digests = [layer.descriptor.digest.hex for layer in machines.built.image.layers]
    return [e.target for e in proxy.seen(method) if any(digest in e.target for digest in digests)]


def test_layers_that_hit_are_mounted_and_read_by_nobody(machines: Machines, registry: FaultProxy) -> None:
    ref = f"{registry.host}/one/app"
    machines.build(cache_to=[f"type=registry,ref={ref}:cache,mode=max"], insecure=True)
    registry.exchanges.clear()
    words: dict[str, Any] = {"cache_from": [f"{ref}:cache"], "insecure": True}
    assert machines.build(tags=[f"{registry.host}/two/app:1"], push=True, **words) == []
    mounts = _layers(registry, machines, "POST")
    assert len(mounts) == 4
    assert all("mount=" in target and "from=one/app" in target for target in mounts)
    assert _layers(registry, machines, "GET|PUT|PATCH") == []
    assert len(registry.seen("GET", "one/app/(manifests|blobs)")) == 2  # its manifest, and its document


def test_layers_for_another_registry_pass_through_and_are_not_kept(
    machines: Machines, registry: FaultProxy, tmp_path: Path
) -> None:
    ref = f"{registry.host}/one/app:cache"
    machines.build(cache_to=[f"type=registry,ref={ref},mode=max"], insecure=True)
    registry.exchanges.clear()
    (tmp_path / "far").mkdir()
    with serve_embedded(tmp_path / "far") as far:
        executed = machines.build(tags=[f"{far.host}/app:1"], push=True, insecure=True, cache_from=[ref])
    assert executed == []
    gets = _layers(registry, machines, "GET")
    assert len(gets) == len(set(gets)) == 4
    with Store(machines.last.root) as store:
        assert not [x for x in machines.built.image.layers if store.blobs.has(x.descriptor.digest)]


def test_layers_are_brought_where_the_store_is_to_have_the_image(
    machines: Machines, registry: FaultProxy
) -> None:
    ref = f"{registry.host}/one/app:cache"
    machines.build(cache_to=[f"type=registry,ref={ref},mode=max"], insecure=True)
    registry.exchanges.clear()
    assert machines.build(cache_from=[ref], insecure=True) == []
    assert _layers(registry, machines, "GET") == []
    assert machines.build(cache_from=[ref], insecure=True, tags=["x/y:1"]) == []
    assert len(_layers(registry, machines, "GET")) == 4


def test_layer_is_mounted_from_the_cache_that_is_in_the_same_registry(
    machines: Machines, registry: FaultProxy, tmp_path: Path
) -> None:
    near, folder = f"{registry.host}/one/app:cache", tmp_path / "cache"
    to = [f"type=registry,ref={near},mode=max", f"type=local,dest={folder},mode=max"]
    machines.build(cache_to=to, insecure=True)
    registry.exchanges.clear()
    executed = machines.build(
        tags=[f"{registry.host}/two/app:1"], push=True, insecure=True, cache_from=[*sources(folder), near]
    )
    assert executed == []
    assert len(_layers(registry, machines, "POST")) == 4
    assert _layers(registry, machines, "PUT|PATCH") == []
