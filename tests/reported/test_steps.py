"""What a RUN sees and may do: its interpreter, caches, inode numbers, devices and ids."""

from __future__ import annotations

import pytest

from tests.reported.conftest import Builder, only

pytestmark = pytest.mark.slow


def test_chomped_heredoc_is_run_by_its_interpreter(builder: Builder) -> None:
    folder = builder.take("heredoc-chomp-shebang")
    assert builder.build(folder).lines == ["ok by /dev/pipes/EOF"]


def _rows(lines: list[str]) -> list[str]:
    """What `ls -l` said of each file; the folder itself and its parent are left out."""
    rows = [line.split() for line in lines if line[:1] in "dlpcb-" and len(line.split()) > 8]
    return [" ".join(row) for row in rows if row[-1] not in (".", "..")]


def test_cache_seeded_from_a_stage_holds_what_a_bind_mount_shows(builder: Builder) -> None:
    folder = builder.take("cache-mount-seed/q02")
    lines = builder.build(folder).lines
    half = [n for n, line in enumerate(lines) if line == "/zz:"]
    assert len(half) == 2
    bind, cache = _rows(lines[: half[1]]), _rows(lines[half[1] :])
    assert cache == bind
    assert next(row for row in cache if row.startswith("l")).split()[2:4] == ["7", "8"]


def test_cache_seeded_from_a_stage_holds_every_kind_of_file(builder: Builder) -> None:
    folder = builder.take("cache-mount-seed/q03")
    rows = {row.split()[8]: row.split() for row in _rows(builder.build(folder).lines)}
    assert {name: row[0][0] for name, row in rows.items()} == {
        "d": "d", "secret": "d", "fifo": "p", "f": "-", "hard": "-", "dang": "l",
    }  # fmt: skip
    assert rows["secret"][0] == "d---------"
    assert rows["hard"][0] == rows["f"][0] == "-rwsr-xr-x"
    assert rows["hard"][1] == rows["f"][1] == "2"


def test_the_root_is_one_file_system_with_hard_links(builder: Builder) -> None:
    folder = builder.take("overlay-xino/z02")
    lines = iter(builder.build(folder).lines)
    devices = {next(lines).split()[1] for _ in range(4)}
    assert len(devices) == 1
    assert int(next(lines)) == int(next(lines)) > 3, "tar --one-file-system takes all of /etc"
    assert int(next(lines)) == int(next(lines)) > 1000, "du -x counts all"
    everywhere, etc, copied = (int(next(lines)) for _ in range(3))
    assert everywhere > etc == copied > 1
    if builder.who in ("lent", "one"):
        return  # what is copied up has a new number there, and only root's overlayfs hides that
    assert next(lines) == "1", "two names, one inode"
    assert [next(lines).split()[:2] for _ in range(2)] == [["/etc/passwd", "2"], ["/pw", "2"]]
    assert [next(lines) for _ in range(2)] == ["-", "h"], "tar stores a link"


def test_hard_links_of_lower_layers_stay_links(builder: Builder) -> None:
    folder = builder.take("overlay-xino/lower")
    assert builder.build(folder).lines == ["1", "/h/a 2", "/h/b 2", "/h2/a 2", "/h2/b 2"]


@only("root", "chroot")
def test_a_new_name_and_its_file_have_one_inode_at_once(builder: Builder) -> None:
    folder = builder.take("overlay-xino/z03")
    rows = [line.split() for line in builder.build(folder).lines]
    seen = {tuple(row[1:]) for row in rows[:2]}, {tuple(row[1:]) for row in rows[2:6]}
    assert [len(s) for s in seen] == [1, 1]
    assert {row[1] for row in rows[:6]} == {"2"}
    assert [row[1] for row in rows[6:]] == ["1", "2", "2"]
    assert rows[7][2:] == rows[8][2:]


def test_folders_list_themselves_and_their_parents(builder: Builder) -> None:
    folder = builder.take("erofs-root-ino0")
    lines = builder.build(folder).lines
    assert lines[:3] == [".", "..", "group"]
    assert lines[3:6] == [".", "..", "bin"]
    assert lines[6] in (". ..", ".*"), "`echo .*` in an empty folder"
    listed = [line.split() for line in lines[7:] if len(line.split()) > 8]
    assert [row[-1] for row in listed][:2] == [".", ".."]
    assert all(int(row[0]) > 0 for row in listed)
    links = [line.split() for line in lines if line.replace(" ", "").isdigit()]
    assert len(links) == 3
    assert all(int(inode) > 0 for _, inode in links)


@pytest.mark.parametrize("isolation", ["native", "oci"])
@only("root")
def test_harmless_devices_can_be_made_and_used(builder: Builder, isolation: str) -> None:
    folder = builder.take("mknod-nodev")
    done, files = builder.facts("--isolation", isolation, folder)
    assert done.lines == ["fine"]
    assert files["chr/dev/null"] == "c 0666 0:0 1,3"


def test_ids_above_those_that_are_lent(builder: Builder) -> None:
    folder = builder.take("subids-too-few")
    done, files = builder.facts("-f", folder / "Dockerfile", folder / "ctx")
    assert [line for line in done.lines if ":" in line] == ["100000:200000"] * 4 + ["100000:100000"]
    assert "rc=0" in done.lines
    assert done.lines[-2:] == ["x", "hi"]
    owners = {name: files[name].split()[2] for name in ("d/x", "d/y", "d/z", "tmp/a")}
    assert owners == dict.fromkeys(("d/x", "d/y", "d/z"), "100000:200000") | {"tmp/a": "100000:100000"}
