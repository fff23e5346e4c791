"""One Dockerfile with everything that package managers do: the same layers wherever it is built.

The reference is root's build in namespaces. It takes minutes and the network, so it runs in CI, and where
IMAGESMITH_DEBIAN is set (to 1, or to a base made before).
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.debian import layers, make_context
from tests.support import IMAGESMITH, PROJECT, in_ci, need_root
from tests.worker.sandbox.driver import NOBODY

pytestmark = pytest.mark.slow

#: (how a build is started, its flags)
WAYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "root": ((), ()),
    "lent ids": ((), ()),
    "one id": ((), ()),
    "chroot in a container": ((sys.executable, "-m", "tests.worker.sandbox.contained", "0"), ()),
    "oci": ((), ("--isolation", "oci")),
}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user can read, with the context; layouts go there too."""
    wanted = os.environ.get("IMAGESMITH_DEBIAN", "")
    if not (wanted or in_ci()):
        pytest.skip("takes minutes: set IMAGESMITH_DEBIAN=1")
    need_root()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "context").mkdir()
        make_context(folder / "context", wanted if wanted.startswith("/") else "")
        yield folder


def _user(way: str) -> tuple[int, int]:
    if way == "one id":
        return NOBODY, NOBODY
    if way != "lent ids":
        return 0, 0
    names = [line.split(":")[0] for line in Path("/etc/subuid").read_text().splitlines() if ":" in line]
    known = {p.pw_name: p for p in pwd.getpwall()}
    for name in names:
        if name in known and known[name].pw_uid:
            return known[name].pw_uid, known[name].pw_gid
    pytest.skip("no user has subordinate ids")


def _build(place: Path, way: str) -> list[dict[str, tuple[Any, ...]]]:
    """Build once for all tests; returns the layers."""
    layout = place / way / "layout"
    if not layout.exists():
        prefix, flags = WAYS[way]
        uid, gid = _user(way)
        (place / way).mkdir()
        os.chown(place / way, uid, gid)
        done = subprocess.run(
            [*prefix, *IMAGESMITH, "build", "--root", str(place / way / "store"), "--progress", "plain",
             *flags, "-o", f"type=oci,tar=false,dest={layout}", str(place / "context")],
            capture_output=True, text=True, cwd=PROJECT, user=uid, group=gid, extra_groups=[],
            env={**os.environ, "PYTHONPATH": str(PROJECT), "HOME": str(place / way)},
        )  # fmt: skip
        if "does not work here" in done.stderr:
            pytest.skip(done.stderr.splitlines()[-1])
        assert done.returncode == 0, done.stderr[-5000:]
        assert ("WARN: RUN" in done.stderr) == (way in ("one id", "chroot in a container"))
    return layers(layout)


def test_reference_has_what_is_to_be_compared(place: Path) -> None:
    """A guard against a reference that says nothing."""
    *_, packages, own, changed, users, last = _build(place, "root")
    owners = {row[2:4] for row in packages.values()}
    assert len(owners) > 5
    assert packages["usr/bin/sudo"][1] == "0o4755"
    assert packages["usr/bin/ping"][7] != ""
    assert own["srv/hard"][7] == own["srv/copy"][7] != ""
    assert (own["srv/suid"][1], own["srv/given"][1]) == ("0o4755", "0o755")
    assert own["srv/null"][0] == b"3"
    assert own["srv/true"][0::4] == (b"1", "srv/hard")
    assert own["srv/link"][2:4] == (1500, 8)
    assert own["srv/app/data/sub"][1:4] == ("0o2755", 0, 33)
    assert {"usr/share/doc/.wh.cron", "srv/.wh.app", "etc/nginx/sites-enabled/.wh.default"} <= set(changed)
    assert changed["home/joe/private"][1:4] == ("0o600", 1500, 1500)
    assert last["home/joe/w/who"][2] == 1500
    assert users is not None


@pytest.mark.parametrize("way", [way for way in WAYS if way != "root"])
def test_layers_are_those_of_root(place: Path, way: str) -> None:
    expected, found = _build(place, "root"), _build(place, way)
    assert len(found) == len(expected)
    for n, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        if way.startswith("chroot"):  # it makes no device nodes, and the build says so
            theirs.pop("srv/null", None)
        different = {
            p: (ours.get(p), theirs.get(p))
            for p in ours.keys() | theirs.keys()
            if ours.get(p) != theirs.get(p)
        }
        assert different == {}, f"layer {n}"
