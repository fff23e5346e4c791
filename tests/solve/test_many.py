"""Builds of more files than are held in memory: the same layers, and the same keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pytest

from imagesmith.context import rows
from imagesmith.fs import layerindex, table
from imagesmith.solve import layerwriter
from imagesmith.store import layers
from imagesmith.store.store import Store
from tests.kitchen import Kitchen

TEXT = """FROM scratch AS a
COPY . /one
COPY b /one/n
COPY --chown=5:6 b c /two/
FROM scratch
COPY --from=a / /all
COPY --from=a --exclude=**/3 /one /some
"""


def made(folder: Path) -> tuple[list[str], list[list[tuple[object, ...]]], int]:
    """The key of a build's first step, what its layers hold but times, and what is made when run again."""
    folder.mkdir()
    kitchen = Kitchen(folder)
    kitchen.write({f"{d}/{n}": f"{d}{n}" for d in "abc" for n in range(30)} | {"l": "-> a/1", "e/": ""})
    os.link(kitchen.context / "b/1", kitchen.context / "b/x")
    kitchen.age()
    built = kitchen.build(TEXT)
    again = Kitchen.__new__(Kitchen)
    again.__dict__ |= kitchen.__dict__
    again.build(TEXT)
    with Store(kitchen.root) as store:
        keys = [r.key for r in store.cache.all_steps() if r.parts["op"]["paths"] == ["."]]  # type: ignore[index]
        held = [
            [(e.path, e.kind, e.link, e.mode, e.uid, e.size, e.digest) for e in layer.stored.entries()]
            for layer in built.image.layers
        ]
    return keys, held, len(again.executed)


def test_many_files_make_the_layers_and_keys_of_a_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = made(tmp_path / "few")
    for module in (table, layerindex, rows, layerwriter, layers):
        monkeypatch.setattr(module, "FEW", 8)
    monkeypatch.setattr(table, "_WAITING", 4)
    monkeypatch.setattr(rows, "_TOGETHER", 3)
    files: list[object] = []
    spool = Store.new_spool

    def counted(store: Store) -> BinaryIO:
        files.append(store)
        return spool(store)

    monkeypatch.setattr(Store, "new_spool", counted)
    many = made(tmp_path / "many")
    assert len(files) > 4
    assert many[0] == few[0]
    assert len(few[0]) == 1
    assert many[1] == few[1]
    assert many[2] == few[2] == 0
    assert len(few[1]) == 2
    assert any(kind == "h" for layer in few[1] for _, kind, *_ in layer)
