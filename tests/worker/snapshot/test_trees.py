"""Where layers are extracted to: in memory the first time, on the disk when a build comes back to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.contracts.test_snapshotters import Way, d, f

pytestmark = pytest.mark.everyone


@pytest.fixture(params=[("root", "extracting"), ("single", "overlay")], ids="-".join)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    ids, kind = request.param
    if ids == "root" and os.geteuid() != 0:
        pytest.skip("needs root")
    return Way(ids, kind, tmp_path / "store")


def trees(way: Way, diff_id: str) -> list[str]:
    folder = way.store / "layers" / diff_id.partition(":")[2]
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("tree"))


def test_large_layer_is_in_memory_first_and_on_the_disk_the_second_time(way: Way) -> None:
    layer = [d("d"), *(f(f"d/{n}", str(n), uid=n % 3) for n in range(1200))]
    script = 'test "$(ls d | wc -l)" = 1200; test "$(cat d/77)" = 77; echo >d/new; chmod 600 d/1'
    first = way.run([layer], script)
    assert trees(way, first["diff_ids"][0]) == []
    second = way.run([layer], script)
    assert len(trees(way, second["diff_ids"][0])) == 1
    third = way.run([layer], script)
    assert first["layers"][0][1:-1] == second["layers"][0][1:-1] == third["layers"][0][1:-1]
    assert [row[2] for row in first["layers"][0]] == [0, 1, 0]


def test_small_layer_is_on_the_disk_at_once_and_what_a_step_left_is_its_layers_tree(way: Way) -> None:
    got = way.run([[d("d"), f("d/x")]], "echo >d/y", "test -f d/y", "test -f d/y")
    assert [trees(way, diff_id) != [] for diff_id in got["diff_ids"]] == [True, True, False, False]
    assert trees(way, got["diff_ids"][1])[0].startswith("tree")


def test_what_a_step_left_is_settled_by_a_later_build(way: Way) -> None:
    got = way.run([[d("d"), f("d/x")]], "echo >d/y; chmod 644 d/x")
    left = trees(way, got["diff_ids"][1])
    assert [name.endswith("-left") for name in left] == [True]
    again = way.run([[d("d"), f("d/x", "other")]], "echo >d/y; chmod 644 d/x", "test $(cat d/x) = other")
    assert again["layers"] == [got["layers"][0], []]
