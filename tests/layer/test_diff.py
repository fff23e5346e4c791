"""From an upper directory to a layer, by the rules of BuildKit's differ."""

from __future__ import annotations

import io

import pytest

from imagesmith.fs.entry import Entry, replace
from imagesmith.fs.view import LayerIndex, View
from imagesmith.layer.diff import layer_entries


class Bytes:
    """Content in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.data)


SECOND = 10**9


def f(path: str, data: bytes = b"x", mtime_ns: int = SECOND, **more: int) -> Entry:
    return Entry(path, "f", size=len(data), content=Bytes(data), mtime_ns=mtime_ns, **more)


def d(path: str, mode: int = 0o755, mtime_ns: int = SECOND) -> Entry:
    return Entry(path, "d", mode, mtime_ns=mtime_ns)


def link(path: str, target: str, mtime_ns: int = SECOND) -> Entry:
    return Entry(path, "l", 0o777, link=target, mtime_ns=mtime_ns)


def made(lower: list[Entry], upper: list[Entry], *opaques: str) -> list[str]:
    """The layer as `KIND PATH` rows, a hard link with its target."""
    entries = layer_entries(upper, set(opaques), View([LayerIndex(lower)]))
    return [f"{e.kind} {e.path}" + (f" {e.link}" if e.kind == "h" else "") for e in entries]


@pytest.mark.parametrize(
    ("old", "new", "is_change"),
    [
        (f("a"), f("a"), False),
        (f("a"), f("a", b"y"), True),
        (f("a"), f("a", b"xx"), True),
        (f("a"), f("a", mtime_ns=2 * SECOND), True),
        (f("a", mtime_ns=SECOND + 5), f("a", b"y", mtime_ns=SECOND + 5), False),
        (f("a", mtime_ns=SECOND + 5), f("a", mtime_ns=SECOND + 6), True),
        (f("a", mtime_ns=SECOND), f("a", mtime_ns=SECOND + 6), True),
        (f("a"), f("a", mode=0o600), True),
        (f("a"), f("a", uid=1), True),
        (f("a"), f("a", gid=1), True),
        (f("a"), replace(f("a"), capability=bytes(20)), True),
        (d("a"), d("a", mtime_ns=5), False),
        (d("a"), d("a", 0o700), True),
        (link("a", "x"), link("a", "x"), False),
        (link("a", "x"), link("a", "y"), True),
        (link("a", "x", SECOND + 1), link("a", "y", SECOND + 1), False),
        (Entry("a", "c", rdev=(1, 3)), Entry("a", "c", rdev=(1, 5)), True),
        (f("a"), link("a", "x"), True),
        (Entry("a", "p"), Entry("a", "p"), False),
    ],
)
def test_same_or_not(old: Entry, new: Entry, is_change: bool) -> None:
    assert bool(made([old], [new])) == is_change


def test_digests_that_are_known_are_compared_instead_of_bytes() -> None:
    old, new = f("a"), f("a")
    old.digest, new.digest = "1", "2"
    assert made([old], [new]) == ["f a"]
    new.digest = "1"
    new.content = Bytes(b"never read")
    assert made([old], [new]) == []


def test_parents_come_before_what_is_in_them_and_are_the_uppers_if_it_has_them() -> None:
    lower = [d("a"), d("a/b"), d("a/b/c")]
    assert made(lower, [f("a/b/c/x")]) == ["d a", "d a/b", "d a/b/c", "f a/b/c/x"]
    layer = layer_entries([d("a", mtime_ns=7), f("a/x")], set(), View([LayerIndex(lower)]))
    assert [(e.path, e.mtime_ns) for e in layer] == [("a", 7), ("a/x", SECOND)]


def test_order_is_that_of_a_walk_by_bytes_with_whiteouts_at_the_deleted_name() -> None:
    lower = [d("a"), f("a/m"), f("a-"), f("a.x")]
    upper = [
        f("a.z"),
        Entry("a.x", "w"),
        f("a-"),
        Entry("a/m", "w"),
        f("a/z"),
        f("ü"),
        f("z"),
        f("a-", b"new"),
    ]
    assert made(lower, upper) == ["d a", "w a/m", "f a/z", "f a-", "w a.x", "f a.z", "f z", "f ü"]


def test_whiteout_of_nothing_is_left_out() -> None:
    assert made([f("a")], [Entry("b", "w"), Entry("a", "w")]) == ["w a"]


def test_opaque_directory_is_told_by_each_name_that_vanished() -> None:
    lower = [d("d"), f("d/gone"), f("d/kept"), d("d/sub"), f("d/sub/x"), f("d/sub/y")]
    upper = [d("d"), f("d/kept", b"new"), d("d/sub"), f("d/sub/y", b"new"), f("d/z")]
    assert made(lower, upper, "d") == [
        "d d", "w d/gone", "f d/kept", "d d/sub", "w d/sub/x", "f d/sub/y", "f d/z",
    ]  # fmt: skip


def test_opaque_directory_of_which_nothing_vanished_has_its_header() -> None:
    assert made([d("d")], [d("d")], "d") == ["d d"]
    assert made([], [d("d"), f("d/x")], "d") == ["d d", "f d/x"]
    assert made([f("d")], [d("d")], "d") == ["d d"]


def test_file_in_an_opaque_directory_that_is_the_same_as_below_is_left_out() -> None:
    """The full comparison of the two trees finds it equal, and nothing deletes it."""
    assert made([d("d"), f("d/a"), f("d/b")], [d("d"), f("d/a")], "d") == ["d d", "w d/b"]


def test_directory_that_becomes_a_file_needs_no_whiteouts() -> None:
    assert made([d("d"), f("d/a")], [f("d")]) == ["f d"]


def test_first_name_that_is_written_is_the_file_and_later_ones_are_links_to_it() -> None:
    first = f("z", b"new")
    names = [Entry(name, "h", link="z", mtime_ns=SECOND) for name in ("m", "a")]
    assert made([], [first, *names]) == ["f a", "h m a", "h z a"]


def test_new_name_of_a_lower_file_is_a_file_with_all_its_bytes() -> None:
    old = f("a")
    now = [old, Entry("b", "h", old.mode, mtime_ns=SECOND, link="a")]
    entries = layer_entries(now, set(), View([LayerIndex([f("a")])]))
    assert [(e.kind, e.path, e.size, e.link) for e in entries] == [("f", "b", 1, "")]
    assert entries[0].content is old.content
