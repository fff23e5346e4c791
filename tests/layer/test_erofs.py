"""A mounted layer shows what its entries say."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.fs.entry import Entry, sort_key
from imagesmith.fs.view import LayerIndex
from imagesmith.layer.erofs import TAR_AT, NotRepresentable, write_erofs
from imagesmith.layer.tarread import read_layer
from imagesmith.layer.tarwrite import write_layer
from tests.support import PROJECT

_LOOK = """
import os, sys
from pathlib import Path
from imagesmith.worker.sandbox import kernel as k
k.unshare(k.CLONE_NEWNS)
k.mount(None, "/", flags=k.MS_REC | k.MS_PRIVATE)
try:
    k.mount(sys.argv[1], sys.argv[2], "erofs", k.MS_RDONLY)
except OSError as e:
    print("lacking", e)
    sys.exit()
root = Path(sys.argv[2])
for path in [root, *sorted(root.rglob("*"))]:
    st = path.lstat()
    data = os.readlink(path) if path.is_symlink() else path.read_bytes().hex() if path.is_file() else ""
    marks = "".join(n + os.getxattr(path, n, follow_symlinks=False).hex()
                    for n in sorted(os.listxattr(path, follow_symlinks=False)))
    print(ascii([str(path.relative_to(root)), oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns,
                 st.st_rdev, st.st_nlink, data, marks]))
"""


class _Slice:
    """Bytes of a tar, with the offset that a stored layer's contents have."""

    def __init__(self, data: bytes, offset: int, size: int) -> None:
        self.data, self.offset = data[offset : offset + size], offset

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.data)


def index_of(entries: list[Entry]) -> tuple[bytes, LayerIndex]:
    """The tar of entries, and its index as a store has it."""
    out: list[bytes] = []
    write_layer(sorted(entries, key=lambda e: sort_key(e.path)), out.append)
    data = b"".join(out)
    found = []
    for e, offset in read_layer(io.BytesIO(data)):
        if e.kind == "f":
            e.content = _Slice(data, offset, e.size)
        found.append(e)
    return data, LayerIndex(found)


def look(tmp_path: Path, entries: list[Entry]) -> list[list[object]]:
    """What a mount of the entries shows, and each thing's path, mode and so on."""
    data, index = index_of(entries)
    with (tmp_path / "image").open("w+b") as f:
        f.write(bytes(TAR_AT) + data)
        write_erofs(index, f, len(data), bytes(range(16)))
    (tmp_path / "at").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _LOOK, str(tmp_path / "image"), str(tmp_path / "at")],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("lacking"):
        pytest.skip(f"this kernel mounts no file as EROFS: {done.stdout.strip()}")
    import ast

    return [ast.literal_eval(line) for line in done.stdout.splitlines()]


def text(path: str, data: bytes, **more: object) -> Entry:
    e = Entry(path, "f", size=len(data), content=_Slice(data, 0, len(data)))
    for name, value in more.items():
        setattr(e, name, value)
    return e


def test_everything_that_a_layer_holds_is_shown(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    rows = look(
        tmp_path,
        [
            Entry("d", "d", 0o2750, 5, 6, mtime_ns=3 * 10**9), text("d/empty", b""),
            text("d/a", b"a" * 1000, mode=0o4755, uid=100_000), Entry("d/b", "h", link="d/a"),
            Entry("d/l", "l", 0o777, 1, 2, link="t/" * 350),
            text("d/cap", b"x", capability=capability), Entry("d/null", "c", 0o666, rdev=(1, 3)),
            Entry("d/disk", "b", 0o660, rdev=(259, 70_000)), Entry("d/pipe", "p", 0o600),
            Entry("gone", "w"), Entry("o", "d", 0o755), Entry("o", "o"), text("i/j/k", b"k", mtime_ns=-10**9),
        ],
    )  # fmt: skip
    shown = {str(row[0]): row[1:] for row in rows}
    assert shown["d"] == [oct(stat.S_IFDIR | 0o2750), 5, 6, 3 * 10**9, 0, 2, "", ""]
    assert shown["d/a"] == [oct(stat.S_IFREG | 0o4755), 100_000, 0, 0, 0, 2, (b"a" * 1000).hex(), ""]
    assert shown["d/b"] == shown["d/a"]
    assert shown["d/empty"][6] == ""
    assert shown["d/l"] == [oct(stat.S_IFLNK | 0o777), 1, 2, 0, 0, 1, "t/" * 350, ""]
    assert shown["d/cap"][7] == "security.capability" + capability.hex()
    assert shown["d/null"][0:5:4] == [oct(stat.S_IFCHR | 0o666), os.makedev(1, 3)]
    assert shown["d/disk"][4] == os.makedev(259, 70_000)
    assert shown["d/pipe"][0] == oct(stat.S_IFIFO | 0o600)
    assert shown["gone"][0:5:4] == [oct(stat.S_IFCHR), 0]
    assert shown["o"][7] == "trusted.overlay.opaque" + b"y".hex()
    assert shown["i/j/k"][3] == -(10**9)
    assert shown["i"][0] == oct(stat.S_IFDIR | 0o755)
    assert shown["."][5] == 5


def test_directory_of_many_long_names_is_complete(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    names = {f"{n:04}" + "n" * (n % 240) for n in range(1500)} | {"ü", ".", "-"} - {"."}
    rows = look(tmp_path, [text(name, name.encode()) for name in names])
    assert {str(row[0]): bytes.fromhex(str(row[7])).decode() for row in rows[1:]} == {n: n for n in names}


def test_link_to_a_file_of_another_layer_is_refused() -> None:
    with pytest.raises(NotRepresentable):
        write_erofs(LayerIndex([Entry("b", "h", link="a")]), io.BytesIO(), 0, bytes(16))
