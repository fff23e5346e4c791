"""Devices and numbers of files, as tar, du, find and cp look at them: one device, one number for links."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest

from tests.contracts.test_snapshotters import Job, Way, d, f, way

__all__ = ["way"]

FOLDERS = ("a", "a/b", "c", "c/d", "c/d/e")
KINDS = ("f", "f", "f", "l", "p", "c")


def some_layers(seed: int, *, stacked: bool) -> tuple[list[list[Job]], dict[str, set[str]]]:
    """One to three layers with hard links in each, and to files below; the names that are one, by name."""
    chance = random.Random(seed)
    layers: list[list[Job]] = []
    one: dict[str, set[str]] = {}
    for n in range(chance.randint(1, 3)):
        rows = [d(p) for p in FOLDERS]
        here: list[str] = []
        for k in range(chance.randint(1, 12)):
            path = f"{chance.choice(FOLDERS)}/{'xyz'[n]}{k}"
            lower = [p for p in one if p not in here and (stacked or p.endswith("f"))]
            targets = here + lower
            if targets and chance.random() < 0.5:
                target = chance.choice(targets)
                rows.append({"path": path + target[-1], "kind": "h", "link": target})
                path += target[-1]
                if target in here or not stacked:
                    one[target].add(path)
                    one[path] = one[target]
                else:  # what a lower layer's other names show stays there
                    one[target].discard(target)
                    one[target] = one[path] = {target, path}
                    here.append(target)
            else:
                kind = chance.choice(KINDS)
                path += kind
                more: Job = {"link": "nowhere"} if kind == "l" else {"rdev": [1, 3]} if kind == "c" else {}
                rows.append(f(path, f"{n} {k}") if kind == "f" else {"path": path, "kind": kind, **more})
                one[path] = {path}
            here.append(path)
        layers.append(rows)
    return layers, one


def check(rows: list[list[Any]], one: dict[str, set[str]]) -> None:
    """One device; names are one file if and only if they have one number; readdir says what stat says."""
    assert len({row[3] for row in rows}) == 1, "several devices"
    assert [row for row in rows if not row[5]] == [], "a name without a number"
    assert [row for row in rows if row[0] and row[4] != row[5]] == [], "readdir and stat differ"
    names: dict[int, set[str]] = defaultdict(set)
    for path, kind, links, _, number, _ in rows:
        if kind != "d":
            names[number].add(path)
            assert links >= len(one[path]), path
    assert {row[0]: names[row[4]] for row in rows if row[1] != "d"} == one
    folders = {row[4] for row in rows if row[1] == "d"}
    assert len(folders) == len({row[0] for row in rows if row[1] == "d" and row[0]} | {""})
    assert not folders & set(names)


@pytest.mark.parametrize("seed", range(8))
def test_numbers_tell_what_is_one_file(way: Way, seed: int) -> None:
    layers, one = some_layers(seed, stacked=way.kind != "copying")
    rows = way.run(layers, "true", numbers=True)["numbers"][0]
    check(rows, one)
