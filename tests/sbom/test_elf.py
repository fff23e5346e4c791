"""ELF files by their tables."""

from __future__ import annotations

import io
import struct

import pytest

from imagesmith.sbom.elf import Elf
from tests.sbom.elves import BASE, elf, offset_of_first


def opened(data: bytes) -> Elf:
    return Elf(io.BytesIO(data), len(data))


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_sections_of_both_classes_and_orders(wide, order):
    file = opened(elf({".one": b"first", ".two": b"second one"}, wide=wide, order=order))
    assert file.content(file.section(".two"), 100) == b"second one"
    assert (file.wide, file.order) == (wide, order)
    assert file.memory(BASE + offset_of_first(wide=wide), 5) == b"first"
    assert file.data().address == BASE


def test_a_section_of_more_than_the_limit():
    file = opened(elf({".one": bytes(11)}))
    with pytest.raises(ValueError, match=r"\.one of 11 bytes, more than 10"):
        file.content(file.section(".one"), 10)


def test_an_address_that_nothing_is_loaded_at():
    file = opened(elf({".one": b"x"}))
    for address in (0, BASE - 1, BASE + (1 << 40)):
        with pytest.raises(ValueError, match="nothing at the address"):
            file.memory(address, 4)


@pytest.mark.parametrize("length", [4, 20, 51, 63, 100, 200])
def test_a_file_that_ends_early(length):
    with pytest.raises(ValueError, match="ELF file"):
        opened(elf({".one": b"x"})[:length])


def test_a_table_outside_of_the_file():
    data = bytearray(elf({".one": b"x"}))
    struct.pack_into("<Q", data, 40, 1 << 60)
    with pytest.raises(ValueError, match="are outside"):
        opened(bytes(data))


def test_more_sections_than_any_program_has():
    data = bytearray(elf({".one": b"x"}))
    struct.pack_into("<H", data, 60, 0)  # the number is in the first section
    table = struct.unpack_from("<Q", data, 40)[0]
    struct.pack_into("<Q", data, table + 32, 1 << 30)
    with pytest.raises(ValueError, match="1073741824 sections"):
        opened(bytes(data))


def test_a_program_without_sections():
    data = bytearray(elf({".one": b"x"}))
    struct.pack_into("<Q", data, 40, 0)
    program = opened(bytes(data))
    assert not program.has_sections
    assert program.section(".one") is None


def test_a_section_is_known_by_its_whole_name():
    file = opened(elf({".ones": b"1", ".one": b"2", "one": b"3"}))
    assert [file.content(file.section(name), 1) for name in (".one", ".ones", "one")] == [b"2", b"1", b"3"]
    assert file.section("") is None
    assert file.section(".on") is None
