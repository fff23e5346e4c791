"""What every snapshotter promises, in every place: the same layers from the same steps.

The expected lists are what BuildKit's overlay snapshotter and differ make of the same commands.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.skips import who
from tests.support import PROJECT, lacking

pytestmark = pytest.mark.everyone

Job = dict[str, Any]

WAYS = [
    ("root", "overlay"), ("root", "extracting"), ("root", "copying"), ("subid", "overlay"),
    ("single", "overlay"), ("single", "copying"), ("own", "copying"),
]  # fmt: skip


class Way:
    """A snapshotter in a place."""

    def __init__(self, ids: str, kind: str, store: Path) -> None:
        self.ids, self.kind, self.store = ids, kind, store

    def command(self) -> list[str]:
        """How the driver is started."""
        return [sys.executable, "-m", "tests.worker.snapshot.driver", self.ids, self.kind, str(self.store)]

    def run(self, layers: list[list[Job]], *steps: Any, **more: Any) -> Job:
        """Run steps over layers; skips where the machine has no such place."""
        job = json.dumps({"layers": layers, "steps": steps, **more})
        done = subprocess.run(
            self.command(), input=job + "\n", capture_output=True, text=True, cwd=PROJECT, check=False
        )
        assert done.returncode == 0, done.stderr
        result: Job = json.loads(done.stdout)
        if "lacking" in result:
            lacking(result["lacking"])
        assert result["left"] == ["lock"], "something was left in the work folder"
        assert result["mounts"] == []
        return result


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    ids, kind = request.param
    if ids == "root" and os.geteuid() != 0:
        pytest.skip("needs root")
    if ids == "subid" and who() != "lent":
        pytest.skip("needs an ordinary user with subordinate ids")
    if ids == "own" and os.geteuid() == 0:
        pytest.skip("needs an ordinary user")
    return Way(ids, kind, tmp_path / "store")


def d(path: str, **more: Any) -> Job:
    return {"path": path, "kind": "d", **more}


def f(path: str, data: str = "x", **more: Any) -> Job:
    return {"path": path, "kind": "f", "data": data, **more}


def names(rows: list[list[Any]]) -> list[str]:
    return [f"{r[0]} {r[1]}" if r[0] == "w" else f"{r[0]} {r[5]}" for r in rows]


def test_example_gives_exactly_the_entries_of_buildkit(way: Way) -> None:
    base = [
        d("t"), f("t/a"), d("t/d"), d("t/d/sub"), f("t/d/sub/z"), f("t/d/x"), f("t/d/y"), d("t/e"), f("t/h1"),
        f("t/keep"), d("t/mv"), f("t/mv/r"), f("t/same"), d("t/ty"), f("t/ty/q"),
    ]  # fmt: skip
    script = """
        ln t/a t/b; chmod 600 t/keep; chmod 644 t/keep; echo >t/e/x; rm t/e/x
        rm -rf t/d; mkdir t/d; echo 1 >t/d/x; echo 2 >t/d/new
        cp -a t/mv t/mv2; rm -r t/mv; echo more >>t/h1; rm -r t/ty; echo >t/ty; mkfifo t/fifo
    """
    got = way.run([base], script)
    assert names(got["layers"][0]) == [
        "d t", "f t/b", "d t/d", "f t/d/new", "w t/d/sub", "f t/d/x", "w t/d/y", "p t/fifo", "f t/h1",
        "w t/mv", "d t/mv2", "f t/mv2/r", "f t/ty",
    ]  # fmt: skip


def test_step_that_only_looks_makes_an_empty_layer(way: Way) -> None:
    base = [d("t"), f("t/a"), f("t/b"), {"path": "t/c", "kind": "h", "link": "t/b"}]
    got = way.run([base], "cat t/a >/dev/null; ls -lR . >/dev/null; touch t/new; rm t/new")
    assert got["layers"] == [[]]


def test_steps_build_on_each_other(way: Way) -> None:
    got = way.run(
        [[d("t"), f("t/a")]],
        "echo 1 >t/one; ln -s one t/link",
        "test -f t/a; rm t/one; mkdir t/two; echo 2 >t/two/x",
        "test ! -e t/one; test -h t/link; rm -r t/two; mkdir t/two",
    )
    assert [names(rows) for rows in got["layers"]] == [
        ["d t", "l t/link", "f t/one"],
        ["d t", "w t/one", "d t/two", "f t/two/x"],
        ["d t", "d t/two", "w t/two/x"],
    ]


def test_directory_made_anew_in_place_of_itself_is_told(way: Way) -> None:
    base = [d("t"), d("t/empty"), d("t/full"), d("t/full/in"), f("t/full/in/x"), f("t/full/in/y")]
    got = way.run([base], "rmdir t/empty; mkdir t/empty; rm -r t/full; mkdir -p t/full/in; echo >t/full/in/y")
    assert names(got["layers"][0]) == [
        "d t", "d t/empty", "d t/full", "d t/full/in", "w t/full/in/x", "f t/full/in/y",
    ]  # fmt: skip


def test_file_becomes_directory_and_directory_becomes_link(way: Way) -> None:
    base = [d("t"), f("t/a"), d("t/b"), f("t/b/x"), {"path": "t/c", "kind": "l", "link": "a"}]
    got = way.run([base], "rm t/a; mkdir t/a; echo >t/a/in; rm -r t/b; ln -s /nowhere t/b; ln -sfn b t/c")
    assert names(got["layers"][0]) == ["d t", "d t/a", "f t/a/in", "l t/b", "l t/c"]


def test_lower_layers_are_stacked_with_their_deletions(way: Way) -> None:
    one = [d("a"), f("a/x"), f("a/y"), d("b"), f("b/x"), f("c"), d("e"), f("e/old")]
    two = [
        d("a"), {"path": "a/x", "kind": "w"}, {"path": "b", "kind": "o"}, {"path": "c", "kind": "w"},
        {"path": "e", "kind": "w"}, d("e"), f("e/new"), f("b/z", "zz"),
    ]  # fmt: skip
    got = way.run([one, two], "true", show=True)
    assert [row[0] for row in got["shown"][0]] == ["a", "a/y", "b", "b/z", "e", "e/new"]
    assert got["layers"] == [[]]


def test_parents_that_a_layer_does_not_list_keep_what_lower_layers_say(way: Way) -> None:
    got = way.run([[d("tmp", mode=0o1777)], [f("tmp/x"), f("other/y")]], "chmod 600 tmp/x", show=True)
    assert got["shown"][0] == [
        ["other", "drwxr-xr-x", 0], ["other/y", "-rw-r--r--", 1], ["tmp", "drwxrwxrwt", 0],
        ["tmp/x", "-rw-r--r--", 1],
    ]  # fmt: skip
    assert [row[:4] for row in got["layers"][0]] == [["d", "0o1777", 0, 0], ["f", "0o600", 0, 0]]


def test_hard_link_to_a_file_of_a_lower_layer_has_its_bytes(way: Way) -> None:
    got = way.run([[f("a", "bytes")], [{"path": "b", "kind": "h", "link": "a"}]], "cat b >c", show=True)
    assert ["b", "-rw-r--r--", 5] in got["shown"][0]
    assert [row[4] for row in got["layers"][0]] == [5]


def test_owners_devices_and_modes_come_through_a_step(way: Way) -> None:
    base = [
        d("t", uid=5, gid=6), f("t/a", uid=100, gid=101, mode=0o4755), f("t/b", uid=7, gid=0),
        {"path": "t/dev", "kind": "c", "rdev": [1, 3], "mode": 0o666},
        {"path": "t/link", "kind": "l", "link": "a", "uid": 8, "gid": 9},
    ]  # fmt: skip
    got = way.run(
        [base], ["chmod 4711 t/a; mv t/b t/moved; chmod 600 t/dev", ["t/link", 10, 11], ["t/moved", 12, 13]]
    )
    assert got["layers"][0] == [
        ["d", "0o755", 5, 6, 0, "t", "", [0, 0], False],
        ["f", "0o4711", 100, 101, 1, "t/a", "", [0, 0], False],
        ["w", "t/b"],
        ["c", "0o600", 0, 0, 0, "t/dev", "", [1, 3], False],
        ["l", "0o777", 10, 11, 0, "t/link", "a", [0, 0], False],
        ["f", "0o644", 12, 13, 1, "t/moved", "", [0, 0], False],
    ]


def test_owners_that_the_disk_cannot_have_come_through(way: Way) -> None:
    base = [
        d("t", uid=100_000, gid=200_000, mode=0o2755),
        f("t/a", uid=3_000_000, gid=2_500_000_000, mode=0o4755),
        f("t/b", gid=65_537), {"path": "t/c", "kind": "c", "rdev": [1, 3], "uid": 70_000, "mode": 0o600},
        {"path": "t/l", "kind": "l", "link": "a", "uid": 3_000_000, "gid": 5},
    ]  # fmt: skip
    got = way.run(
        [base, [f("t/under")]], "chmod 755 t; chmod 700 t/a; mv t/b t/m; mv t/l t/k; chmod 644 t/c", "true"
    )
    assert [row[:4] for row in got["layers"][0] if row[0] != "w"] == [
        ["d", "0o2755", 100_000, 200_000], ["f", "0o700", 3_000_000, 2_500_000_000],
        ["c", "0o644", 70_000, 0], ["l", "0o777", 3_000_000, 5], ["f", "0o644", 0, 65_537],
    ]  # fmt: skip
    assert got["layers"][1] == []


def test_chown_takes_set_id_bits_and_a_moved_link_keeps_its_owner(way: Way) -> None:
    if way.ids == "own":
        pytest.skip("without a namespace nothing is executed")
    base = [f("a", mode=0o6755), {"path": "b", "kind": "l", "link": "x", "uid": 3, "gid": 4}]
    got = way.run([base], [["a", 1, 2], "mv b c"], ["true"])
    assert [row[:4] for row in got["layers"][0]] == [
        ["f", "0o755", 1, 2], ["w", "b"], ["l", "0o777", 3, 4],
    ]  # fmt: skip
    assert got["layers"][1] == []


def test_capabilities_come_through(way: Way) -> None:
    if way.ids == "own":
        pytest.skip("only root of a namespace may set capabilities")
    value = base64.b64encode(bytes.fromhex("0100000200040000000000000000000000000000")).decode()
    got = way.run([[f("ping", capability=value)]], "chmod 700 ping")
    assert [row[-1] for row in got["layers"][0]] == [True]


def test_names_of_any_bytes_come_through(way: Way) -> None:
    got = way.run([[d("ü"), f("ü/a:b,c\\d")]], "rm 'ü/a:b,c\\d'; touch \"$(printf 'ü/\\377 \\n.')\"")
    assert names(got["layers"][0]) == ["d ü", "w ü/a:b,c\\d", "f ü/\udcff \n."]


def test_failed_step_leaves_nothing_and_the_next_one_is_right(way: Way) -> None:
    failed = way.run([[f("a")]], "echo >junk; rm a", fail=True)
    assert failed["layers"] == [[]]
    assert way.run([[f("a")]], "test -e a; test ! -e junk")["layers"] == [[]]


def test_what_a_killed_process_left_is_swept_by_the_next(way: Way) -> None:
    job = json.dumps({"layers": [[f("a")]], "steps": ["echo >b"], "hang": True})
    with subprocess.Popen(
        way.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(job + "\n")
        process.stdin.flush()
        said = process.stdout.readline()
        if "lacking" in said:
            process.wait()
            lacking(said)
        assert said == "ready\n"
        assert len(list((way.store / "work").glob("snap-*"))) == 1
        process.kill()
    assert way.run([[f("a")]], "test ! -e b")["layers"] == [[]]


@pytest.mark.slow
def test_trees_that_another_version_set_aside_are_made_again(way: Way) -> None:
    """As if the third step began just after a process of another version did; see store/renewal.py."""
    steps = "echo 1 >t/one; rm t/a", "test -f t/one; test ! -e t/a; echo 2 >t/two", "test -f t/two; rm t/b"
    got = way.run([[d("t"), f("t/a"), f("t/b")]], *steps, renew=3)
    assert [names(rows)[-1] for rows in got["layers"]] == ["f t/one", "f t/two", "w t/b"]


def test_folder_of_a_workspace_is_used_again_where_no_other_step_may_have_it_mounted(way: Way) -> None:
    steps = ["echo 1 >one", "echo 2 >two", "echo 3 >three"]
    alone, beside = way.run([], *steps), way.run([[d("t")]], *steps, beside=True)
    if way.kind != "copying":  # which copies what its steps find, and mounts nothing
        assert len(set(beside["folders"])) == 3
        assert len(set(alone["folders"])) == 2  # the first had no layers below


def test_six_hundred_layers_are_one_root(way: Way) -> None:
    layers = [[f(f"f{n:03}", str(n)), f("last", str(n))] for n in range(600)]
    got = way.run(layers, 'test "$(cat last)" = 599; test "$(ls | wc -l)" = 601; test "$(cat f000)" = 0')
    assert got["layers"] == [[]]


def test_same_layer_twice_shows_what_its_upper_one_does(way: Way) -> None:
    add, delete = [f("x", "1")], [{"path": "x", "kind": "w"}]
    got = way.run([add, delete, add], 'test "$(cat x)" = 1; rm x', show=True)
    assert [row[0] for row in got["shown"][0]] == ["x"]
    assert names(got["layers"][0]) == ["w x"]


# --- a later step sees the layers, whatever a step left and whoever left it --------------------

_SOCKET = "python3 -c 'import socket; socket.socket(1).bind(\"t/s\")'"
_TWO = [[d("t"), f("t/a", "two"), f("t/b", "bb")]]


@pytest.mark.parametrize(
    "script",
    [
        "chmod 644 t/a",
        "chmod 644 t/a; chown 0:0 t/a; mkdir -p t; cp -p t/a x; mv x t/a",
        "chmod 644 t/a; touch -d @1000000000 t/new t",
        f"chmod 644 t/a; {_SOCKET}; touch -d @1000000000.5 t/new t",
        "chmod 644 t/a; rm t/b; mkfifo t/p; touch -d @1000000000.25 t/p t",
        "rm -r t; mkdir t; echo >t/new; touch -d @1000000000 t/new t",
    ],
)
def test_step_sees_its_own_files_where_another_build_made_the_same_layer(way: Way, script: str) -> None:
    if way.ids == "own" and "chown" in script:
        pytest.skip("without a namespace nothing is executed")
    look = "find t -printf '%p %y %m %U %G %.T@ %n\\n' | sort; find t -type f | sort | xargs cat"
    spy = f"({look}) >seen; touch -d @1000000000 seen; chmod 644 seen"
    way.run([[d("t"), f("t/a", "one"), f("t/b", "bb"), f("t/c")]], script, spy)
    used = way.run(_TWO, script, spy)
    way.store = way.store.with_name("empty")
    assert used["diff_ids"] == way.run(_TWO, script, spy)["diff_ids"]


def test_later_step_sees_what_the_layer_says_and_no_more(way: Way) -> None:
    script = """
        touch -d @1000000000.75 t/new; ln t/a t/link; touch -d @5 t/d
        python3 -c 'import os; [os.setxattr(p, "user.x", b"1") for p in ("t/new", "t/d")]' || true
    """
    look = """
        test "$(stat -c %.9Y t/new)" = 1000000000.000000000; test "$(stat -c %h t/a)" = 1
        test "$(stat -c %Y t/d)" = 1000000000
        python3 -c 'import os; assert "user.x" not in os.listxattr("t/new") + os.listxattr("t/d")'
        echo more >>t/link; test "$(cat t/a)" = x
    """
    got = way.run([[d("t"), f("t/a"), d("t/d")]], script, look, look.replace("echo", "! true && echo"))
    assert names(got["layers"][1]) == ["d t", "f t/link"]


def test_step_that_changed_the_root_leaves_that_to_itself(way: Way) -> None:
    got = way.run([[f("a")]], "chmod 700 .; echo >b", 'test "$(stat -c %a .)" = 755')
    assert names(got["layers"][0]) == ["f b"]
