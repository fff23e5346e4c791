"""The folder that the store lies in, or that it was made with, decides nothing in images and steps."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import as_user, ordinary_user, place_of
from tests.support import IMAGESMITH, lacking, need_root

pytestmark = pytest.mark.slow

#: Looks at everything that a step is shown: copied, mounted, made by itself and by steps before it.
DOCKERFILE = """\
FROM base AS s
RUN mkdir -p /s/d && echo f > /s/d/f && chmod 4711 /s/d/f && chmod 3775 /s/d
FROM base
RUN mkdir -m 2775 /sg /lk && chgrp 7 /sg /lk && chown 9 /lk && mkdir /lk/in && \
    mkdir -m 1777 /sg/t && touch /sg/t/f && mkdir /n && touch /n/f && ln -s f /n/l
COPY f d /c/
COPY f /sg/f
COPY --chown=5:6 d /sg/d/
COPY --link f /lk/f
ADD a.tar /sg/
WORKDIR /w/x
RUN touch /c/z /sg/t/z /w/x/z; mkdir /sg/made /lk/made; echo >> /etc/passwd
RUN --mount=type=cache,target=/cc,id=a --mount=type=cache,target=/cs,id=b,from=s,source=/s \
    --mount=type=tmpfs,target=/tt --mount=type=bind,target=/b --mount=type=bind,target=/bw,rw \
    --mount=type=bind,target=/bs,from=s,source=/s \
    touch /cc/x /tt/x /bw/x; mkdir /cc/d /newdir; umask; \
    find / -xdev \\( -path /proc -o -path /sys -o -path /dev \\) -prune -o \
    -exec stat -c '= %n %a %u:%g' {} +; \
    find /cc /cs /tt /b /bw /bs -exec stat -c '= %n %a %u:%g' {} +
"""


def _acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


_ALL = 0xFFFFFFFF


def setgid(folder: Path) -> None:
    """A folder that gives its group away."""
    os.chown(folder, -1, 50)
    folder.chmod(0o2775)


def acl(*entries: tuple[int, int, int]) -> Callable[[Path], None]:
    """A folder with a default ACL: (tag, permissions, id)."""

    def give(folder: Path) -> None:
        try:
            os.setxattr(folder, "system.posix_acl_default", _acl(*entries))
        except OSError as e:
            lacking(f"no ACLs here: {e.strerror}")

    return give


FOLDERS = {
    "setgid": setgid,
    "strict ACL": acl((1, 7, _ALL), (4, 0, _ALL), (0x20, 0, _ALL)),
    "ACL of a user": acl((1, 7, _ALL), (2, 7, 1), (4, 5, _ALL), (0x10, 7, _ALL), (0x20, 5, _ALL)),
}


def all_of_them(folder: Path) -> None:
    """Setgid, and an ACL that names a user."""
    setgid(folder)
    FOLDERS["ACL of a user"](folder)


class Place:
    """Where one user builds, in one way."""

    def __init__(self, folder: Path, base: Path, before: list[str], flags: list[str]) -> None:
        self.folder, self.base, self.before, self.flags = folder, base, before, flags
        self.context = folder / "context"
        self.made = 0

    def store(self, give: Callable[[Path], None] | None) -> Path:
        """The folder for a store, in one of a kind."""
        self.made += 1
        parent = self.folder / f"p{self.made}"
        parent.mkdir()
        shutil.chown(parent, self.folder.stat().st_uid, self.folder.stat().st_gid)
        if give is not None:
            give(parent)
        return parent / "store"

    def build(self, store: Path, umask: int = 0o022) -> list[str]:
        """What the last step saw, and what the image has."""
        out = self.folder / f"out{self.made}.tar"
        done = subprocess.run(
            [*self.before, *IMAGESMITH, "build", "--root", str(store), "--build-context",
             f"base=oci-layout://{self.base}", "-o", f"type=tar,dest={out}", "--no-cache", "--progress",
             "plain", *self.flags, str(self.context)],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd="/", umask=umask,
            env={**os.environ, "HOME": str(self.folder)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        seen = sorted(line.partition(" = ")[2] for line in done.stderr.splitlines() if " = /" in line)
        assert len(seen) > 50
        with tarfile.open(fileobj=io.BytesIO(out.read_bytes())) as tar:
            return seen + sorted(f"{m.name} {m.mode:o} {m.uid}:{m.gid}" for m in tar)


@pytest.fixture(
    scope="module", params=[("root", "native"), ("root", "chroot"), ("lent", "native"), ("one", "native")],
    ids="-".join,
)  # fmt: skip
def place(request: pytest.FixtureRequest, base_image: Path) -> Iterator[Place]:
    need_root()
    who, isolation = request.param
    with ExitStack() as stack:
        user = "root" if who == "root" else ordinary_user(who == "lent")
        folder, base = stack.enter_context(place_of(user, base_image))
        made = Place(folder, base, [] if who == "root" else as_user(user), ["--isolation", isolation])
        (made.context / "d").mkdir(parents=True)
        for name in ("f", "d/g"):
            (made.context / name).write_text("x\n")
        with tarfile.open(made.context / "a.tar", "w") as tar:
            for name, mode, kind in (("u", 0o2750, tarfile.DIRTYPE), ("u/f", 0o640, tarfile.REGTYPE)):
                info = tarfile.TarInfo(name)
                info.mode, info.type, info.uid, info.gid = mode, kind, 3, 4
                tar.addfile(info)
        (made.context / "Dockerfile").write_text(DOCKERFILE)
        subprocess.run(["chmod", "-R", "go=rX,u=rwX", str(made.context)], check=True)
        yield made


@pytest.fixture(scope="module")
def usual(place: Place) -> list[str]:
    """What is built in a store in a folder of the usual kind."""
    return place.build(place.store(None))


@pytest.mark.parametrize("kind", FOLDERS)
def test_files_owners_and_modes_do_not_depend_on_it(place: Place, usual: list[str], kind: str) -> None:
    assert place.build(place.store(FOLDERS[kind])) == usual


def test_nor_on_the_folders_of_a_store_that_is_there(place: Place, usual: list[str]) -> None:
    store = place.store(None)
    assert place.build(store, umask=0o077) == usual
    shutil.rmtree(store / "cachemounts")
    for name in ("", "work", "layers", "cachemounts"):
        (store / name).mkdir(exist_ok=True)
        all_of_them(store / name)
        shutil.chown(store / name, place.folder.stat().st_uid)  # not what is in it: set-uid bits would go
    assert place.build(store, umask=0o077) == usual


def test_a_setgid_folder_of_the_image_gives_its_group_to_what_a_step_makes_only(
    place: Place, usual: list[str]
) -> None:
    seen = {line.split(" ")[0]: line.split(" ", 1)[1] for line in usual if line.startswith("/")}
    assert seen["/sg"] == "2775 0:7"
    assert seen["/sg/t"] == "1777 0:7"
    assert seen["/sg/f"] == "644 0:0"
    assert seen["/sg/d/g"] == "644 5:6"
    assert seen["/sg/u"] == "2750 3:4"
    assert seen["/sg/u/f"] == "640 3:4"
    assert seen["/sg/made"] == "2755 0:7"
    assert seen["/lk"] == "755 0:0"
    assert seen["/lk/f"] == "644 0:0"
    assert seen["/lk/in"] == "2755 0:7"
    assert seen["/lk/made"] == "755 0:0"
    assert seen["/c/f"] == "644 0:0"
    assert seen["/cc"] == "755 0:0"
    assert seen["/cs/d"] == "3775 0:0"
    assert seen["/cs/d/f"] == "4711 0:0"
