"""ls: folders of images, in any place."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from imagesmith.store.store import Store
from tests.cli.conftest import Run
from tests.registry.images import make_image


@pytest.fixture
def files(tmp_path: Path, run: Run) -> str:
    del run
    with Store(tmp_path / "store") as store:
        layers = ({"etc/": b"", "etc/os": b"one", "gone": b""}, {".wh.gone": b"", "new": b"n" * 1200})
        make_image(store, "files:1", layers=layers)
    return "files:1"


def test_names_of_a_folder(run: Run, files: str) -> None:
    assert run("ls", files) == "etc\nnew\n"
    assert run("ls", files, "etc") == "os\n"
    assert run("ls", files, "/new") == "new\n"
    assert run("ls", "-R", files) == "/etc\n/etc/os\n/new\n"


def test_lines_of_long(run: Run, files: str) -> None:
    assert run("ls", "-l", files) == (
        "drwxr-xr-x         0:0           0 1970-01-01 00:00:00   1 etc\n"
        "-rw-r--r--         0:0        1200 1970-01-01 00:00:00   2 new\n"
    )


def test_json_has_all_of_it(run: Run, files: str) -> None:
    found = json.loads(run("ls", "--json", "-R", files))
    assert [f["path"] for f in found] == ["/etc", "/etc/os", "/new"]
    assert found[2] == {
        "path": "/new", "kind": "file", "mode": "0644", "uid": 0, "gid": 0, "size": 1200, "mtime_ns": 0,
        "layer": 2,
    }  # fmt: skip


def test_every_place_will_do(run: Run, files: str, host: str) -> None:
    run("push", files, f"{host}/files:1", "--insecure")
    for place in ("oci:layout:1", "oci-archive:a.tar:1", "docker-archive:d.tar:files:1"):
        run("copy", f"store:{files}", place)
    for place in (f"docker://{host}/files:1", "oci:layout:1", "oci-archive:a.tar:1", "docker-archive:d.tar"):
        assert run("ls", "--insecure", place) == "etc\nnew\n", place


def test_platform_is_chosen(run: Run, index: str) -> None:
    del index
    assert run("ls", "--platform", "linux/arm64", "multi:1") == "c\n"
    assert run("ls", "--platform", "linux/amd64", "multi:1") == "a\nb\n"
    assert "not linux/s390x; see --platform" in run("ls", "--platform", "linux/s390x", "multi:1", status=7)


def test_what_is_missing_is_told(run: Run, files: str) -> None:
    said = run("ls", files, "gone", status=7)
    assert "no /gone: layer 2 of 2 removed it" in said
    assert "hint: layer 2 is of: layer 1" in said
    assert "no image named" in run("ls", "store:nothing:1", status=7)


def test_hostile_names_are_shown_as_bytes(run: Run, tmp_path: Path) -> None:
    name = os.fsdecode(b"a\x1b[2J\n\xff\\")
    with Store(tmp_path / "store") as store:
        make_image(store, "bad:1", layers=({name: b"x"},))
    assert run("ls", "bad:1") == "a\\x1b[2J\\x0a\\xff\\x5c\n"
    assert "a\\x1b[2J" in run("ls", "-l", "bad:1")
    (found,) = json.loads(run("ls", "--json", "bad:1"))
    assert os.fsencode(found["path"]) == b"/a\x1b[2J\n\xff\\"
