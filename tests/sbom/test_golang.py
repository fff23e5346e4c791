"""Go's build note, in both forms."""

from __future__ import annotations

import io

import pytest

from imagesmith.sbom.elf import Elf
from imagesmith.sbom.golang import NOTE, build_info, modules
from tests.sbom.elves import elf, go_inline, go_pointers

LINES = """path\texample.com/acme/app/cmd/tool
mod\texample.com/acme/app\tv1.2.3\th1:x=
dep\tgolang.org/x/sys\tv0.20.0\th1:y=
dep\tgithub.com/old/name/v2\tv2.0.0
=>\tgithub.com/new/name/v2\tv2.0.1\th1:z=
dep\texample.com/local/part\tv0.0.0-00010101000000-000000000000
=>\t./part\t(devel)\t
dep\tgopkg.in/yaml.v3\tv3.0.1\th1:w=
build\t-compiler=gc
"""
EXPECTED = [
    "pkg:golang/golang.org/x/sys@v0.20.0",
    "pkg:golang/github.com/new/name@v2.0.1#v2",
    "pkg:golang/example.com/local/part",
    "pkg:golang/gopkg.in/yaml.v3@v3.0.1",
    "pkg:golang/example.com/acme/app@v1.2.3",
    "pkg:golang/stdlib@1.22.3",
]


def opened(data: bytes) -> Elf:
    return Elf(io.BytesIO(data), len(data))


def found(lines: str, version: str = "go1.22.3") -> list[str]:
    return [p.purl for p in modules(opened(elf({NOTE: go_inline(version, lines)})), "app")]


def test_the_form_since_1_18():
    assert found(LINES) == EXPECTED


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_form_before(wide, order):
    note = go_pointers("go1.22.3", LINES, wide=wide, order=order)
    program = opened(elf({NOTE: note}, wide=wide, order=order))
    assert [p.purl for p in modules(program, "app")] == EXPECTED


def test_the_note_is_looked_for_where_a_section_does_not_begin_with_it():
    note = bytes(24) + b"\xff Go buildinf:" + bytes(10) + go_inline("go1.20", LINES)
    assert note.rfind(b"\xff Go buildinf:") % 16 == 0
    assert build_info(opened(elf({NOTE: note}))).go == "go1.20"


def test_a_program_without_sections_is_searched():
    data = bytearray(elf({NOTE: go_inline("go1.20", LINES)}))
    data[40:48] = bytes(8)
    assert build_info(opened(bytes(data))).go == "go1.20"


def test_other_programs_have_none():
    assert build_info(opened(elf({".text": b"\xff Go buildinf:" + bytes(40)}))) is None
    assert found("", "") == []


@pytest.mark.parametrize(
    ("settings", "version"),
    [
        ('build\t-ldflags="-s -X main.version=1.4.0"\n', "@v1.4.0"),
        ('build\t-ldflags="-X \\"acme/v.BuildVersion=v2.0.0-rc.1+x\\""\n', "@v2.0.0-rc.1%2Bx"),
        ("build\t-ldflags=-X=main.Tag=release/v3.1.4\n", "@v3.1.4"),
        (
            "build\tvcs=git\nbuild\tvcs.revision=0123456789abcdef0123\nbuild\tvcs.time=2024-05-06T07:08:09Z\n",
            "@v0.0.0-20240506070809-0123456789ab",
        ),
        ("build\tvcs.revision=0123456789abcdef0123\n", ""),
        ("", ""),
    ],
)
def test_the_version_of_what_was_built_in_its_folder(settings, version):
    main = "path\texample.com/app\nmod\texample.com/app\t(devel)\t\n"
    assert found(main + settings)[0] == f"pkg:golang/example.com/app{version}"


def test_many_slashes_in_flags_take_no_time():
    flags = "/".join("a.version=/" for _ in range(1000))
    assert found(f"mod\tm\t(devel)\t\nbuild\t-ldflags={flags}\n")[0] == "pkg:golang/m"


def test_settings_that_are_quoted():
    lines = 'path\tm\nbuild\t"a b"="c\\td"\nbuild\tk=`x=y`\nbuild\tz="\\x41"\n'
    info = build_info(opened(elf({NOTE: go_inline("go1.20", lines)})))
    assert info.settings == {"a b": "c\td", "k": "x=y", "z": "\\x41"}


def test_a_program_that_was_built_without_modules():
    assert found("path\tcommand-line-arguments\n") == [
        "pkg:golang/command-line-arguments",
        "pkg:golang/stdlib@1.22.3",
    ]


def test_a_version_of_go_between_releases():
    assert found("", "devel go1.23-abc Thu") == []
    assert found("", "go1.21.0 X:boringcrypto") == ["pkg:golang/stdlib@1.21.0"]


@pytest.mark.parametrize(
    "note",
    [
        go_inline("go1.20", LINES)[:-20],
        go_inline("go1.20", LINES)[:32] + b"\xff" * 20,
        go_inline("go1.20", LINES)[:32],
        go_pointers("go1.20", LINES)[:16] + b"\xff" * 16 + bytes(64),
        b"\xff Go buildinf:" + bytes([3, 0]) + bytes(64),
    ],
)
def test_damage(note):
    with pytest.raises(ValueError, match=r"Go build note|ELF file"):
        build_info(opened(elf({NOTE: note})))
