"""COPY as a whole: from a context and from a stage that holds the same comes the same, whatever the flags."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagesmith.context.local import LocalTree
from imagesmith.context.sources import select
from imagesmith.errors import ContextError
from tests.kitchen import OLD_S, Kitchen

names = st.sampled_from(["a", "b", "c", "ab", "é", " x", "-", "a.md", "[a]", "\udcff"])
modes = st.sampled_from([0o644, 0o600, 0o755, 0o4755, 0o1777, 0o000])
flag = st.sampled_from(
    ["--exclude=a", "--exclude=**/b", "--exclude=*", "--exclude=!a", "--exclude=!**/ab", "--parents",
     "--link", "--chown=3:4", "--chmod=640", "--chmod=u+x,go=u"]
)  # fmt: skip
sources = st.lists(
    st.sampled_from([".", "a", "b", "a/b", "*", "a/*", "**", "b*", "./a/./b", "a/../b", "*/./b", "**/a"]),
    min_size=1, max_size=2,
)  # fmt: skip


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[str, str, int]]:
    """Paths with what they are (`d`, `f` and bytes, `= FIRST`, `-> LINK`, `p`) and modes, parents first."""
    made: dict[str, tuple[str, int]] = {}
    for _ in range(draw(st.integers(1, 12))):
        folder = draw(st.sampled_from(["", *(p for p, (k, _) in made.items() if k == "d")]))
        path = f"{folder}/{draw(names)}".lstrip("/")
        if path in made:
            continue
        files = [p for p, (k, _) in made.items() if k[:1] == "f"]
        kinds = ["d", "d", "f", "f" + path, "p", f"-> {draw(names)}", *(f"= {p}" for p in files)]
        made[path] = draw(st.sampled_from(kinds)), draw(modes)
    return [(path, kind, mode) for path, (kind, mode) in made.items()]


def make(root: Path, tree: list[tuple[str, str, int]]) -> None:
    """Make a tree below a folder; every time is the same."""
    for path, kind, mode in tree:
        at = root / path
        if kind == "d":
            at.mkdir()
        elif kind == "p":
            os.mkfifo(at)
        elif kind[0] == "=":
            os.link(root / kind[2:], at)
        elif kind.startswith("->"):
            at.symlink_to(kind[3:])
        else:
            at.write_bytes(os.fsencode(kind[1:]))
        if not at.is_symlink():
            at.chmod(mode | (0o700 if kind == "d" else 0))
    for path, _, _ in tree:
        os.utime(root / path, (OLD_S, OLD_S), follow_symlinks=False)


def built(kitchen: Kitchen, text: str) -> list[tuple[object, ...]] | str:
    """The entries of the last layer, but for times of what was made on the way; or the words of the error."""
    try:
        made = kitchen.build(text)
    except ContextError as e:
        return e.message
    return [
        (m.name, m.type, m.mode, m.uid, m.gid, m.size, m.linkname, m.mtime if m.mtime == OLD_S else "now")
        for m in kitchen.layer(made).getmembers()
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trees(), st.lists(flag, max_size=3, unique_by=lambda f: f[:5] + f[-3:]), sources)
def test_context_and_stage_give_the_same(
    tree: list[tuple[str, str, int]], flags: list[str], what: list[str]
) -> None:
    if len([f for f in flags if f.startswith("--chmod")]) > 1:
        flags = [f for f in flags if not f.startswith("--chmod")]
    with tempfile.TemporaryDirectory() as folder:
        kitchen = Kitchen(Path(folder))
        make(kitchen.context, tree)
        words = f"{' '.join(flags)} {' '.join(what)} /q/"
        from_stage = built(kitchen, f"FROM scratch AS s\nCOPY . /\nFROM scratch\nCOPY --from=s {words}\n")
        assert built(kitchen, f"FROM scratch\nCOPY {words}\n") == from_stage


@settings(max_examples=60, deadline=None)
@given(trees(), st.lists(st.sampled_from(["a", "**/b", "!a", "*"]), max_size=2))
def test_names_are_linked_as_they_are_on_the_disk(
    tree: list[tuple[str, str, int]], excludes: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kitchen = Kitchen(Path(folder))
        make(kitchen.context, tree)
        flags = " ".join(f"--exclude={e}" for e in excludes)
        members = kitchen.layer(kitchen.build(f"FROM scratch\nCOPY {flags} . /q/\n")).getmembers()
        first = {m.name: m.linkname if m.islnk() else m.name for m in members}
        inodes = {
            m.name: os.lstat(kitchen.context / m.name[2:]).st_ino for m in members if m.isreg() or m.islnk()
        }
        by_inode: dict[int, str] = {}
        for name, inode in inodes.items():
            assert first[name] == by_inode.setdefault(inode, name)
        taken = select(LocalTree(kitchen.context), ".", excludes=excludes, parents=False)[0]
        assert {t.path for t in taken.entries(LocalTree(kitchen.context))} <= {n[2:] for n in first}
