"""Which files are looked into as programs, and how little of them is read."""

from __future__ import annotations

import io
import json
import zlib

import pytest

from imagesmith.fs.entry import Entry
from imagesmith.fs.layerindex import LayerIndex
from imagesmith.fs.view import View
from imagesmith.sbom import executables, golang, rust
from imagesmith.sbom.reading import Files
from tests.sbom.elves import elf, go_inline
from tests.sbom.looking import purls, read_all

PROGRAM = elf({golang.NOTE: go_inline("go1.22.3", "path\tx\n")})


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("usr/bin/sh", True), ("usr/lib/python3.11/bin/go", True), ("usr/bin/tool-1.2", True),
        ("app/.hidden", True), ("usr/lib/libx.so.1", True), ("a/b.py", False), ("a/b.json", False),
        ("a.d/zip", True),
    ],
)  # fmt: skip
def test_names_that_may_be_programs(path, wanted):
    assert executables.wants(path) is wanted


def test_both_notes_of_one_program():
    note = zlib.compress(json.dumps({"packages": [{"name": "a", "version": "1"}]}).encode())
    both = elf({golang.NOTE: go_inline("go1.22.3", ""), rust.NOTE: note})
    assert purls({"usr/bin/both": both}) == ["pkg:cargo/a@1", "pkg:golang/stdlib@1.22.3"]


def test_what_may_not_be_executed_is_passed_over_but_libraries():
    files = {"opt/data": PROGRAM, "opt/libx.so": PROGRAM, "opt/x.so.1": PROGRAM, "opt/y.node": PROGRAM}
    packages, warnings = read_all(files, 0o644)
    assert {p.path for p in packages} == {"opt/libx.so", "opt/x.so.1", "opt/y.node"}
    assert warnings == []


class _Counted(io.BytesIO):
    """Bytes of a program of a gigabyte: those in front, and nothing behind; what is read is counted."""

    read_bytes = 0

    def read(self, size=-1):
        out = super().read(size)
        type(self).read_bytes += len(out)
        return out


class _Large:
    def open(self):
        return _Counted(PROGRAM)


def test_little_is_read_of_a_large_program():
    e = Entry("usr/bin/large", "f", 0o755, size=1 << 30, content=_Large())
    _Counted.read_bytes = 0
    found = list(executables.read(e.path, Files(View([LayerIndex([e])]))))
    assert [p.name for p in found] == ["x", "stdlib"]
    assert 0 < _Counted.read_bytes < 200_000


def test_a_damaged_program_is_a_warning():
    packages, warnings = read_all({"usr/bin/x": PROGRAM[:200], "usr/bin/y": PROGRAM})
    assert len(packages) == 2
    assert len(warnings) == 1
    assert warnings[0].startswith("/usr/bin/x: cannot be read as a list of packages: an ELF file ")
