"""Caches written by one store and read by another: what hits, what is fetched, and what a broken one does."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.cacheoptions import parse_cache_from, parse_cache_to
from imagesmith.errors import ImagesmithError, InvalidDocument, UsageError
from imagesmith.events import Warned
from imagesmith.image.result import BuildResult
from imagesmith.oci.codec import Object
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor
from imagesmith.solve import cacheio
from imagesmith.solve.cacheio import CONFIG_TYPE, INLINE, decode, merged
from imagesmith.store.store import Store
from imagesmith.values import replace
from tests.kitchen import Kitchen
from tests.registry.conftest import serve_docker, serve_embedded
from tests.support import IMAGESMITH, need_program

STAGES = (
    "FROM scratch AS maker\nCOPY a /a\nCOPY big /big\n"
    "FROM scratch\nWORKDIR /app\nCOPY --from=maker /a /app/a\nCOPY b /b\n"
)


@pytest.fixture
def other(kitchen: Kitchen, tmp_path: Path) -> Kitchen:
    """A second machine: the same context, a store of its own."""
    kitchen.write({"a": "alpha", "b": "beta", "big": "x" * 100_000})
    there = Kitchen.__new__(Kitchen)
    there.context, there.root, there.events = kitchen.context, tmp_path / "other", []
    return there


def blobs(k: Kitchen) -> int:
    """How many blobs a store has."""
    with Store(k.root) as store:
        return len(store.blobs.digests())


def warnings(k: Kitchen) -> list[str]:
    """What the last build warned of."""
    return [e.text for e in k.events if isinstance(e, Warned)]


def local(folder: Path) -> str:
    """The folder as a cache to read."""
    return f"type=local,src={folder}"


def export(k: Kitchen, folder: Path, mode: str = "max", more: str = "", text: str = STAGES) -> BuildResult:
    """Build, and write the cache to a folder."""
    return k.build(text, cache_to=[f"type=local,dest={folder},mode={mode}{more}"])


def test_fresh_store_with_a_cache_executes_nothing_and_fetches_no_layer(
    kitchen: Kitchen, other: Kitchen, tmp_path: Path
) -> None:
    first = export(kitchen, tmp_path / "cache")
    second = other.build(STAGES, cache_from=[local(tmp_path / "cache")])
    assert [n for n in other.executed if n.split(" ")[0] in ("COPY", "WORKDIR")] == []
    assert second.digest == first.digest
    assert blobs(other) == 2  # config and manifest


def test_only_layers_that_a_changed_step_needs_are_fetched(
    kitchen: Kitchen, other: Kitchen, tmp_path: Path
) -> None:
    export(kitchen, tmp_path / "cache")
    kitchen.write({"b": "another"})
    other.build(STAGES, cache_from=[local(tmp_path / "cache")])
    assert [n for n in other.executed if n.startswith("COPY")] == ["COPY b /b"]
    with Store(other.root) as store:
        assert sum(store.blobs.size(d) for d in store.blobs.digests()) < 10_000  # `big` stayed away


def test_layers_come_when_an_output_needs_them(kitchen: Kitchen, other: Kitchen, tmp_path: Path) -> None:
    export(kitchen, tmp_path / "cache")
    other.build(
        STAGES, cache_from=[local(tmp_path / "cache")], outputs=[f"type=local,dest={tmp_path / 'out'}"]
    )
    assert (tmp_path / "out" / "app" / "a").read_text() == "alpha"
    assert [n for n in other.executed if n.startswith("COPY")] == []


def test_named_image_is_complete_when_the_cache_goes_away(
    kitchen: Kitchen, other: Kitchen, tmp_path: Path
) -> None:
    export(kitchen, tmp_path / "cache")
    built = other.build(STAGES, cache_from=[local(tmp_path / "cache")], tags=["x/y:1"])
    shutil.rmtree(tmp_path / "cache")
    with Store(other.root) as store:
        assert all(store.blobs.has(layer.descriptor.digest) for layer in built.image.layers)


def test_imported_steps_are_known_here_afterwards(kitchen: Kitchen, other: Kitchen, tmp_path: Path) -> None:
    export(kitchen, tmp_path / "cache")
    first = other.build(STAGES, cache_from=[local(tmp_path / "cache")], tags=["x/y:1"])
    shutil.rmtree(tmp_path / "cache")
    (other.context / "big").write_text("changed")  # its layer was never fetched, and is not needed
    other.build(STAGES.replace("COPY big /big\n", ""), tags=["x/y:1"])
    assert [n for n in other.executed if n.startswith("COPY")] == ["COPY a /a"]
    assert first.image.layers


def copied(k: Kitchen) -> list[str]:
    """The COPYs that the last build executed."""
    return [n for n in k.executed if n.startswith("COPY")]


def test_mode_min_has_the_layers_of_the_image_alone_and_still_no_stage_is_built_again(
    kitchen: Kitchen, other: Kitchen, tmp_path: Path
) -> None:
    first = export(kitchen, tmp_path / "min", mode="min")
    assert len(_manifest(tmp_path / "min")["layers"]) == 3
    second = other.build(STAGES, cache_from=[local(tmp_path / "min")])
    assert copied(other) == []
    assert second.digest == first.digest


def test_stage_whose_content_is_needed_after_all_is_built_again(
    kitchen: Kitchen, other: Kitchen, tmp_path: Path
) -> None:
    export(kitchen, tmp_path / "min", mode="min")
    text = STAGES.replace("/app/a", "/app/alpha")
    given = [local(tmp_path / "min")]
    second = other.build(text, cache_from=given, tags=["x/y:1"])
    assert sorted(copied(other)) == [
        "COPY --from=maker /a /app/alpha",
        "COPY a /a",
        "COPY b /b",
        "COPY big /big",
    ]
    assert other.names(second, -2) == ["app", "app/alpha"]
    third = other.build(text, cache_from=given)
    assert (copied(other), third.digest) == ([], second.digest)


def test_inline_cache_of_stages_serves_without_building_them(
    kitchen: Kitchen, other: Kitchen, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    kitchen.build(STAGES, cache_to=["type=inline"], outputs=[f"type=oci,tar=false,dest={layout}"])
    other.build(STAGES, cache_from=[local(layout)])
    assert copied(other) == []


def test_cache_exported_from_a_build_that_had_no_stage_is_as_good(
    kitchen: Kitchen, other: Kitchen, tmp_path: Path
) -> None:
    export(kitchen, tmp_path / "min", mode="min")
    other.build(
        STAGES,
        cache_from=[local(tmp_path / "min")],
        cache_to=[f"type=local,dest={tmp_path / 'again'},mode=max"],
    )
    shutil.rmtree(other.root)
    other.build(STAGES, cache_from=[local(tmp_path / "again")])
    assert copied(other) == []


def _manifest(folder: Path) -> dict[str, list[Descriptor]]:
    index = json.loads((folder / "index.json").read_bytes())
    digest = index["manifests"][0]["digest"].partition(":")[2]
    raw = json.loads((folder / "blobs" / "sha256" / digest).read_bytes())
    assert raw["config"]["mediaType"] == CONFIG_TYPE
    return {"layers": [Descriptor.from_json(Object(o, "layer")) for o in raw["layers"]]}


def test_cache_manifest_tells_diff_ids_and_times(kitchen: Kitchen, other: Kitchen, tmp_path: Path) -> None:
    assert other.root != kitchen.root
    export(kitchen, tmp_path / "cache")
    for d in _manifest(tmp_path / "cache")["layers"]:
        assert set(d.annotations) == {"buildkit/createdat", "containerd.io/uncompressed"}


def test_cache_in_another_compression_serves_all_the_same(
    kitchen: Kitchen, other: Kitchen, tmp_path: Path
) -> None:
    first = export(kitchen, tmp_path / "cache", more=",compression=zstd")
    assert all(d.media_type.endswith("+zstd") for d in _manifest(tmp_path / "cache")["layers"])
    second = other.build(STAGES, cache_from=[local(tmp_path / "cache")], tags=["x/y:1"])
    assert [n for n in other.executed if n.startswith("COPY")] == []
    assert [layer.diff_id for layer in second.image.layers] == [layer.diff_id for layer in first.image.layers]


def test_inline_cache_lies_in_the_image_and_serves(kitchen: Kitchen, other: Kitchen, tmp_path: Path) -> None:
    text = "FROM scratch\nCOPY a /a\nCOPY b /b\n"
    layout = tmp_path / "layout"
    first = kitchen.build(
        text, build_args={"BUILDKIT_INLINE_CACHE": "1"}, outputs=[f"type=oci,tar=false,dest={layout}"]
    )
    assert INLINE in first.image.config.extra
    other.build(text, cache_from=[local(layout)])
    assert [n for n in other.executed if n.startswith("COPY")] == []


def test_image_with_inline_cache_is_reproducible_under_an_epoch(kitchen: Kitchen, other: Kitchen) -> None:
    words: dict[str, Any] = {
        "build_args": {"BUILDKIT_INLINE_CACHE": "1", "SOURCE_DATE_EPOCH": "1500000000"},
        "outputs": ["type=image,name=a"],
    }
    built = [each.build("FROM scratch\nCOPY a /a\n", **words) for each in (kitchen, other)]
    assert INLINE in built[0].image.config.extra
    assert built[0].digest == built[1].digest


def test_image_without_inline_cache_has_no_field_for_it(kitchen: Kitchen) -> None:
    kitchen.write({"a": "alpha"})
    assert kitchen.build("FROM scratch\nCOPY a /a\n").image.config.extra == {}


@pytest.mark.parametrize("damage", ["gone", "empty", "not ours", "config gone", "config torn"])
def test_broken_cache_is_a_warning(kitchen: Kitchen, other: Kitchen, tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    first = export(kitchen, cache)
    index = json.loads((cache / "index.json").read_bytes())
    manifest = cache / "blobs" / "sha256" / index["manifests"][0]["digest"].partition(":")[2]
    config = cache / "blobs" / "sha256" / json.loads(manifest.read_bytes())["config"]["digest"][7:]
    match damage:
        case "gone":
            shutil.rmtree(cache)
        case "empty":
            (cache / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')
        case "not ours":
            kitchen.build(
                outputs=[f"type=oci,tar=false,dest={tmp_path / 'plain'}"], dockerfile=_file(kitchen)
            )
            cache = tmp_path / "plain"
        case "config gone":
            config.unlink()
        case "config torn":
            config.chmod(0o644)
            config.write_bytes(config.read_bytes()[:-9])
    second = other.build(STAGES, cache_from=[local(cache)])
    assert len([n for n in other.executed if n.startswith("COPY")]) == 4
    assert len(second.image.layers) == len(first.image.layers)
    assert any("is not used" in text for text in warnings(other))


def _rewritten(cache: Path, change: Callable[[str], str]) -> None:
    """Change a cache's document, and all digests and sizes on the way to it."""
    blobs = cache / "blobs" / "sha256"

    def put(data: bytes) -> tuple[str, int]:
        (blobs / digest_bytes(data).hex).write_bytes(data)
        return str(digest_bytes(data)), len(data)

    index = json.loads((cache / "index.json").read_bytes())
    entry = index["manifests"][0]
    manifest = json.loads((blobs / entry["digest"][7:]).read_bytes())
    config = manifest["config"]
    config["digest"], config["size"] = put(change((blobs / config["digest"][7:]).read_text()).encode())
    entry["digest"], entry["size"] = put(json.dumps(manifest).encode())
    (cache / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ('"base":"\\ud800', False),
        ('"note":{"\\ud800":"\\udfff"},"base":"', False),
        ('"more":NaN,"base":"', True),
        ('"more":-1e999,"base":"', True),
        ('"more":' + "[" * 300 + "]" * 300 + ',"base":"', True),
        ('"more":' + "9" * 5000 + ',"base":"', True),
        ('"created_ns":1' + "0" * 30, True),
        ('"base":"\x00', False),
    ],
    ids=["surrogate", "a key twice", "NaN", "infinity", "deep", "digits", "a large time", "NUL"],
)
def test_hostile_document_costs_the_cache_and_not_the_build(
    kitchen: Kitchen, other: Kitchen, tmp_path: Path, new: str, told: bool
) -> None:
    first = export(kitchen, tmp_path / "cache")
    old = '"created_ns":' if new.startswith('"created_ns":') else '"base":"'
    _rewritten(tmp_path / "cache", lambda text: text.replace(old, new).replace("\0", "\\u0000"))
    second = other.build(STAGES, cache_from=[local(tmp_path / "cache")])
    assert len(second.image.layers) == len(first.image.layers)
    assert len([text for text in warnings(other) if "is not used" in text]) == told


def _file(k: Kitchen) -> str:
    path = k.context.parent / "Plainfile"
    path.write_text("FROM scratch\nCOPY a /z\n")
    return str(path)


def test_cache_that_lost_a_layer_is_left_and_the_build_done_again(
    kitchen: Kitchen, other: Kitchen, tmp_path: Path
) -> None:
    first = export(kitchen, tmp_path / "cache")
    for d in _manifest(tmp_path / "cache")["layers"]:
        (tmp_path / "cache" / "blobs" / "sha256" / d.digest.hex).unlink()
    second = other.build(STAGES, cache_from=[local(tmp_path / "cache")], tags=["x/y:1"])
    assert len(second.image.layers) == len(first.image.layers)
    assert any(text.startswith("building again without --cache-from") for text in warnings(other))


def test_cache_that_cannot_be_written_fails_the_build_unless_that_is_no_error(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    kitchen.write({"a": "x"})
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ImagesmithError, match="cannot write"):
        kitchen.build("FROM scratch\nCOPY a /\n", cache_to=[f"type=local,dest={tmp_path / 'file'}"])
    kitchen.build(
        cache_to=[f"type=local,dest={tmp_path / 'file'},ignore-error=true"], dockerfile=_file(kitchen)
    )
    assert any("was not written" in text for text in warnings(kitchen))


def test_metadata_names_the_cache_manifest(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"a": "x"})
    built = kitchen.build("FROM scratch\nCOPY a /\n", cache_to=[f"type=local,dest={tmp_path / 'cache'}"])
    index = json.loads((tmp_path / "cache" / "index.json").read_bytes())
    assert json.loads(built.metadata())["cache.manifest"]["digest"] == index["manifests"][0]["digest"]


def test_metadata_has_the_image_only_where_one_is_exported(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.write({"a": "x"})
    files, both = f"type=local,dest={tmp_path / 'out'}", f"type=oci,dest={tmp_path / 'o.tar'}"
    assert json.loads(kitchen.build("FROM scratch\nCOPY a /\n", outputs=[files]).metadata()) == {}
    built = kitchen.build("FROM scratch\nCOPY a /\n", outputs=[files, both], tags=["x/y:1"])
    document = json.loads(built.metadata([{"level": 1}]))
    assert list(document) == sorted(document)
    assert document["image.name"] == "docker.io/x/y:1"
    assert document["containerimage.digest"] == document["containerimage.descriptor"]["digest"]
    assert document["buildx.build.warnings"] == [{"level": 1}]


# --- the document ------------------------------------------------------------------------------

LAYER = Descriptor(
    media_type="application/vnd.oci.image.layer.v1.tar+gzip", digest=digest_bytes(b"layer"), size=5
)
RECORD = {"base": "b", "parts": {"op": {}}, "layer": 0, "diff_id": str(digest_bytes(b"tar")), "created_ns": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"layer": 1},
        {"layer": -2},
        {"layer": "0"},
        {"diff_id": "sha256:short"},
        {"diff_id": None},
        {"parts": []},
        {"base": 3},
        {"created_ns": "now"},
        {"created_ns": 10**30},
        {"note": {"name": 1}},
    ],
)
def test_malformed_record_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ImagesmithError):
        decode(Object({"version": 1, "records": [{**RECORD, **change}]}, "cache"), [LAYER])


def test_document_of_another_version_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="version 2"):
        decode(Object({"version": 2, "records": []}, "cache"), [])


def test_key_is_made_of_the_parts_whatever_a_record_says() -> None:
    records, _ = decode(Object({"version": 1, "records": [{**RECORD, "key": "0" * 64}]}, "cache"), [LAYER])
    assert "0" * 64 not in [r.key for r in records]
    assert len(records) == 1


# --- merging -----------------------------------------------------------------------------------


def _document(
    records: list[tuple[int, int, int | None]], layers: dict[int, int]
) -> tuple[Any, list[Descriptor]]:
    """A document of records (step, result, time; no time: without its layer), and its layers."""
    made = [
        {
            **RECORD,
            "parts": {"op": {"n": step}},
            "diff_id": str(digest_bytes(b"%d" % result)),
            "layer": -1 if at is None else layers.setdefault(result, len(layers)),
            "created_ns": at or 0,
        }
        for step, result, at in records
    ]
    return {"version": 1, "records": made}, [
        replace(LAYER, digest=digest_bytes(b"layer %d" % result)) for result in layers
    ]


RECORDS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.none() | st.integers(0, 9)),
    max_size=8,
    unique_by=lambda r: r[:2],
)


@given(new=RECORDS, old=RECORDS)
def test_merged_document_has_the_records_of_both_each_with_its_layer(
    new: list[tuple[int, int, int | None]], old: list[tuple[int, int, int | None]]
) -> None:
    document, layers = merged(_document(new, {}), _document(old, {}))
    records, _ = decode(Object(document, "cache"), layers)
    wanted = {(step, result) for step, result, _ in [*new, *old]}
    with_layer = {(step, result) for step, result, at in [*new, *old] if at is not None}
    assert len(records) == len(wanted)
    found = {(r.parts["op"]["n"], r.diff_id): r for r in records}  # type: ignore[index]
    for step, result in wanted:
        record = found[step, str(digest_bytes(b"%d" % result))]
        layer = str(digest_bytes(b"layer %d" % result)) if (step, result) in with_layer else None
        assert record.layer.get("digest") == layer
    assert len(layers) == len({d.digest for d in layers})


@pytest.mark.parametrize(
    ("limit", "most", "left"), [("_MOST_MERGED", 3, 2), ("_MOST_LAYERS", 2, 1), ("_MOST_OLD_BYTES", 300, 2)]
)
def test_merged_document_leaves_out_what_is_oldest(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int, left: int
) -> None:
    monkeypatch.setattr(cacheio, limit, most)
    new, old = _document([(0, 0, 1)], {}), _document([(n, n, n) for n in range(1, 6)], {})
    document, layers = merged(new, old)
    assert sorted(r["created_ns"] for r in document["records"]) == [1, *range(6 - left, 6)]
    assert len(layers) == len(document["records"])


# --- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("type=gha", "gha is not supported"),
        ("type=s3,bucket=b", "s3 is not supported"),
        ("type=azblob", "azblob is not supported"),
        ("type=tape", "unknown type"),
        ("type=local", "needs dest"),
        ("type=registry", "needs ref"),
        ("type=inline,mode=max", "no option mode"),
        ("type=local,dest=d,mode=most", "invalid mode most"),
        ("type=local,dest=d,image-manifest=false", "image-manifest=false"),
        ("type=local,dest=d,oci-mediatypes=false", "requires OCI mediatypes"),
        ("type=local,dest=d,compression=lz4", "unsupported compression"),
        ("mode=max,ref=r", "type required"),
        ("type=local,dest=d,ignore-error=perhaps", "non-bool"),
    ],
)
def test_option_that_cannot_be_honoured_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_cache_to([text], {})


def test_bare_reference_is_a_registry_and_local_takes_tag_and_digest() -> None:
    (place,) = parse_cache_to(["example.com/a/cache:1"], {})
    assert (place.type, str(place.ref), place.mode) == ("registry", "example.com/a/cache:1", "min")
    digest = str(digest_bytes(b"x"))
    (place,) = parse_cache_from([f"type=local,src=d,tag=t,digest={digest}"])
    assert (place.path, place.tag, str(place.digest)) == ("d", "t", digest)
    with pytest.raises(UsageError, match="needs src"):
        parse_cache_from(["type=local,tag=t"])


# --- registries --------------------------------------------------------------------------------


@contextlib.contextmanager
def _served(kind: str, folder: Path) -> Iterator[str]:
    with serve_docker(folder) if kind == "docker" else serve_embedded(folder) as served:
        yield served.host


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["docker", "embedded"])
def test_registry_cache_serves_another_machine_and_its_layers_are_not_downloaded_to_be_pushed(
    kitchen: Kitchen, other: Kitchen, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "registry").mkdir()
    with _served(kind, tmp_path / "registry") as host:
        words = {"insecure": True, "push": True}
        first = kitchen.build(
            STAGES,
            tags=[f"{host}/one/app:1"],
            cache_to=[f"type=registry,ref={host}/one/app:cache,mode=max"],
            **words,
        )
        second = other.build(
            STAGES, tags=[f"{host}/two/app:1"], cache_from=[f"{host}/one/app:cache"], **words
        )
        assert [n for n in other.executed if n.split(" ")[0] in ("COPY", "WORKDIR", "fetch")] == []
        assert second.digest == first.digest
        assert blobs(other) == 2
        missing = other.build(STAGES, cache_from=[f"{host}/one/none:cache"], insecure=True)
        assert len(missing.image.layers) == len(first.image.layers)
        assert warnings(other)  # asked for, as the store has no layer


@pytest.mark.slow
def test_no_command_is_run_again_where_a_registry_has_its_result(tmp_path: Path) -> None:
    import subprocess

    context = tmp_path / "context"
    context.mkdir()
    shutil.copy(need_program("busybox"), context / "busybox")
    (context / "Dockerfile").write_text(
        'FROM scratch AS base\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
        "FROM base AS made\nRUN date +%N > /made\n"
        "FROM base\nCOPY --from=made /made /made\nRUN cat /made > /again\n"
    )
    (tmp_path / "registry").mkdir()
    with serve_docker(tmp_path / "registry") as served:
        digests = []
        for store, flag in (("one", "--cache-to"), ("two", "--cache-from")):
            place = f"type=registry,ref={served.host}/app:cache" + (
                ",mode=max" if flag == "--cache-to" else ""
            )
            done = subprocess.run(
                [*IMAGESMITH, "build", "--root", str(tmp_path / store), "--progress", "plain", "--insecure",
                 "-t", f"{served.host}/app:{store}", "--push", flag, place,
                 "--metadata-file", str(tmp_path / store) + ".json", str(context)],
                capture_output=True, text=True, env={**os.environ, "CI": ""}, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            digests.append(json.loads((tmp_path / f"{store}.json").read_bytes())["containerimage.digest"])
        assert digests[0] == digests[1]
        assert done.stderr.count("CACHED") == 5
        assert "fetch " not in done.stderr
