"""Access lists of what layers hold, which overlayfs refuses where layers are mounted from files."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.attack.rooted import put_python
from tests.support import IMAGESMITH, need_root

#: Gives files of a layer access lists by every call, and tells what it was answered.
_PROGRAM = """
import errno, os, struct
name = "system.posix_acl_access"
def acl(other):
    rows = (1, 6, -1), (2, 6, 1000), (4, 4, -1), (16, 6, -1), (32, other, -1)
    return struct.pack("=I", 2) + b"".join(struct.pack("=HHi", *row) for row in rows)
def tell(*what, **how):
    try:
        os.setxattr(*what, **how)
        print("given", flush=True)
    except OSError as e:
        print(errno.errorcode[e.errno], flush=True)
def main():
    os.chdir("/data")
    tell("/data/f", name, acl(4))
    tell("relative", name, acl(4))
    tell("/data/link", name, acl(4))
    tell("/data/folder", "system.posix_acl_default", acl(4))
    tell(os.open("/data/read", os.O_RDONLY), name, acl(0))
    tell("/data/f", "user.note", b"1")
    tell("/data/none", name, acl(4))
    tell("/data/f", name, b"nonsense")
    tell(name, name, acl(4))
    if not os.fork():
        os.setgid(1000); os.setuid(1000)
        tell("/data/kept", name, acl(4))
        tell("/data/theirs", name, acl(4))
        os._exit(0)
    os.wait()
    print(*(f"{os.stat(f).st_mode & 0o777:o}" for f in ("f", "relative", "linked", "read", "theirs", "kept")))
if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_access_lists_are_given_to_what_layers_hold(tmp_path: Path) -> None:
    need_root()
    made = {way: built(tmp_path / way, way) for way in ("native", "chroot")}
    assert made["native"] == made["chroot"]
    said, files = made["native"]
    assert said == [
        *["given"] * 6, "ENOENT", "ENOTSUP", "ENOENT", "EPERM", "given", "664 664 664 660 664 644",
    ]  # fmt: skip
    assert "data/kept" not in files  # who may not change it makes no copy of it either


def built(place: Path, isolation: str) -> tuple[list[str], list[str]]:
    """What the program says in a step over a layer of files, and what the step's own layer holds."""
    context = place / "context"
    data = context / "root" / "data"
    (data / "folder").mkdir(parents=True)
    for name in ("f", "relative", "linked", "read", "kept", "theirs"):
        (data / name).write_text(name)
        (data / name).chmod(0o644)
    (data / "link").symlink_to("linked")
    (place / "program.py").write_text(_PROGRAM)
    command = put_python(context / "root", place / "program.py")
    (context / "Dockerfile").write_text(
        "FROM scratch\nCOPY root /\nCOPY --chown=1000:1000 root/data/theirs /data/theirs\n"
        f"RUN {json.dumps(command.split())}\n"
    )
    words = ("build", "--progress", "plain", "--root", str(place / "store"), "--isolation", isolation)
    out = ("-o", f"type=oci,tar=false,dest={place / 'out'}")
    done = subprocess.run([*IMAGESMITH, *words, *out, str(context)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [
        line.split(" ", 2)[2] for line in done.stderr.splitlines() if line.startswith("#") and _told(line)
    ]
    blobs = place / "out" / "blobs" / "sha256"
    manifest = json.loads(
        (blobs / _digest(json.loads((place / "out" / "index.json").read_text()))).read_text()
    )
    if "layers" not in manifest:
        manifest = json.loads((blobs / _digest(manifest)).read_text())
    with tarfile.open(blobs / manifest["layers"][-1]["digest"].partition(":")[2]) as tar:
        return said, sorted(tar.getnames())


def _told(line: str) -> bool:
    """True of a line that the step printed: number and time are in front of it."""
    return len(words := line.split(" ", 2)) == 3 and words[1].replace(".", "").isdigit()


def _digest(index: dict[str, list[dict[str, str]]]) -> str:
    return index["manifests"][0]["digest"].partition(":")[2]
