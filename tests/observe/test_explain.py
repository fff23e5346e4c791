"""--explain: the first thing that made a step run, by name, old against new."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagesmith.dockerfile.mounts import parse_mount
from imagesmith.events import Event, Message
from imagesmith.fs.entry import Entry
from imagesmith.observe.explain import Explainer, file_changes
from imagesmith.ops.run import RunOp
from imagesmith.ops.runmount import RunMount
from imagesmith.solve.step import Step
from imagesmith.solve.stepcache import StepCache
from imagesmith.solve.watching import Solved
from imagesmith.store.cachedb import StepRecord
from imagesmith.store.store import Store
from tests.kitchen import Kitchen

TEXT = "FROM scratch\nCOPY dir /dir\nCOPY g /g\n"


def told(k: Kitchen) -> list[str]:
    """What the last build explained."""
    return [e.text for e in k.events if isinstance(e, Message) and e.step]


def build(k: Kitchen, text: str = TEXT, **words: Any) -> list[str]:
    """Build and explain."""
    k.build(text, explain=True, **words)
    return told(k)


@pytest.fixture
def warm(kitchen: Kitchen) -> Kitchen:
    """A store that has built the text once."""
    kitchen.write({"dir/a": "one", "dir/b": "two", "g": "gee"})
    assert build(kitchen) == ["miss: no earlier build has this instruction here"] * 2
    return kitchen


def test_hit_tells_where_it_comes_from(warm: Kitchen) -> None:
    lines = build(warm)
    assert len(lines) == 2
    assert all(line.startswith("hit: nothing changed; from this store, made ") for line in lines)


def _rewrite(k: Kitchen) -> None:
    k.write({"dir/a": "ONE"})


def _longer(k: Kitchen) -> None:
    k.write({"dir/b": "two and more"})


def _add(k: Kitchen) -> None:
    k.write({"dir/c": ""})


def _remove(k: Kitchen) -> None:
    (k.context / "dir" / "b").unlink()


def _mode(k: Kitchen) -> None:
    (k.context / "dir" / "a").chmod(0o600)


def _kind(k: Kitchen) -> None:
    (k.context / "dir" / "b").unlink()
    (k.context / "dir" / "b").symlink_to("a")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_rewrite, "miss: /dir/a: its content changed: sha256:7692c3ad3540 -> sha256:"),
        (_longer, "miss: /dir/b: its content changed: 3 -> 12 bytes"),
        (_add, "miss: /dir/c was added"),
        (_remove, "miss: /dir/b was removed"),
        (_mode, "miss: /dir/a: its mode changed: 0644 -> 0600"),
        (_kind, "miss: /dir/b: its kind changed: file -> link"),
    ],
)
def test_changed_file_is_named_with_what_changed(
    warm: Kitchen, change: Callable[[Kitchen], None], said: str
) -> None:
    change(warm)
    first, second = build(warm)
    assert first.startswith(said)
    assert second == "miss: the step before it was executed anew: [1/2] COPY dir /dir"


def test_many_changed_files_are_counted(warm: Kitchen) -> None:
    warm.write({f"dir/n{n:02}": "x" for n in range(30)})
    lines = build(warm)
    assert lines[0] == "miss: /dir/n00 was added"
    assert lines[10] == "      and 20 more files"


def test_changed_flag_and_destination_are_named(warm: Kitchen) -> None:
    assert (
        build(warm, TEXT.replace("COPY dir", "COPY --chmod=700 dir"))[0]
        == "miss: --chmod changed: '' -> '700'"
    )
    (_, line) = build(warm, TEXT.replace("/g\n", "/h\n"))
    assert line == "miss: the instruction changed; the destination changed: '/g' -> '/h'"


def test_no_cache_is_a_reason(warm: Kitchen) -> None:
    assert build(warm, no_cache=True) == ["miss: --no-cache asks for it"] * 2


def test_layer_that_is_gone_is_a_reason(warm: Kitchen) -> None:
    with Store(warm.root) as store:
        for digest in store.blobs.digests():
            store.blobs.remove(digest)
    assert build(warm)[0] == "miss: its layer is no longer in the store"


def test_changed_base_image_is_told_by_digest(kitchen: Kitchen) -> None:
    kitchen.write({"a": "1", "f": "x"})
    base, app = "FROM scratch\nCOPY a /\n", "FROM base\nCOPY f /\n"
    layout = kitchen.context.parent / "layout"
    digests = []
    lines: list[str] = []
    for content in ("1", "2"):
        kitchen.write({"a": content})
        shutil.rmtree(layout, ignore_errors=True)
        digests.append(kitchen.build(base, outputs=[f"type=oci,tar=false,dest={layout}"]).digest)
        lines = build(kitchen, app, contexts={"base": f"oci-layout://{layout}"})
    assert len(lines) == 1
    assert lines[0].startswith("miss: the base image ")
    assert lines[0].endswith(f" changed: {digests[0]} -> {digests[1]}")


# --- RUN, without running ----------------------------------------------------------------------


def _run_reason(tmp_path: Any, old: dict[str, Any], new: dict[str, Any]) -> str:
    """What is said of a RUN whose parts differ so from those of an earlier one."""
    lines: list[str] = []

    def sink(event: Event) -> None:
        assert isinstance(event, Message)
        lines.append(event.text)

    parts = {"format": 1, "below": "sha256:aa", "inputs": []}
    fields = {"kind": "run", "argv": ["/bin/sh", "-c", "make"], "env": ["PATH=/bin", "V=1"], "user": ""}
    from imagesmith.solve.key import base_of, key_of

    before = {**parts, "op": fields | old}
    now = {**parts, "op": fields | new}
    step = Step.of(RunOp(argv=("make",), env=(), cwd="/"), None, "[1/1] RUN make")
    with Store(tmp_path / "store") as store:
        record = StepRecord(
            key=key_of(before), base=base_of(before), parts=before, diff_id="", layer={}, created_ns=1
        )
        store.cache.put_steps([record])
        Explainer(store, StepCache(store), ["V"], sink).missed(1, step, now, None, dict)
    (line,) = lines
    return line.removeprefix("miss: ")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({}, {"env": ["PATH=/bin", "V=2"]}, "build argument V changed: '1' -> '2'"),
        ({}, {"env": ["PATH=/usr/bin", "V=1"]}, "variable PATH changed: '/bin' -> '/usr/bin'"),
        ({}, {"env": ["PATH=/bin", "V=1", "X=y"]}, "variable X was added: 'y'"),
        ({}, {"env": ["PATH=/bin"]}, "build argument V is gone: '1' before"),
        ({}, {"env": ["V=1", "PATH=/bin"]}, "the order of the variables changed"),
        ({}, {"user": "app"}, "the user changed: '' -> 'app'"),
        ({"network": "default"}, {"network": "none"}, "--network changed: 'default' -> 'none'"),
        (
            {},
            {"argv": ["/bin/sh", "-c", "make all"]},
            "the instruction changed; the command changed: 'make' -> 'make all'",
        ),
    ],
)
def test_changed_field_of_run_is_named(tmp_path: Any, old: Any, new: Any, said: str) -> None:
    assert _run_reason(tmp_path, old, new) == said


def test_changed_file_of_a_bind_mount_is_named(tmp_path: Any) -> None:
    from imagesmith.solve.key import base_of, key_of

    op = {"kind": "run", "argv": ["make"]}
    before = {"format": 1, "below": "sha256:aa", "op": op, "inputs": ["old"]}
    now = before | {"inputs": ["new"]}
    step = Step.of(RunOp(argv=("make",), env=(), cwd="/"), None, "[1/1] RUN make")
    lines: list[str] = []
    with Store(tmp_path / "store") as store:
        record = StepRecord(
            key=key_of(before), base=base_of(before), parts=before, diff_id="", layer={}, created_ns=1
        )
        files = {"/src": {"src/a": "0644 aa", "src/b": "0644 bb", "src/c": "0644 cc"}}
        store.cache.put_steps([record], {record.key: {"files": json.dumps(files)}})
        changed = {"/src": {"src/a": "0644 a2", "src/c": "0644 cc", "src/d": "0644 dd"}}
        explainer = Explainer(store, StepCache(store), [], lambda e: lines.append(getattr(e, "text", "")))
        explainer.missed(1, step, now, None, lambda: changed)
    assert lines == [
        "miss: /src/a of --mount changed: 0644 aa -> 0644 a2",
        "      /src/d of --mount was added",
        "      /src/b of --mount was removed",
    ]


def test_value_too_long_for_a_line_is_cut(tmp_path: Any) -> None:
    line = _run_reason(tmp_path, {}, {"env": ["PATH=/bin", f"V={'v' * 5000}"]})
    assert len(line) < 400
    assert line.endswith("…")


# --- files -------------------------------------------------------------------------------------


def test_times_of_files_are_no_change() -> None:
    old = [Entry("d", "d", 0o755, mtime_ns=1), Entry("d/f", "f", size=1, mtime_ns=1, digest="aa")]
    new = [Entry("d", "d", 0o755, mtime_ns=2), Entry("d/f", "f", size=1, mtime_ns=2, digest="aa")]
    assert file_changes(old, new) == []


def test_owner_link_and_capability_are_changes() -> None:
    old = [Entry("a", "l", 0o777, link="x"), Entry("b", "d", 0o755), Entry("c", "f", digest="aa")]
    new = [
        Entry("a", "l", 0o777, link="y"),
        Entry("b", "d", 0o755, uid=5, gid=6),
        Entry("c", "f", digest="aa", capability=b"x" * 20),
    ]
    assert file_changes(old, new) == [
        "/a: it points elsewhere: x -> y",
        "/b: its owner changed: 0:0 -> 5:6",
        "/c: its capabilities changed",
    ]


def test_what_is_written_otherwise_and_does_not_count_is_named(tmp_path: Path) -> None:
    """The id of a cache mount is not in the key, as in BuildKit: who changes it sees a hit."""
    told: list[Event] = []
    with Store(tmp_path) as store:
        cache = StepCache(store)
        explainer = Explainer(store, cache, (), told.append)

        def solved(name: str, was: str, mount: str) -> str:
            record = StepRecord(key="k", base="b", parts={}, diff_id="", layer={}, created_ns=0)
            cache.keep((record, {"name": was}))
            mounts = (RunMount(parse_mount(mount, lambda w: w)),) if mount else ()
            step = Step.of(RunOp(argv=("x",), env=(), cwd="/", user="", mounts=mounts), None, name)
            layer = SimpleNamespace(created_ns=time.time_ns())
            done = Solved(
                step=step, number=1, layer=layer, records=(record,), hit="store", began_s=0.0, ended_s=0.0  # type: ignore[arg-type]
            )  # fmt: skip
            explainer.solved(done)
            (last,) = [e.text for e in told if isinstance(e, Message)][-1:]
            return last

        mount = "--mount=type=cache,target=/c"
        said = solved(
            f"[2/3] RUN {mount},id=b x", f"[2/3] RUN {mount},id=a x", mount.removeprefix("--mount=")
        )
        assert f"nothing that counts changed, {mount},id=a -> {mount},id=b (ids, " in said
        assert "nothing changed; from this store" in solved("[2/2] RUN x", "[9/9] RUN x", "")
        said = solved("[1/1] COPY f /g", "[1/1] COPY f", "")
        assert said.startswith("hit: nothing that counts changed, nothing -> /g; from this store")
