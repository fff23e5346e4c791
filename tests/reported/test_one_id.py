"""What a build by a user with a single id does as root's: owners of links and fifos, rights, and races."""

from __future__ import annotations

import tarfile

import pytest

from tests.reported.conftest import Builder, only

pytestmark = pytest.mark.slow

both = only("root", "one")


@both
def test_access_is_asked_for_the_user(builder: Builder) -> None:
    assert builder.build(builder.take("one-id/access")).lines[0] == "not writable"


@both
def test_links_and_fifos_of_earlier_steps_keep_their_owners(builder: Builder) -> None:
    done, files = builder.facts(builder.take("one-id/link-owner"))
    told = [line.split() for line in done.lines]
    assert [row[2:4] for row in told if row[0][0] in "lp" and row[1].isdigit()] == [["5", "6"]] * 4
    assert [row[1] for row in told if row[0][0] in "lp" and not row[1].isdigit()] == ["5/6"] * 2
    assert {files[name].split()[2] for name in ("a/l", "a/p", "b/l", "b/p")} == {"5:6"}


@both
def test_link_is_changed_by_its_owner_in_a_later_step(builder: Builder) -> None:
    done, files = builder.facts(builder.take("one-id/link-owner2"))
    assert done.lines == ["/o 1000:100", "/o/m 1000:100"]
    assert files["o/m"].split()[2] == "1000:100"


@both
def test_link_and_fifo_are_removed_by_their_owner_where_all_may_write(builder: Builder) -> None:
    lines = builder.build(builder.take("one-id/own-link")).lines
    assert lines == ["file-ok", "fifo-ok", "touch-ok", "link-ok"]


@only("one")
def test_folder_made_in_one_just_made_belongs_to_its_maker(builder: Builder) -> None:
    lines = builder.build(builder.take("one-id/mkdir-race")).lines
    assert [line.split() for line in lines] == [["100", "1000"]]


@both
def test_links_in_a_cache_keep_their_owners(builder: Builder) -> None:
    folder = builder.take("one-id/cache-link")
    assert builder.build(folder).lines == ["/d/m 0:0", "/d/n 5:6", "/d/p 5:6"]
    out = builder.folder / "caches.tar"
    builder.run("cache", "export", "-o", out)
    with tarfile.open(out) as tar:
        owners = {m.name.rpartition("/")[2]: (m.uid, m.gid) for m in tar if not m.isdir()}
    assert [owners[name] for name in "mnp"] == [(0, 0), (5, 6), (5, 6)]
    other = builder.folder / "other"
    builder.run("cache", "import", out, store=other)
    text = "FROM machine\nRUN --mount=type=cache,target=/c stat -c '%n %u:%g' /c/*\n"
    builder.put(folder / "Dockerfile", text)
    assert builder.build(folder, store=other).lines == ["/c/m 0:0", "/c/n 5:6", "/c/p 5:6"]
