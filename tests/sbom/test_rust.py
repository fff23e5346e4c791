"""What cargo-auditable notes in programs."""

from __future__ import annotations

import io
import json
import zlib

import pytest

from imagesmith.sbom import rust
from imagesmith.sbom.elf import Elf
from tests.sbom.elves import elf


def found(note: bytes) -> list[str]:
    data = elf({rust.NOTE: note})
    return [p.purl for p in rust.crates(Elf(io.BytesIO(data), len(data)), "app")]


def packed(told: object) -> bytes:
    return zlib.compress(json.dumps(told).encode())


def test_the_crates_that_are_in_the_program():
    crates = [
        {"name": "app", "version": "0.1.0", "source": "local", "root": True, "dependencies": [1]},
        {"name": "serde", "version": "1.0.1+x", "source": "crates.io"},
        {"name": "cc", "version": "1.0", "source": "crates.io", "kind": "build"},
        {"name": "odd"},
        7,
    ]
    assert found(packed({"packages": crates})) == ["pkg:cargo/app@0.1.0", "pkg:cargo/serde@1.0.1%2Bx"]


def test_a_program_without():
    data = elf({".text": b"x"})
    assert list(rust.crates(Elf(io.BytesIO(data), len(data)), "app")) == []


@pytest.mark.parametrize("told", [[], {}, {"packages": 7}, "x"])
def test_other_json_is_nothing(told):
    assert found(packed(told)) == []


def test_a_bomb_is_not_unpacked():
    bomb = zlib.compress(bytes(64 << 20))
    assert len(bomb) < 100_000
    with pytest.raises(ValueError, match=r"no end, or more than"):
        found(bomb)


def test_a_note_that_ends_early():
    with pytest.raises(ValueError, match="no end"):
        found(packed({"packages": []})[:-3])
