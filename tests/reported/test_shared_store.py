"""What was built before, and the folder that the store lies in, change nothing."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

from tests.reported.conftest import Builder

pytestmark = pytest.mark.slow

EPOCH = "1700000000"


def test_a_project_gets_its_own_files_whatever_another_one_built(builder: Builder) -> None:
    folder = builder.take("stale-empty-layer")
    builder.build(folder / "projA")
    _, files = builder.facts(folder / "projB")
    builder.build("-o", f"type=local,dest={builder.folder}/out", folder / "projB")
    assert (builder.folder / "out/entry.sh").read_text() == "#!/bin/sh\nexec echo project B\n"
    _, own = builder.facts(folder / "projB", store=builder.folder / "empty")
    assert files == own


@pytest.mark.parametrize("before", [[], ["one.Dockerfile"], ["stages.Dockerfile"]], ids=["", "one", "stages"])
def test_a_step_sees_what_its_own_stage_made(builder: Builder, before: list[str]) -> None:
    folder = builder.take("stale-empty-layer")
    for name in before:
        builder.build("-f", folder / name, folder)
    done, files = builder.facts("-f", folder / "two.Dockerfile", folder)
    assert done.lines == ["two"]
    assert files["copy"] == files["data"]


def test_stages_of_one_file_keep_apart(builder: Builder) -> None:
    folder = builder.take("stale-empty-layer")
    assert builder.build("-f", folder / "stages.Dockerfile", folder).lines == ["two"]


def test_times_that_are_rewritten_do_not_make_two_layers_one(builder: Builder) -> None:
    folder = builder.take("stale-empty-layer")
    for value in ("one", "two"):
        done, files = builder.facts(
            "-f", folder / "sde.Dockerfile", "--build-arg", f"V={value}", folder,
            more=",rewrite-timestamp=true", SOURCE_DATE_EPOCH=EPOCH,
        )  # fmt: skip
        assert done.lines == [value]
        assert files["copy"] == files["data"]


def _setgid(folder: Path) -> None:
    os.chown(folder, -1, 50)
    folder.chmod(0o2775)


def _acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


_ME = 0xFFFFFFFF
#: What a folder may hand on to all that is made in it: (kind of entry, permissions, id).
_DEFAULTS = {
    "strict": _acl((1, 7, _ME), (4, 0, _ME), (0x20, 0, _ME)),
    "named": _acl((1, 7, _ME), (2, 7, 1), (4, 5, _ME), (0x10, 7, _ME), (0x20, 5, _ME)),
    "open": _acl((1, 7, _ME), (2, 7, 1), (4, 7, _ME), (0x10, 7, _ME), (0x20, 7, _ME)),
}


@pytest.mark.parametrize("kind", ["setgid", *_DEFAULTS])
@pytest.mark.parametrize("name", ["u01", "u02"])
def test_the_folder_of_the_store_decides_nothing(builder: Builder, kind: str, name: str) -> None:
    folder = builder.take(f"store-setgid-or-default-acl/{name}")
    words = ["-f", folder / "Dockerfile", folder / "ctx"]
    done, files = builder.facts(*words)
    place = builder.folder / kind
    place.mkdir()
    if builder.user:
        shutil.chown(place, builder.user, builder.user)
    if kind == "setgid":
        if os.geteuid() != 0:
            pytest.skip("needs root")
        _setgid(place)
    else:
        os.setxattr(place, "system.posix_acl_default", _DEFAULTS[kind])
    there, same = builder.facts(*words, store=place / "store")
    assert same == files
    assert there.lines == done.lines
