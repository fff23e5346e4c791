"""COPY, ADD and the layers below: contents, modes, owners, links and times."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from fixtures.reported import layers
from tests.reported.conftest import OLD_S, Builder, only

pytestmark = pytest.mark.slow

EPOCH_S = 1_600_000_000


def _shown(lines: list[str]) -> list[str]:
    """What `stat` said of each file: name, mode; for all but folders size and device; a file's first name."""
    first: dict[str, str] = {}
    shown = []
    for name, mode, size, device, inode in sorted(line.split() for line in lines if line.startswith("./")):
        row = [name, mode] if mode[0] == "4" else [name, mode, size, device]
        if mode[0] == "8":
            row.append(first.setdefault(inode, name))
        shown.append(" ".join(row))
    return shown


def _listed(folder: Path) -> list[str]:
    """What is in a folder, in the same form."""
    lines = []
    for path in folder.rglob("*"):
        s = path.lstat()
        device = f"{os.major(s.st_rdev):x},{os.minor(s.st_rdev):x}"
        lines.append(f"./{path.relative_to(folder)} {s.st_mode:x} {s.st_size} {device} {s.st_ino}")
    return _shown(lines)


@pytest.mark.parametrize("name", layers.IMAGES)
def test_copy_takes_what_run_sees(builder: Builder, name: str) -> None:
    folder = builder.take("view-implied-directory")
    builder.layout("odd", [layers.tar_of(layer) for layer in layers.IMAGES[name]])
    out = builder.folder / "out"
    done = builder.build("-o", f"type=local,dest={out}", folder)
    assert _shown(done.lines) == _listed(out) != []


def test_implied_folders_are_what_the_layers_say(builder: Builder) -> None:
    folder = builder.take("view-implied-directory")
    builder.layout(
        "odd", [layers.tar_of(layer) for layer in layers.IMAGES["implied folder below an opaque one"]]
    )
    _, files = builder.facts(folder)
    assert sorted(files) == ["d", "d/y", "new"]


def test_folder_that_a_later_layer_gives_to_root_is_root_s(builder: Builder) -> None:
    folder = builder.take("chroot-dir-owner")
    done, files = builder.facts("-f", folder / "Dockerfile", folder / "ctx")
    assert done.lines == ["/g 755 0:0"]
    assert files["g"] == "d 0755 0:0"


def test_links_of_a_base_have_every_right_when_they_are_copied(builder: Builder) -> None:
    folder = builder.take("base-symlink-mode")
    builder.layout("odd", [layers.tar_of(layer) for layer in layers.LINK_WITH_A_MODE])
    _, files = builder.facts(folder)
    assert files["out/sl"] == "l 0777 0:0 f"
    assert "out/f/viacopy" in files


def test_filters_keep_hard_links(builder: Builder) -> None:
    some, parents = builder.take("copy-filter-hardlinks/i08"), builder.take("copy-filter-hardlinks/i09")
    for folder in (some, parents):
        builder.put(folder / "ctx/d/a", "1\n")
        for name in "bc":
            os.link(folder / "ctx/d/a", folder / "ctx/d" / name)
    _, files = builder.facts("-f", some / "Dockerfile", some / "ctx")
    assert "q/a" not in files
    assert files["q/c"] == f"{files['q/b']} =q/b"
    _, files = builder.facts("-f", parents / "Dockerfile", parents / "ctx")
    links = {name: what.rpartition("=")[2] for name, what in files.items() if "=" in what}
    assert links == {"q/d/b": "q/d/a", "q/d/c": "q/d/a", "s/b": "s/a", "s/c": "s/a"}


def _times(builder: Builder, name: str) -> dict[str, float]:
    """The time of each entry that the steps made, under an epoch."""
    folder = builder.take(f"copy-times/{name}")
    context = folder / "ctx" if (folder / "ctx").exists() else folder
    for n, path in enumerate(sorted(p for p in context.rglob("*") if p.is_dir())):
        os.utime(path, (OLD_S + 100 + n, OLD_S + 100 + n))
    words = ["-f", folder / "Dockerfile", context]
    builder.facts(*words, more=",rewrite-timestamp=true", SOURCE_DATE_EPOCH=str(EPOCH_S))
    steps = len((folder / "Dockerfile").read_text().splitlines()) - 1
    return {name: m.mtime for n in range(-steps, 0) for name, m in builder.members(n).items()}


def test_root_of_the_context_has_the_epoch(builder: Builder) -> None:
    times = _times(builder, "d02d")
    assert {name: times[name] for name in ("x", "y", "z")} == dict.fromkeys("xyz", EPOCH_S)
    assert {times[name] for name in ("x/sub", "y/sub", "z/sub", "u")} == {OLD_S + 100}


def test_targets_that_filters_make_have_the_times_of_their_sources(builder: Builder) -> None:
    times = _times(builder, "c09b")
    d, e = OLD_S + 100, OLD_S + 101
    assert {n: times[n] for n in ("n1", "n3", "n4", "n6/d", "n7/d")} == dict.fromkeys(
        ("n1", "n3", "n4", "n6/d", "n7/d"), d
    )
    under = [name for name in times if name.endswith("/e") and name != "n10/d/e"]  # on the way only
    assert {times[name] for name in under} == {e}


def test_folders_of_mount_points_have_the_epoch(builder: Builder) -> None:
    times = _times(builder, "etc1")
    assert times == {"etc": EPOCH_S, "etc/passwd": EPOCH_S}


def _odd_times() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, mtime in (
            ("a", -(10**8)),
            ("b", -1),
            ("c", 0),
            ("d", -0.5),
            ("e", 1 << 35),
            ("f", 1 << 32),
        ):
            info = tarfile.TarInfo(name)
            info.mtime = mtime
            tar.addfile(info)
    return out.getvalue()


def test_times_that_no_file_system_holds_are_0(builder: Builder) -> None:
    folder = builder.take("add-tar-times")
    builder.put(folder / "ctx/neg.tar", _odd_times())
    for name, time_s in (("neg", -5), ("y2100", 4102444800)):
        os.utime(folder / "ctx" / name, (time_s, time_s))
    os.utime(folder / "ctx/frac", ns=(OLD_S * 10**9 + 999_999_999,) * 2)
    builder.facts("-f", folder / "Dockerfile", folder / "ctx")
    added = {name: m.mtime for name, m in builder.members(-1).items() if name != "t"}
    assert added == {"t/a": 0, "t/b": 0, "t/c": 0, "t/d": 0, "t/e": 0, "t/f": 1 << 32}
    copied = {name: m.mtime for name, m in builder.members(-3).items() if name != "x"}
    assert copied == {"x/neg": -5, "x/frac": OLD_S, "x/far": OLD_S, "x/y2100": 4102444800}


def test_an_image_holds_one_state_of_the_context(builder: Builder) -> None:
    folder = builder.take("live-context")
    out = builder.folder / "image.tar"
    words = builder.words("-o", f"type=oci,dest={out}", "-f", folder / "Dockerfile", folder / "ctx")
    with subprocess.Popen(
        builder.command(*words), stderr=subprocess.PIPE, text=True, env=builder.env()
    ) as build:
        assert build.stderr is not None
        said = []
        for line in build.stderr:
            said.append(line)
            if "RUN sleep" in line:
                for name in "fg":
                    (folder / "ctx" / name).write_text("other\n")
    sums: dict[str, set[str]] = {"f": set(), "g": set()}
    for line in said:
        words = line.split()
        if len(words) == 4 and len(words[2]) == 64:
            sums[words[3][-1 if words[3] != "/f1" else 1]].add(words[2])
    assert [len(sums[name]) for name in "fg"] == [1, 1], "".join(said)


@only("root")
@pytest.mark.parametrize("mode", [0o644, 0o700], ids=["own", "another's"])
def test_folder_that_cannot_be_searched_is_the_context_s_fault(builder: Builder, mode: int) -> None:
    """Where there is no namespace in which a user is root: in a container, or for a folder of another's."""
    folder, uid = builder.take("context-unsearchable-folder"), "1000999"
    builder.put(folder / "nox/f", "x\n")
    if mode == 0o644:
        os.chown(folder / "nox", int(uid), int(uid))
    (folder / "nox").chmod(mode)
    builder.store.mkdir()
    os.chown(builder.store, int(uid), int(uid))
    ordinary = (sys.executable, "-m", "tests.worker.sandbox.contained", uid)
    done = builder.run(*builder.words(folder), before=ordinary, status=5)
    error = next(line for line in done.said.splitlines() if line.startswith("error:"))
    assert ">>> COPY nox /all" in done.said
    assert "nox" in error
    assert "denied" in error.lower()
