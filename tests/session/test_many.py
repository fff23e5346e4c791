"""Several requests in one solve: what is the same is done once, and each comes out as if built alone."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagesmith.context.named import TargetContext
from imagesmith.embedded.registry import Registry
from imagesmith.errors import ImagesmithError
from imagesmith.events import Event, StepCached, StepStarted, Warned
from imagesmith.image.result import BuildResult
from imagesmith.oci.model import Manifest
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.request import Attestations, BuildRequest, CachePlace, Output, ProvenanceWanted, SbomWanted
from imagesmith.session import Session
from imagesmith.settings import Access, Settings
from imagesmith.store.store import Store
from imagesmith.values import replace
from tests.gitserver import git_server
from tests.kitchen import NOWHERE
from tests.registry.faultproxy import FaultProxy

#: Under it nothing depends on when a step is executed.
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
REWRITTEN = (Output(type="image", options={"rewrite-timestamp": "true"}),)


def request(folder: Path, name: str, text: str, **words: Any) -> BuildRequest:
    words.setdefault("build_args", EPOCH)
    words.setdefault("outputs", REWRITTEN)
    tags = (ImageRef.parse(f"x/{name}:1"),)
    return BuildRequest(name=name, context=str(folder), inline=text.encode(), tags=tags, **words)


def build_all(root: Path, *requests: BuildRequest, jobs: int = 0) -> tuple[list[BuildResult], list[Event]]:
    events: list[Event] = []
    with Session(Settings(root=root), NOWHERE, events.append) as session:
        return session.build_all(requests, jobs), events


def executed(events: list[Event]) -> list[str]:
    names = [e.name for e in events if isinstance(e, StepStarted)]
    return [name for name in names if "/" in name.partition("]")[0]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    made.mkdir()
    for name in ("a", "b", "c"):
        (made / name).write_text(name * 50)
    return made


def test_what_is_the_same_is_done_once(tmp_path: Path, folder: Path) -> None:
    shared = "FROM scratch AS base\nCOPY a /a\nWORKDIR /w\nFROM base\n"
    requests = [request(folder, n, f"{shared}COPY {n} /{n}\n") for n in ("b", "c")]
    built, events = build_all(tmp_path / "store", *requests)
    assert sorted(executed(events)) == [
        "[b base 1/2] COPY a /a", "[b base 2/2] WORKDIR /w", "[b stage-1 1/1] COPY b /b",
        "[c stage-1 1/1] COPY c /c",
    ]  # fmt: skip
    for one, wanted in zip(requests, built, strict=True):
        alone, _ = build_all(tmp_path / f"store-{one.name}", one)
        assert alone[0].digest == wanted.digest


def test_target_stands_on_what_another_one_makes(tmp_path: Path, folder: Path) -> None:
    base = request(
        folder, "base", "FROM scratch\nENV K=v\nWORKDIR /w\nCOPY a .\nLABEL l=1\nONBUILD COPY b /triggered\n"
    )
    app = request(
        folder, "app", 'FROM base\nCOPY --from=base /w/a /again\nCMD ["$K"]\n',
        contexts={"base": TargetContext("base")},
    )  # fmt: skip
    [first, second], events = build_all(tmp_path / "store", base, app)
    config = second.image.config
    assert config.runtime.env == first.image.config.runtime.env
    assert (config.runtime.working_dir, config.runtime.labels) == ("/w", {"l": "1"})
    assert [h.created_by for h in config.history] == [
        *(h.created_by for h in first.image.config.history),
        "COPY b /triggered # buildkit", "COPY /w/a /again # buildkit", 'CMD ["$K"]',
    ]  # fmt: skip
    assert config.diff_ids[: len(first.image.config.diff_ids)] == first.image.config.diff_ids
    assert [name for name in executed(events) if name.startswith("[base")] == [
        "[base 1/2] WORKDIR /w", "[base 2/2] COPY a .",
    ]  # fmt: skip


def test_linked_target_gives_the_image_of_the_platform(tmp_path: Path, folder: Path) -> None:
    platforms = tuple(map(Platform.parse, ("linux/amd64", "linux/arm64")))
    of = {"platforms": platforms, "indexed": True}
    base = request(folder, "base", "FROM scratch\nARG TARGETARCH\nENV A=$TARGETARCH\nCOPY a /\n", **of)
    app = request(folder, "app", "FROM base\nCOPY b /\n", contexts={"base": TargetContext("base")}, **of)
    [_, built], _ = build_all(tmp_path / "store", base, app)
    assert [i.config.runtime.env[-1] for i in built.images.values()] == ["A=amd64", "A=arm64"]


def test_ignore_file_of_a_dockerfile_is_its_own(tmp_path: Path, folder: Path) -> None:
    for name, ignored in (("one", "b"), ("two", "c")):
        (folder / f"{name}.Dockerfile").write_text("FROM scratch\nCOPY [abc] /\n")
        (folder / f"{name}.Dockerfile.dockerignore").write_text(ignored)
    requests = [
        BuildRequest(name=n, context=str(folder), dockerfile=str(folder / f"{n}.Dockerfile"))
        for n in ("one", "two")
    ]
    built, _ = build_all(tmp_path / "store", *requests)
    files = [[e.path for layer in one.image.layers for e in layer.stored.entries()] for one in built]
    assert files == [["a", "c"], ["a", "b"]]


def test_error_names_its_own_dockerfile_and_target(tmp_path: Path, folder: Path) -> None:
    good = request(folder, "good", "FROM scratch\nCOPY a /\n")
    bad = request(folder, "bad", "FROM scratch\n\nCOPY a /\nCOPY nothing /\n")
    with pytest.raises(ImagesmithError) as e:
        build_all(tmp_path / "store", good, bad)
    assert (e.value.first, e.value.source.split("\n")[3]) == (4, "COPY nothing /")
    assert e.value.step == "[bad 2/2] COPY nothing /"
    with pytest.raises(ImagesmithError) as e:
        build_all(tmp_path / "store", good, request(folder, "wrong", "FROM scratch\nCOPPY a /\n"))
    assert (e.value.first, e.value.source.split("\n")[1]) == (2, "COPPY a /")


@pytest.mark.parametrize("jobs", [0, 1, 2])
def test_outputs_caches_and_attestations_are_each_ones_own(tmp_path: Path, folder: Path, jobs: int) -> None:
    base = request(folder, "base", "FROM scratch\nCOPY a /a\n")
    asked = Attestations(provenance=ProvenanceWanted(mode="max"), sbom=SbomWanted())
    app = request(
        folder, "app", "FROM base\nCOPY b /b\n", contexts={"base": TargetContext("base")},
        attestations=asked, indexed=True,
        cache_to=(CachePlace(type="local", path=str(tmp_path / "cache"), mode="max"),),
        outputs=(
            Output(type="oci", dest=str(tmp_path / "app.tar")),
            Output(type="local", dest=str(tmp_path / "files")),
        ),
    )  # fmt: skip
    [_, built], _ = build_all(tmp_path / "store", base, app, jobs=jobs)
    files = {p.name for p in (tmp_path / "files").rglob("*") if p.is_file() and not p.name.endswith(".json")}
    assert files == {"a", "b"}
    assert (tmp_path / "app.tar").is_file()
    assert built.cache is not None
    cached = app_of_cache(tmp_path, base, app)
    assert {type(e) for e in cached if isinstance(e, StepStarted | StepCached) and "COPY" in e.name} == {
        StepCached
    }
    assert not [e for e in cached if isinstance(e, Warned)]


def app_of_cache(tmp_path: Path, base: BuildRequest, app: BuildRequest) -> list[Event]:
    """The events of building again in an empty store with the cache."""
    words = {
        name: getattr(app, name) for name in ("contexts", "tags", "build_args", "name", "context", "inline")
    }
    again = BuildRequest(cache_from=(CachePlace(type="local", path=str(tmp_path / "cache")),), **words)
    return build_all(tmp_path / "other", base, again)[1]


def test_provenance_tells_the_folders_of_linked_targets(tmp_path: Path, folder: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "z").write_text("z")
    base = request(other, "base", "FROM scratch\nCOPY z /z\n")
    asked = Attestations(provenance=ProvenanceWanted(mode="max"))
    contexts = {"base": TargetContext("base")}
    app = request(
        folder, "app", "FROM base\nCOPY b /b\n", contexts=contexts, attestations=asked, indexed=True
    )
    [_, built], _ = build_all(tmp_path / "store", base, app)
    assert built.attestations
    with Store(tmp_path / "store") as store:
        [entry] = [d for entries in built.attestations.values() for d in entries]
        manifest = Manifest.parse(store.blobs.read(entry.digest))
        statement = json.loads(store.blobs.read(manifest.layers[0].digest))
    found = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert [m["uri"] for m in found] == ["local://context", "local://dockerfile"]


def test_one_page_tells_of_all(tmp_path: Path, folder: Path) -> None:
    page = tmp_path / "page.html"
    one = request(folder, "one", "FROM scratch\nCOPY a /\n", report=str(page))
    two = request(folder, "two", "FROM scratch\nCOPY b /\n")
    built, _ = build_all(tmp_path / "store", one, two)
    text = page.read_text()
    assert [f"{n} {b.digest}" in text for n, b in zip(("one", "two"), built, strict=True)] == [True, True]
    assert "[two 1/1] COPY b /" in text


@pytest.mark.parametrize("kind", ["tar", "oci", "docker"])
def test_two_that_write_one_file_are_refused_before_anything_is_built(
    tmp_path: Path, folder: Path, kind: str
) -> None:
    dests = (str(tmp_path / "out.tar"), str(tmp_path / "context" / ".." / "out.tar"))
    requests = [
        request(folder, f"t{n}", "FROM scratch\nCOPY a /\n", outputs=(Output(type=kind, dest=dest),))
        for n, dest in enumerate(dests)
    ]
    with pytest.raises(ImagesmithError) as e:
        build_all(tmp_path / "store", *requests)
    assert e.value.message == f"targets t0 and t1 both write {tmp_path / 'out.tar'}"
    assert not (tmp_path / "out.tar").exists()


def test_one_folder_takes_the_files_of_two(tmp_path: Path, folder: Path) -> None:
    out = (Output(type="local", dest=str(tmp_path / "out")),)
    requests = [request(folder, n, f"FROM scratch\nCOPY {n} /\n", outputs=out) for n in "ab"]
    build_all(tmp_path / "store", *requests)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a", "b"}


def test_one_name_of_two_targets_is_warned_of(tmp_path: Path, folder: Path) -> None:
    one = request(folder, "one", "FROM scratch\nCOPY a /\n")
    two = replace(request(folder, "two", "FROM scratch\nCOPY b /\n"), tags=one.tags)
    other = request(folder, "other", "FROM scratch\nCOPY b /\n")
    _, events = build_all(tmp_path / "store", one, two, other)
    [warned] = [e for e in events if isinstance(e, Warned)]
    assert warned.text.startswith("targets one, two all have the name docker.io/x/one:1")


@pytest.mark.slow
@pytest.mark.parametrize("repositories", [1, 6])
def test_layer_of_several_images_is_sent_to_a_registry_once(
    tmp_path: Path, folder: Path, repositories: int
) -> None:
    with Registry(tmp_path / "registry") as registry, FaultProxy(registry.host) as proxy:
        requests = [
            BuildRequest(
                name=f"t{n}", context=str(folder), build_args=EPOCH, access=Access(insecure=True),
                inline=f"FROM scratch\nCOPY a /a\nCOPY b /b\nENV N={n}\n".encode(),
                tags=(ImageRef.parse(f"{proxy.host}/r{n % repositories}:t{n}"),),
                outputs=(Output(type="registry"),),
            )
            for n in range(6)
        ]  # fmt: skip
        built, _ = build_all(tmp_path / "store", *requests)
        sent = Counter(
            found.group(1)
            for e in proxy.exchanges
            if e.method == "PUT" and (found := re.search(r"[?&]digest=(sha256(?::|%3A)\w+)", e.target))
        )
    layers = {layer.descriptor.digest.hex for one in built for layer in one.image.layers}
    assert len(layers) == 2
    assert {digest[-64:] for digest in sent} >= layers
    assert set(sent.values()) == {1}


@pytest.mark.slow
def test_repository_is_taken_with_and_without_its_history(tmp_path: Path) -> None:
    where = tmp_path / "served" / "r"
    where.mkdir(parents=True)
    (where / "a").write_text("a")
    for words in (["init"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-m", "x"]):
        subprocess.run(["git", *words], cwd=where, check=True, capture_output=True)
    with git_server(tmp_path / "served") as server:
        requests = [
            request(
                tmp_path, f"t{n}", "FROM scratch\nCOPY . /\n", build_args=args,
                outputs=(Output(type="local", dest=str(tmp_path / f"t{n}")),),
            )
            for n, args in enumerate([{}, {"BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1"}])
        ]  # fmt: skip
        build_all(tmp_path / "store", *[replace(r, context=server.url("r")) for r in requests])
    found = [{p.name for p in (tmp_path / name).iterdir()} for name in ("t0", "t1")]
    assert found == [{"a"}, {"a", ".git"}]


@pytest.mark.slow
def test_image_is_asked_for_once_for_all_that_ask_in_one_way(tmp_path: Path, folder: Path) -> None:
    with Registry(tmp_path / "registry") as registry, FaultProxy(registry.host) as proxy:
        access, name = Access(insecure=True), f"{proxy.host}/base:1"
        base = replace(
            request(folder, "base", "FROM scratch\nCOPY a /a\n"), access=access, tags=(ImageRef.parse(name),),
            outputs=(Output(type="registry"),),
        )  # fmt: skip
        build_all(tmp_path / "first", base)
        proxy.exchanges.clear()
        requests = [
            request(folder, f"t{n}", f"FROM {name}\nCOPY b /b\nENV N={n}\n", access=access, pull=pull)
            for n, pull in enumerate([False, True, True, True, False])
        ]
        build_all(tmp_path / "store", *requests)
        asked = [e.target for e in proxy.exchanges if e.target.endswith("/manifests/1")]
    assert len(asked) == 2  # without --pull, and with it


LINES = st.sampled_from(
    [
        "COPY a /a",
        "COPY b /b",
        "COPY c /c",
        "WORKDIR /w",
        "ENV K=v",
        "COPY a b /d/",
        "LABEL x=y",
        "COPY --link c /l",
    ]
)
TARGETS = st.lists(
    st.tuples(st.lists(LINES, max_size=4), st.lists(LINES, min_size=1, max_size=3), st.booleans()),
    min_size=1,
    max_size=4,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(targets=TARGETS, jobs=st.sampled_from([0, 1, 3]))
def test_any_targets_together_are_what_each_is_alone(
    tmp_path_factory: pytest.TempPathFactory,
    folder: Path,
    targets: list[tuple[list[str], list[str], bool]],
    jobs: int,
) -> None:
    place = tmp_path_factory.mktemp("many")
    requests: list[BuildRequest] = []
    for number, (first, second, linked) in enumerate(targets):
        start = "FROM before" if linked and number else "FROM scratch"
        contexts = {"before": TargetContext(f"t{number - 1}")} if linked and number else {}
        text = "\n".join([f"{start} AS one", *first, "FROM one", *second, ""])
        requests.append(request(folder, f"t{number}", text, contexts=contexts))
    together, events = build_all(place / "store", *requests, jobs=jobs)
    alone = [build_all(place / f"s{n}", *requests[: n + 1])[0][n] for n in range(len(requests))]
    assert [b.digest for b in together] == [b.digest for b in alone]
    assert len(executed(events)) == len(set(executed(events)))


def test_what_does_not_depend_on_a_failure_is_finished(tmp_path: Path, folder: Path) -> None:
    requests = [
        request(folder, "unplanned", "FROM scratch\nCOPPY a /\n"),
        request(folder, "broken", "FROM scratch\nCOPY a /\nCOPY nothing /\n"),
        request(folder, "on-broken", "FROM b\nCOPY c /\n", contexts={"b": TargetContext("broken")}),
        request(folder, "on-unplanned", "FROM b\nCOPY c /\n", contexts={"b": TargetContext("unplanned")}),
        request(folder, "good", "FROM scratch\nCOPY a /\nCOPY b /\n"),
    ]
    with Session(Settings(root=tmp_path / "store"), NOWHERE, lambda _: None) as session:
        found = session.build_each(requests)
        names = [str(ref) for ref, _ in session.store.images()]
    errors = [e for e in found if isinstance(e, ImagesmithError)]
    assert [e.source.split("\n")[e.first - 1] for e in errors] == [
        "COPPY a /", "COPY nothing /", "COPY nothing /", "COPPY a /",
    ]  # fmt: skip
    assert isinstance(found[4], BuildResult)
    assert names == ["docker.io/x/good:1"]


def test_what_is_built_for_others_takes_their_form(tmp_path: Path, folder: Path) -> None:
    base = request(folder, "base", "FROM scratch\nCOPY a /a\n")
    build_all(tmp_path / "store", base)  # with times rewritten
    only = request(folder, "base", "FROM scratch\nCOPY a /a\n", outputs=(Output(type="cacheonly"),))
    app = request(folder, "app", "FROM base\nCOPY b /b\n", contexts={"base": TargetContext("base")})
    _, events = build_all(tmp_path / "store", only, app)
    assert executed(events) == ["[app 2/2] COPY b /b"]
