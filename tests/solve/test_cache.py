"""What invalidates what: the table of BuildKit, and that an unchanged context costs nothing."""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagesmith.context.contexts import Contexts
from imagesmith.context.digests import FileDigests
from imagesmith.context.local import LocalTree
from imagesmith.events import nobody
from imagesmith.ops.run import RunOp
from imagesmith.options import parse_secret
from imagesmith.plan.lints import BuildLints
from imagesmith.plan.planner import Planner
from imagesmith.plan.reading import linter_of, read_dockerfile
from imagesmith.request import BuildRequest
from imagesmith.settings import Settings
from imagesmith.solve.key import key_of, parts_of
from imagesmith.solve.step import Step
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases
from tests.kitchen import Kitchen, tar_of

COPY = "FROM scratch\nCOPY f /f\n"


def test_second_build_executes_nothing_and_makes_the_same_image(kitchen: Kitchen) -> None:
    kitchen.write({"f": "text", "g": "more"})
    text = "FROM scratch\nCOPY f /f\nWORKDIR /w\nADD g .\nCOPY <<E /e\nx\nE\n"
    first = kitchen.build(text)
    assert len(kitchen.executed) == 4
    second = kitchen.build(text)
    assert (kitchen.executed, len(kitchen.cached)) == ([], 4)
    assert second.digest == first.digest


@pytest.mark.parametrize(
    "copy",
    [
        "COPY . /",
        "COPY d d/g l h /x/",
        "COPY d/* /y/",
        "COPY --chown=5:6 --chmod=0700 . /new/",
        "COPY --exclude=d/g --exclude=*.skip . /",
        "COPY --parents ./d/./e/f d/g /p/",
        "COPY --link d /l/d",
        "ADD a.tar d /unpacked/",
        "COPY --from=other /d /h /o/",
        "COPY --from=other --exclude=g / /all/",
    ],
)
def test_key_made_while_a_copy_is_executed_is_the_one_that_is_looked_for_later(
    kitchen: Kitchen, copy: str
) -> None:
    kitchen.write({"d/g": "g", "d/e/f": "f", "d/e/\udcff": "", "h": "h", "no.skip": "skip"})
    os.link(kitchen.context / "h", kitchen.context / "d/again")
    (kitchen.context / "l").symlink_to("d/g")
    with tarfile.open(kitchen.context / "a.tar", "w") as t:
        t.add(kitchen.context / "d", "inside")
    text = f"FROM scratch AS other\nCOPY . /\nFROM scratch\nCOPY h /new/h\nCOPY h /h\n{copy}\n"
    first = kitchen.build(text)
    assert kitchen.executed
    assert kitchen.build(text).digest == first.digest
    assert kitchen.executed == []


@pytest.mark.slow
def test_unchanged_context_of_a_thousand_files_is_not_read_again(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    kitchen.write({f"d{n % 10}/f{n}": f"content {n}" for n in range(1000)})
    first = kitchen.build("FROM scratch\nCOPY . /all\n")
    kitchen.build(
        "FROM scratch\nCOPY . /all\n"
    )  # what is as young as a test's files is remembered a little later

    opened = LocalTree.open

    def never(self: LocalTree, path: str, *stamp: Any) -> Any:
        assert path == "Dockerfile", f"{path} was read"
        return opened(self, path, *stamp)

    _remember_files(kitchen)
    monkeypatch.setattr(LocalTree, "open", never)
    assert kitchen.build("FROM scratch\nCOPY . /all\n").digest == first.digest
    assert kitchen.executed == []


def _remember_files(kitchen: Kitchen) -> None:
    """Remember the files' digests as a build in some seconds would: those of a test are too young."""
    with Store(kitchen.root) as store:
        digests = FileDigests(store.cache, time.time_ns() + 10_000_000_000)
        for e in LocalTree(kitchen.context).walk():
            if e.kind == "f":
                digests(e)
        digests.flush()


def _change_time(k: Kitchen) -> None:
    os.utime(k.context / "f", (5, 5))


def _add_other(k: Kitchen) -> None:
    (k.context / "other").write_text("x")


def _make_link(k: Kitchen) -> None:
    (k.context / "f").rename(k.context / "g")
    os.link(k.context / "g", k.context / "f")


@pytest.mark.parametrize("change", [_change_time, _add_other, _make_link])
def test_change_that_does_not_count(kitchen: Kitchen, change: Callable[[Kitchen], None]) -> None:
    kitchen.write({"f": "text"})
    kitchen.build(COPY)
    change(kitchen)
    kitchen.build(COPY)
    assert kitchen.executed == []


def _change_content(k: Kitchen) -> None:
    (k.context / "f").write_text("texT")


def _change_mode(k: Kitchen) -> None:
    (k.context / "f").chmod(0o600)


@pytest.mark.parametrize("change", [_change_content, _change_mode])
def test_change_that_counts(kitchen: Kitchen, change: Callable[[Kitchen], None]) -> None:
    kitchen.write({"f": "text"})
    kitchen.build(COPY)
    change(kitchen)
    kitchen.build(COPY)
    assert kitchen.executed == ["COPY f /f"]


def test_an_added_empty_directory_counts(kitchen: Kitchen) -> None:
    kitchen.write({"d/f": "text"})
    kitchen.build("FROM scratch\nCOPY d /d\n")
    kitchen.write({"d/empty/": ""})
    kitchen.build("FROM scratch\nCOPY d /d\n")
    assert kitchen.executed == ["COPY d /d"]


@pytest.mark.parametrize(
    "line",
    ["COPY f /g", "COPY --chown=1 f /f", "COPY --chmod=600 f /f", "COPY --link f /f", "COPY ./same /f"],
)
def test_other_words_of_the_instruction_count(kitchen: Kitchen, line: str) -> None:
    kitchen.write({"f": "text", "same": "text"})
    kitchen.build(COPY)
    kitchen.build(f"FROM scratch\n{line}\n")
    assert len(kitchen.executed) == 1


@pytest.mark.parametrize("lines", ["ENV a=b", "ARG a=1", "LABEL a=b", "USER 5", "CMD x", "EXPOSE 80"])
def test_metadata_before_a_copy_does_not_count(kitchen: Kitchen, lines: str) -> None:
    kitchen.write({"f": "text"})
    kitchen.build(COPY)
    kitchen.build(f"FROM scratch\n{lines}\nCOPY f /f\n")
    assert kitchen.executed == []


def test_other_files_of_a_rebuilt_stage_do_not_count(kitchen: Kitchen) -> None:
    kitchen.write({"f": "text", "g": "one"})
    text = "FROM scratch AS s\nCOPY f g /\nFROM scratch\nCOPY --from=s /f /f\n"
    kitchen.build(text)
    kitchen.write({"g": "two"})
    kitchen.build(text)
    assert kitchen.executed == ["COPY f g /"]


def test_contexts_with_equal_instructions_are_not_mixed_up(kitchen: Kitchen) -> None:
    kitchen.write({"zz": "text"})
    full = kitchen.build("FROM scratch\nCOPY / /x\n")
    empty = kitchen.build("FROM scratch\nCOPY --from=scratch / /x\n")
    assert (kitchen.names(full), kitchen.names(empty)) == (["x", "x/zz"], ["x"])


def test_no_cache_executes_copies_and_keeps_working_directories(kitchen: Kitchen) -> None:
    kitchen.write({"f": "text"})
    text = "FROM scratch\nWORKDIR /w\nCOPY f .\nCOPY <<E /e\nx\nE\n"
    kitchen.build(text)
    kitchen.build(text, no_cache=True)
    assert (kitchen.cached, len(kitchen.executed)) == (["WORKDIR /w"], 2)


def test_damaged_memory_is_only_a_miss(kitchen: Kitchen) -> None:
    kitchen.write({"f": "text"})
    first = kitchen.build(COPY)
    with Store(kitchen.root) as store:
        store.blobs.remove(first.image.layers[0].descriptor.digest)
    assert kitchen.build(COPY).image.config.diff_ids == first.image.config.diff_ids
    assert kitchen.executed == ["COPY f /f"]


# --- RUN: the key alone, without executing -----------------------------------------------------


def _run_key(folder: Path, text: str, **request: Any) -> str:
    """The key of the last RUN of a Dockerfile."""
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(text)
    wanted = BuildRequest(context=str(folder), **request)
    with Store(folder / "store") as store, Contexts(wanted, store) as contexts:
        settings = Settings(root=folder / "store")
        images = contexts.images = Bases(store, settings, wanted, nobody)
        dockerfile = read_dockerfile(contexts, store)
        lints = BuildLints(linter_of(dockerfile, wanted, lambda _: None))
        step: Step | None = Planner(dockerfile, wanted, images, contexts, lints).plan().tip
    assert step is not None
    assert isinstance(step.op, RunOp)
    return key_of(parts_of(step.op, None, ()))


RUN = "FROM scratch\nRUN x\n"


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("FROM scratch\nLABEL a=b\nCMD y\nEXPOSE 80\nRUN x\n", {}),
        (RUN, {"build_args": {"nobody": "declares"}}),
        (RUN, {"build_args": {"http_proxy": "http://p"}}),
        ("FROM scratch\nARG unset\nRUN x\n", {}),
    ],
)
def test_what_does_not_count_for_run(tmp_path: Path, text: str, request_: dict[str, Any]) -> None:
    assert _run_key(tmp_path, text, **request_) == _run_key(tmp_path, RUN)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("FROM scratch\nARG a\nRUN x\n", {"build_args": {"a": "1"}}),
        ("FROM scratch\nENV unused=1\nRUN x\n", {}),
        ("FROM scratch\nUSER 5\nRUN x\n", {}),
        ("FROM scratch\nWORKDIR /w\nRUN x\n", {}),
        ('FROM scratch\nSHELL ["/sh"]\nRUN x\n', {}),
        ("FROM scratch\nRUN --network=none x\n", {}),
        (RUN, {"extra_hosts": (("h", "1.2.3.4"),)}),
        ("FROM scratch\nRUN --mount=type=secret,id=s x\n", {}),
    ],
)
def test_what_counts_for_run(tmp_path: Path, text: str, request_: dict[str, Any]) -> None:
    assert _run_key(tmp_path, text, **request_) != _run_key(tmp_path, RUN)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (
            {"build_args": {"http_proxy": "http://p"}},
            {"build_args": {"http_proxy": "http://q", "NO_PROXY": "x"}},
        ),
        ({"extra_hosts": (("h", "1.2.3.4"),)}, {"extra_hosts": (("h", "5.6.7.8"),)}),
        ({"secrets": (parse_secret("id=s,src=/a"),)}, {"secrets": (parse_secret("id=s,env=B"),)}),
    ],
)
def test_values_that_no_key_of_run_holds(tmp_path: Path, one: dict[str, Any], two: dict[str, Any]) -> None:
    text = "FROM scratch\nRUN --mount=type=secret,id=s x\n"
    assert _run_key(tmp_path, text, **one) == _run_key(tmp_path, text, **two)


@pytest.mark.parametrize("mount", ["id=one", "id=two,sharing=locked", "id=three,sharing=private"])
def test_name_and_sharing_of_a_cache_mount_do_not_count(tmp_path: Path, mount: str) -> None:
    plain = "FROM scratch\nRUN --mount=type=cache,target=/c x\n"
    assert _run_key(tmp_path, plain.replace("cache,", f"cache,{mount},")) == _run_key(tmp_path, plain)


@pytest.mark.parametrize("step", ["COPY --link files /srv/", "ADD --link a.tar /x/"])
def test_linked_copy_is_found_whatever_is_below(kitchen: Kitchen, step: str) -> None:
    kitchen.write({"files/a": "a", "a.tar": tar_of({"x/": b"", "x/y": b"text"})})
    first = kitchen.build(f"FROM scratch\nCOPY files /one\n{step}\n")
    other = kitchen.build(f"FROM scratch\nCOPY files/a /else\n{step}\n")
    assert [name.partition(" ")[0] for name in kitchen.executed] == ["COPY"]
    assert len(kitchen.cached) == 1
    assert other.image.layers[-1].diff_id == first.image.layers[-1].diff_id
    kitchen.build(f"FROM scratch\nCOPY files/a /else\n{step.replace(' --link', '')}\n")
    assert len(kitchen.executed) == 1
