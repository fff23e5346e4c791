"""Which time each entry of COPY, ADD and WORKDIR has, with epochs before, between and after the files' times.

What is copied has its own time; what is made on the way, and the root of a context, has that of the making;
a folder that is copied into has the time of the source's folder, whatever flags filter what comes from it.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.kitchen import Kitchen, tar_of

DIR_S, FILE_S, EARLY_S = 1_100_000_000, 1_200_000_000, 900_000_000
NOW = -1


@pytest.fixture
def dated(kitchen: Kitchen) -> Kitchen:
    """A context whose folders, files and root have times of their own."""
    kitchen.write({"d/e/g": "g", "d/f": "f", "d2/h": "h", "d/l": "-> f", "top": "t"})
    kitchen.write({"t.tar": tar_of({"a/b": b"b", "a/": b""}, mtime=EARLY_S)})
    for path in kitchen.context.rglob("*"):
        when = DIR_S if path.is_dir() else FILE_S
        os.utime(path, (when, when), follow_symlinks=False)
    os.utime(kitchen.context, (EARLY_S, EARLY_S))
    return kitchen


MATRIX = {
    "COPY d /n": {"n": DIR_S, "n/e": DIR_S, "n/e/g": FILE_S, "n/f": FILE_S, "n/l": FILE_S},
    "COPY d /m/n/": {"m": NOW, "m/n": DIR_S, "m/n/e": DIR_S, "m/n/e/g": FILE_S},
    "COPY top /m/n/": {"m": NOW, "m/n": NOW, "m/n/top": FILE_S},
    "COPY top /m/n": {"m": NOW, "m/n": FILE_S},
    "COPY . /x/": {"x": NOW, "x/d": DIR_S, "x/d/e": DIR_S, "x/top": FILE_S},
    "COPY . /y": {"y": NOW, "y/d": DIR_S},
    "COPY d/. /u/": {"u": DIR_S, "u/e": DIR_S},
    "COPY d* /w/": {"w": DIR_S, "w/e": DIR_S, "w/h": FILE_S},
    "COPY --exclude=f d /n3": {"n3": DIR_S, "n3/e": DIR_S, "n3/e/g": FILE_S},
    "COPY --exclude=nothing d /n4/": {"n4": DIR_S, "n4/f": FILE_S},
    "COPY --exclude=f . /n5/": {"n5": NOW, "n5/d": DIR_S},
    "COPY --exclude=e --exclude=!e/g d /n6": {"n6": DIR_S, "n6/e": NOW, "n6/e/g": FILE_S},
    "COPY --parents d /n7/": {"n7": NOW, "n7/d": DIR_S, "n7/d/e": DIR_S, "n7/d/e/g": FILE_S},
    "COPY --parents ./d/e/ /n8/": {"n8": NOW, "n8/d": NOW, "n8/d/e": DIR_S},
    "COPY --parents d/./e /n9/": {"n9": DIR_S, "n9/e": DIR_S},
    "COPY --parents d/*/g /n10/": {"n10": NOW, "n10/d": NOW, "n10/d/e": NOW, "n10/d/e/g": FILE_S},
    "COPY --link d /m/n2/": {"m": NOW, "m/n2": DIR_S, "m/n2/f": FILE_S},
    "COPY --chmod=700 d /n11": {"n11": DIR_S, "n11/f": FILE_S},
    "COPY d /o/\nCOPY --exclude=nothing d2 /o/": {"o": DIR_S, "o/h": FILE_S},
    "COPY d /o/\nCOPY top /o/new": {"o": NOW, "o/new": FILE_S},
    "ADD t.tar /a/z/": {"a": NOW, "a/z": NOW, "a/z/a": EARLY_S, "a/z/a/b": EARLY_S},
    "ADD --unpack=false t.tar /a/": {"a": NOW, "a/t.tar": FILE_S},
    "COPY <<x /a/b\ntext\nx": {"a": NOW, "a/b": NOW},
}  # fmt: skip


@pytest.mark.parametrize("epoch", [EARLY_S - 5, DIR_S - 5, DIR_S + 5, FILE_S + 5])
@pytest.mark.parametrize("lines", MATRIX)
def test_times_under_an_epoch(dated: Kitchen, lines: str, epoch: int) -> None:
    built = dated.build(
        f"FROM scratch\n{lines}\n",
        build_args={"SOURCE_DATE_EPOCH": str(epoch)},
        outputs=[f"type=oci,dest={dated.root.parent / 'out.tar'},rewrite-timestamp=true"],
    )
    times = {m.name: m.mtime for m in dated.layer(built).getmembers()}
    expected = {path: epoch if s == NOW else min(s, epoch) for path, s in MATRIX[lines].items()}
    assert {path: times[path] for path in expected} == expected


@pytest.mark.parametrize("lines", MATRIX)
def test_times_without_an_epoch(dated: Kitchen, lines: str) -> None:
    began = int(time.time())
    times = {m.name: m.mtime for m in dated.layer(dated.build(f"FROM scratch\n{lines}\n")).getmembers()}
    for path, s in MATRIX[lines].items():
        assert times[path] >= began if s == NOW else times[path] == s, path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--from=s / /x/", {"x": NOW, "x/d": DIR_S, "x/d/f": FILE_S}),
        ("--from=s /d /x/", {"x": DIR_S, "x/f": FILE_S}),
        ("--from=s --exclude=f /d /x/", {"x": DIR_S, "x/e": DIR_S}),
        ("--from=s --parents /d/./e /x/", {"x": DIR_S, "x/e": DIR_S}),
        ("--from=s --parents /d/e /x/", {"x": NOW, "x/d": NOW, "x/d/e": DIR_S}),
    ],
)
def test_times_of_what_another_stage_has(dated: Kitchen, line: str, expected: dict[str, int]) -> None:
    epoch = FILE_S + 5
    built = dated.build(
        f"FROM scratch AS s\nCOPY . /\nFROM scratch\nCOPY {line}\n",
        build_args={"SOURCE_DATE_EPOCH": str(epoch)},
        outputs=[f"type=oci,dest={dated.root.parent / 'out.tar'},rewrite-timestamp=true"],
    )
    times = {m.name: m.mtime for m in dated.layer(built).getmembers()}
    assert {p: times[p] for p in expected} == {p: epoch if s == NOW else s for p, s in expected.items()}


def test_only_the_last_folder_of_a_working_directory_has_the_epoch(kitchen: Kitchen) -> None:
    built = kitchen.build("FROM scratch\nWORKDIR /a/b\n", build_args={"SOURCE_DATE_EPOCH": "1000"})
    times = {m.name: m.mtime for m in kitchen.layer(built).getmembers()}
    assert (times["a/b"], times["a"] > FILE_S) == (1000, True)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("-1", 0), ("-0.5", 0), ("-100000000", 0), ("0.75", 0), ("1500000000.999999999", 1_500_000_000),
        ("4102444800", 4_102_444_800), ("9223372036.854775807", 9_223_372_036), ("9223372036.854775808", 0),
        ("34359738368", 0), ("9" * 30, 0), ("-" + "9" * 30, 0),
    ],
)  # fmt: skip
def test_time_of_an_archive_that_nothing_holds_is_0(kitchen: Kitchen, written: str, expected: int) -> None:
    kitchen.write({"t.tar": tar_of({"d/": b"", "d/f": b"", "l": "-> f"}, pax_headers={"mtime": written})})
    members = kitchen.layer(kitchen.build("FROM scratch\nADD t.tar /t/\n")).getmembers()
    assert {m.name: m.mtime for m in members if m.name != "t"} == dict.fromkeys(
        ["t/d", "t/d/f", "t/l"], expected
    )


@pytest.mark.parametrize("seconds", [-(10**8), -0.5, 10**8 + 0.5, 4_102_444_800, 13_000_000_000])
def test_files_of_a_context_keep_times_that_the_disk_holds(kitchen: Kitchen, seconds: float) -> None:
    kitchen.write({"f": "f"})
    os.utime(kitchen.context / "f", (seconds, seconds))
    held = (kitchen.context / "f").stat().st_mtime_ns // 10**9
    assert kitchen.layer(kitchen.build("FROM scratch\nCOPY f /f\n")).getmember("f").mtime == held
