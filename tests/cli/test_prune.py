"""prune: what no image needs goes, and steps that were of no use for long."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from imagesmith.store.cachedb import StepRecord
from imagesmith.store.store import Store
from tests.cli.conftest import Run


def test_what_an_image_needs_stays_and_the_rest_goes(run: Run, image: str) -> None:
    with Store(Path("store")) as store:
        stray = store.blobs.put(b"nobody's")
    said = run("prune", "--all")
    assert re.fullmatch(r"deleted 1 blobs, 0 layers and 0 cached steps; freed 8 B\n", said)
    with Store(Path("store")) as store:
        assert not store.blobs.has(stray)
    assert run("validate", "app:1").startswith("valid: ")
    run("rmi", "app:1")
    assert run("prune").startswith("deleted 4 blobs, ")


def test_age_that_is_none_is_refused_before_anything_goes(run: Run, image: str) -> None:
    with Store(Path("store")) as store:
        stray = store.blobs.put(b"nobody's")
    assert "--older-than: invalid age 'soon'" in run("prune", "--older-than", "soon", status=2)
    with Store(Path("store")) as store:
        assert store.blobs.has(stray)


def test_prune_forgets_steps_of_no_use(tmp_path: Path) -> None:
    with Store(tmp_path) as s:
        layer = s.blobs.put(b"layer")
        descriptor = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": str(layer), "size": 5}
        s.cache.put_steps(
            [
                StepRecord(key=k, base="b", parts={}, diff_id=str(layer), layer=descriptor, created_ns=1)
                for k in ("old", "used")
            ],
            {"old": {"name": "x"}, "used": {"name": "y"}},
        )
        with sqlite3.connect(tmp_path / "cache.db") as db:
            db.execute("UPDATE steps SET used_s = used_s - 1000000")
        s.cache.touch_steps(["used"])
        assert s.prune(unused_s=500_000).steps == 1
        assert [r.key for r in s.cache.all_steps()] == ["used"]
        assert (s.cache.note("old"), s.cache.note("used")) == ({}, {"name": "y"})
        assert s.prune(unused_s=0, everything=True).steps == 1
