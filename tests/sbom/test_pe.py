"""The version resources of Windows files."""

from __future__ import annotations

import io

import pytest

from imagesmith.sbom.pe import version_texts
from tests.sbom.pes import pe

TEXTS = {"ProductName": "Ä Product", "FileVersion": "1.2.3.4", "Comments": "", "InternalName": "x.dll"}


@pytest.mark.parametrize("wide", [True, False])
def test_texts_are_read(wide: bool) -> None:
    data = pe(TEXTS, wide=wide)
    assert version_texts(io.BytesIO(data), len(data)) == TEXTS


def test_file_without_resources_has_none() -> None:
    data = bytearray(pe(TEXTS))
    at = data.index(b"\x00\x10\x00\x00")
    data[at : at + 4] = bytes(4)
    assert version_texts(io.BytesIO(data), len(data)) == {}


def test_resource_of_another_kind_is_none() -> None:
    data = pe(TEXTS)
    at = data.index(b".rsrc") + 40 + 16
    data = data[:at] + b"\x10\1\0\0" + data[at + 4 :]
    assert version_texts(io.BytesIO(data), len(data)) == {}


@pytest.mark.parametrize("size", [0, 10, 63, 64, 100, 200, 330, 400])
def test_what_ends_early_is_refused(size: int) -> None:
    data = pe(TEXTS)[:size]
    with pytest.raises(ValueError, match="PE file"):
        version_texts(io.BytesIO(data), len(data))


def test_resources_in_circles_end() -> None:
    data = pe(TEXTS)
    at = data.index(b".rsrc") + 40 + 20
    data = data[:at] + b"\0\0\0\x80" + data[at + 4 :]  # below the first level there is the first level
    assert version_texts(io.BytesIO(data), len(data)) == {}
