"""Random builds one after the other in one store, each compared with the same build in an empty store.

It is a program, not a module of tests, for a process enters namespaces once, and before it has threads; it
builds in them itself, as the command does, for what steps left in a store may be of ids that only they have:

    python -m tests.property.sequences WAY FOLDER COUNT [SEED [--small]]

WAY is `auto`, `chroot`, `extracting` (auto, but no layer is mounted from a file), or `cached` (auto, but what
the builds share is a cache in a folder, merged with each time, and each has an empty store). SEED is that of
the first sequence; the one that fails is printed with its Dockerfiles, with --small after leaving out what is
not needed.

Compared are the layers' bytes as tars, and what each RUN printed: the whole file system as it found it. Times
of now are all one; all others come from a few, and contents, names, modes and owners from a few as well, so
that builds meet the same layers over other files.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import re
import shutil
import sys
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import imagesmith
from imagesmith.events import Event, EventSink, Log
from imagesmith.fs.jail import remove_tree
from imagesmith.image.result import BuildResult
from imagesmith.layer.decompress import decompressed
from imagesmith.request import BuildRequest
from imagesmith.session import run_build
from imagesmith.settings import Settings
from imagesmith.store.store import Store
from imagesmith.worker.sandbox.world import enter
from imagesmith.worker.snapshot import choose
from tests.property.randombuilds import Maker, Plan

OLD_S = 1_000_000_000
#: Between these a time is one of now, which no two builds have in common.
_NOW_S = (1_600_000_000, 1_900_000_000)
_APPLETS = (
    "awk", "cat", "chmod", "chown", "cp", "echo", "find", "ln", "md5sum", "mkdir", "mkfifo", "mv", "readlink",
    "rm", "sed", "sh", "sort", "stat", "test", "touch", "true",
)  # fmt: skip
#: Prints the file system: times of now as one word, names of one file by the first of them.
_SEE = r"""#!/bin/sh
find /etc /new /opt /tmp /w -xdev ! -path '/etc/hosts' ! -path /etc/resolv.conf \
  -exec stat -c '%n|%F|%a|%u:%g|%y|%Y|%h|%d:%i|%s' {} + 2>/dev/null | sort | awk -F'|' '{
    t = ($6 > 1600000000 && $6 < 1900000000) ? "now" : $5
    size = ($2 == "directory") ? "" : $9; links = ($2 == "directory") ? "" : $7
    if (!($8 in first) || links < 2) first[$8] = $1
    print $1, $2, $3, $4, t, links, size, first[$8] }'
find /w /opt -xdev -type f -exec md5sum {} + 2>/dev/null | sort -k2
find /w /opt -xdev -type l 2>/dev/null | sort | while read -r l; do echo "$l -> $(readlink "$l")"; done
"""
#: Gives whatever has a time of now an old one, so that two builds may make the same layer.
_STILL = "#!/bin/sh\nfind /w /opt /etc /seen -xdev -newer /bin/still -exec touch -h -d @1000000000 {} +\n"
_WROTE = "#!/bin/sh\nsee >/seen/$1; touch -d @1000000000 /seen/$1 /seen\n"


def make_base(folder: Path) -> Path:
    """A small image with busybox, some folders and files, and the scripts above."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, kind: bytes, mode: int, data: bytes = b"", link: str = "", **more: Any) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size, info.linkname = kind, mode, len(data), link
            info.mtime = more.pop("mtime", OLD_S)
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))

        for name, mode in (
            ("bin", 0o755), ("dev", 0o755), ("etc", 0o755), ("proc", 0o755), ("sys", 0o755), ("tmp", 0o1777),
            ("seen", 0o1777), ("w", 0o777), ("w/d", 0o755), ("opt", 0o750),
        ):  # fmt: skip
            add(name, tarfile.DIRTYPE, mode)
        add("bin/busybox", tarfile.REGTYPE, 0o755, Path("/bin/busybox").read_bytes())
        for name in _APPLETS:
            add(f"bin/{name}", tarfile.SYMTYPE, 0o777, link="busybox")
        for name, text in (("see", _SEE), ("wrote", _WROTE), ("still", _STILL)):
            add(f"bin/{name}", tarfile.REGTYPE, 0o755, text.encode(), mtime=1_550_000_000)
        add("etc/passwd", tarfile.REGTYPE, 0o644, b"root:x:0:0::/:/bin/sh\nbuilder:x:1000:1001::/w:/bin/sh\n")
        add("etc/group", tarfile.REGTYPE, 0o644, b"root:x:0:\nbuilders:x:1001:\n")
        add("w/f", tarfile.REGTYPE, 0o644, b"base\n")
        add("w/d/x", tarfile.REGTYPE, 0o644, b"x of base\n", uid=1000, gid=1001)
        add("w/d/y", tarfile.LNKTYPE, 0o644, link="w/d/x", uid=1000, gid=1001)
        add("w/d/l", tarfile.SYMTYPE, 0o777, link="../f", uid=1000)
        add("opt/g", tarfile.REGTYPE, 0o4755, b"g\n")
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(data),
        }

    layer = blob(gzip.compress(raw.getvalue(), 1, mtime=0), "layer.v1.tar+gzip")
    diff_id = f"sha256:{hashlib.sha256(raw.getvalue()).hexdigest()}"
    config = {
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]}, "history": [{"created_by": "base"}],
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "config.v1+json"), "layers": [layer],
    }  # fmt: skip
    top = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    return folder


# --- building and comparing --------------------------------------------------------------------


@dataclass
class Outcome:
    """What a build came to."""

    error: str = ""
    layers: list[list[tuple[object, ...]]] = field(default_factory=list)
    diff_ids: list[str] = field(default_factory=list)
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)


class Bench:
    """Builds in stores below a folder."""

    def __init__(self, folder: Path, isolation: str, *, cached: bool = False) -> None:
        """Enter the namespaces that RUN needs, for good; `cached`: builds share a cache and no store."""
        self.folder, self.world, self.cached = folder, enter(isolation), cached
        self.base = make_base(folder / "base")

    def _here(self, request: BuildRequest, root: str, _isolation: str, events: EventSink) -> BuildResult:
        """Build in this process."""
        return run_build(request, Settings.load(root), self.world, events)

    def build(self, what: Plan, store: Path, cache: str = "") -> Outcome:
        """Build in a store, with a cache that is a folder if one is named."""
        context = self.folder / "context"
        shutil.rmtree(context, ignore_errors=True)
        for name, (text, mode, time_s) in what.files.items():
            path = context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
            path.chmod(mode)
            os.utime(path, (time_s, time_s))
        for path in (context, *context.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
                os.utime(path, (OLD_S, OLD_S))
        file = self.folder / "Dockerfile"
        file.write_text("\n".join(what.lines) + "\n")
        out, names, said = Outcome(), dict[int, str](), dict[int, bytes]()

        def told(event: Event) -> None:
            if isinstance(event, Log) and event.stream == 1:
                said[event.step] = said.get(event.step, b"") + event.data
            elif hasattr(event, "name") and hasattr(event, "step"):
                names[event.step] = re.sub(r"^\[.*?\] ", "", event.name)

        try:
            with patch("imagesmith.child.build_in_child", self._here):
                built = imagesmith.build(
                    context, dockerfile=file, root=store, events=told, tags=["made:1"],
                    contexts={"base": f"oci-layout://{self.base}"}, no_cache=what.no_cache,
                    build_args={"SOURCE_DATE_EPOCH": what.epoch} if what.epoch else {},
                    outputs=["type=image,name=made:1,rewrite-timestamp=true"] if what.epoch else (),
                    cache_from=[f"type=local,src={cache}"] if cache and Path(cache).exists() else (),
                    cache_to=[f"type=local,dest={cache},mode=max,merge=true"] if cache else (),
                )  # fmt: skip
        except imagesmith.ImagesmithError as e:
            out.error = re.sub(r"snap-\w+/\w+", "", str(e))
        else:
            with Store(store) as opened:
                image = built.image
                for d, diff_id in zip(image.manifest.layers[1:], image.config.diff_ids[1:], strict=True):
                    with opened.blobs.open(d.digest) as raw:
                        out.layers.append(_rows(decompressed(raw).read(-1)))
                    out.diff_ids.append(str(diff_id))
        out.seen = Counter((names.get(n, ""), text.decode("utf-8", "replace")) for n, text in said.items())
        return out

    def differs(self, plans: list[Plan]) -> str:
        """What is different where a sequence of builds shares a store; '' if nothing is."""
        used, cache = self.folder / "used", str(self.folder / "cache") if self.cached else ""
        remove_tree(used)
        remove_tree(self.folder / "cache")
        for n, what in enumerate(plans):
            if cache:  # what it knows of earlier builds is what the cache has
                remove_tree(used)
            shared = self.build(what, used, cache)
            empty = self.folder / "empty"
            remove_tree(empty)
            alone = self.build(what, empty)
            if found := difference(shared, alone, exact=bool(what.epoch) and int(what.epoch) < _NOW_S[0]):
                return f"build {n + 1}: {found}"
        return ""

    def smaller(self, plans: list[Plan]) -> list[Plan]:
        """The same failure with fewer builds and instructions."""
        again = True
        while again:
            again = False
            for n in reversed(range(len(plans))):
                fewer = plans[:n] + plans[n + 1 :]
                if len(plans) > 1 and self.differs(fewer):
                    plans, again = fewer, True
                    continue
                for at in reversed(range(len(plans[n].lines))):
                    lines = plans[n].lines[:at] + plans[n].lines[at + 1 :]
                    if not lines or not lines[0].startswith("FROM"):
                        continue
                    one = Plan(lines, plans[n].files, plans[n].epoch, plans[n].no_cache)
                    fewer = [*plans[:n], one, *plans[n + 1 :]]
                    if self.differs(fewer):
                        plans, again = fewer, True
        return plans


def difference(shared: Outcome, alone: Outcome, *, exact: bool) -> str:
    """What differs between a build in a used store and the same in an empty one."""
    if bool(shared.error) != bool(alone.error):
        return f"it says {shared.error!r} instead of {alone.error!r}"
    if shared.error:  # of two stages either may fail first, and the other is stopped
        return ""
    for name, text in shared.seen - alone.seen:
        rows = set(text.splitlines())
        lines = min((rows ^ set(t.splitlines()) for n, t in alone.seen if n == name), key=len, default=rows)
        return f"{name} sees other files: {sorted(lines)[:8]}"
    for n, (one, two) in enumerate(zip(shared.layers, alone.layers, strict=True)):
        if one != two:
            return f"layer {n + 1} has {sorted(set(one) ^ set(two), key=str)[:6]}"
    if exact and shared.diff_ids != alone.diff_ids:
        return "layers have other bytes"
    return ""


def _rows(tar: bytes) -> list[tuple[object, ...]]:
    """The entries of a layer."""
    rows: list[tuple[object, ...]] = []
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        for m in opened:
            data = opened.extractfile(m) if m.isreg() else None
            text = data.read() if data is not None else b""
            time = "now" if _NOW_S[0] < m.mtime < _NOW_S[1] else m.mtime
            rows.append((m.name, m.type, m.mode, m.uid, m.gid, time, m.linkname, text))
    return rows


def main() -> None:
    """Try sequences until one fails."""
    way, place, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    first = int(sys.argv[4]) if len(sys.argv) > 4 else random.SystemRandom().randrange(1 << 40)
    if way == "extracting":
        choose.images_work = lambda *_: "not wanted"  # type: ignore[assignment]
    os.umask(0o022)
    bench = Bench(place, "chroot" if way == "chroot" else "auto", cached=way == "cached")
    for seed in range(first, first + count):
        if seed != first and not (seed - first) % 50:
            print(f"{seed - first} of {count} are the same", file=sys.stderr, flush=True)
        plans = Maker(random.Random(seed)).plans()
        found = bench.differs(plans)
        if found:
            print(f"seed {seed}, {way}: {found}")
            small = bench.smaller(plans) if "--small" in sys.argv else plans
            print(f"\n{bench.differs(small)}\n" + "\n".join(p.shown() for p in small))
            sys.exit(1)
    print(f"{count} sequences from seed {first}, {way}: all the same")


if __name__ == "__main__":
    main()
