"""The conformance cases in every way that the builder is used: by whom, in which isolation, store and times.

    python3 tests/conformance/variants.py --path DIR [--jobs N] [--only GLOB] [NAME...]

What has nothing to do with each other is tried at once, since every run of all cases takes minutes.
DIR holds `imagesmith`. Without names, the variants that CI runs; `root` is not among them, for the tests
beside this file are that. Needs root, who becomes each kind of user, and the users that .ci/run makes. A
variant fails where a case fails that is not in failing.txt for it.

*Why* more than one way: what is right for root in a new store was wrong behind a chroot, with one id, in a
store that other builds had used, and in one whose folder hands its group or its ACL on.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import hashlib
import io
import json
import os
import pwd
import random
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CONFORMANCE = HERE.parent.parent / "fixtures" / "conformance"

#: Later than every time of the cases, of the base and of their epoch.
LATER_S = 1_500_000_000


@dataclass(frozen=True)
class Variant:
    """A way to build all cases.

    plain, exact   whether images are compared by what they hold, and bit for bit
    store          what has been done to the store, words of it: `used`, `setgid`, `acl`
    epoch_s        the epoch of the plain run, 0 for none
    base_s         the time of every file of the base image
    """

    name: str
    user: str = "root"
    isolation: str = ""
    store: str = ""
    epoch_s: int = 0
    base_s: int = 1_000_000_000
    plain: bool = True
    exact: bool = True
    in_ci: bool = True

    def command(self, exact: bool) -> str:
        """The runner's command for a case."""
        isolation = f"--isolation {self.isolation} " if self.isolation else ""
        epoch_s = 1_000_000_000 if exact else self.epoch_s
        epoch = f"--build-arg SOURCE_DATE_EPOCH={epoch_s} " if epoch_s else ""
        rewrite = ",rewrite-timestamp=true" if epoch_s else ""
        return (
            f"imagesmith build {isolation}{{args}} {epoch}--build-context busybox=oci-layout://{{base}} "
            f"-o type=oci,dest={{out}}{rewrite} {{context}}"
        )


VARIANTS = (
    Variant("root", in_ci=False),
    Variant("lent", user="imagesmith-lent"),
    Variant("one", user="imagesmith-ci"),
    Variant("chroot", isolation="chroot"),
    Variant("used-acl", store="used acl"),
    Variant("used-lent", user="imagesmith-lent", store="used", exact=False, in_ci=False),
    Variant("setgid-later-epoch", store="setgid", epoch_s=LATER_S + 1, exact=False),
    Variant("later-base", base_s=LATER_S, plain=False),  # times after the epoch become the epoch
)


def known_failures(variant: str, exact: bool) -> set[str]:
    """The names on the list: `NAME`, or `NAME exact` and `NAME VARIANT` for those that fail so only."""
    rows = [line.split("#")[0].split() for line in (HERE / "failing.txt").read_text().splitlines()]
    modes = {variant, "exact" if exact else "plain"}
    return {row[0] for row in rows if row and (len(row) == 1 or row[1] in modes)}


# --- stores ----------------------------------------------------------------------------------------


def _prepare(folder: Path, kinds: str) -> None:
    """Do to the folder of a store what its kinds say."""
    if "setgid" in kinds:
        os.chown(folder, -1, 50)
        folder.chmod(0o2775)
    if "acl" in kinds:
        anyone, entries = 0xFFFFFFFF, ((1, 7, 0), (4, 0, 0), (0x20, 0, 0))
        packed = (struct.pack("<HHI", tag, rights, anyone) for tag, rights, _ in entries)
        os.setxattr(folder, "system.posix_acl_default", struct.pack("<I", 2) + b"".join(packed))


#: What other projects' builds do, to the paths that the cases use too; `{n}` is the number of the build.
_STEPS = (
    "RUN echo {n} > /data", "RUN mkdir -p /d && chmod 700 /d", "RUN mkdir -p /d && chmod 755 /d",
    "WORKDIR /d", "WORKDIR /etc", "COPY f /f", "COPY f /d/", "COPY --chown=7:8 f /d/g",
    "RUN chmod 644 /etc/passwd",
    "RUN chown 0:0 /etc /bin", "RUN rm -rf /f /d/f", "RUN ln -sf f /l", "RUN cat /f > /copy; true",
    "RUN sed -i s/{n}/x/ /data; true", "RUN touch /etc/group", "RUN true", "RUN chmod 755 /f; true",
    "RUN mkdir -p /a/b && ln -f /etc/passwd /a/b/c", "USER 1000:1001", "RUN touch /tmp/mine", "COPY . /w",
    "RUN rm -rf /w/d && mkdir -p /w/d", "ENV N={n}",
)  # fmt: skip


def _others(folder: Path, count: int = 50) -> Iterator[Path]:
    """Contexts of other projects, the same ones every time."""
    for n in range(count):
        chance, context = random.Random(n), folder / f"other-{n}"
        context.mkdir(parents=True)
        (context / "f").write_text(f"project {n % 7}\n")
        steps = chance.choices(_STEPS, k=chance.randint(3, 10))
        steps = [s for i, s in enumerate(steps) if not s.startswith("USER") or i == len(steps) - 1]
        (context / "Dockerfile").write_text("\n".join(["FROM busybox", *steps]).replace("{n}", str(n)) + "\n")
        for path in (context / "f", context / "Dockerfile", context):
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (1_000_000_000, 1_000_000_000))
        yield context


# --- the runner --------------------------------------------------------------------------------------


def _retime(layout: Path, time_s: int) -> Path:
    """Give all files of the base image a time."""
    blobs = layout / "blobs" / "sha256"

    def put(data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    def read(descriptor: dict[str, Any]) -> bytes:
        return (blobs / descriptor["digest"].removeprefix("sha256:")).read_bytes()

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(read(index["manifests"][0]))
    config, out = json.loads(read(manifest["config"])), io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(gzip.decompress(read(manifest["layers"][0])))) as old,
        tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in old:
            member.mtime = time_s
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
    config["rootfs"]["diff_ids"] = [f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}"]
    manifest["layers"][0].update(put(gzip.compress(out.getvalue(), 1, mtime=0)))
    manifest["config"].update(put(json.dumps(config).encode()))
    index["manifests"][0].update(put(json.dumps(manifest).encode()))
    (layout / "index.json").write_text(json.dumps(index))
    return layout


def _become_runner(base_s: int, words: list[str]) -> int:
    """Be the cases' own runner, with a base image of another age."""
    sys.path.insert(0, str(CONFORMANCE))
    import run as runner  # type: ignore[import-not-found]  # beside the cases, not in a package

    made = runner.make_base
    runner.make_base = lambda folder: _retime(made(folder), base_s)
    sys.argv = ["run.py", *words]
    return int(runner.main())


@functools.cache
def _readable() -> Path:
    """A copy of this program and of the cases that every user can read."""
    copy = Path(tempfile.mkdtemp(prefix="imagesmith-conformance-"))
    shutil.copytree(CONFORMANCE, copy / "fixtures" / "conformance")
    shutil.copytree(HERE, copy / "tests" / "conformance")
    subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
    return copy


@dataclass(frozen=True)
class Site:
    """Who builds, where the program is, and where the store is."""

    user: pwd.struct_passwd
    path: Path
    folder: Path

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command as the user."""
        env = {
            **os.environ, "PATH": f"{self.path}:{os.environ['PATH']}", "HOME": str(self.folder),
            "IMAGESMITH_ROOT": str(self.folder / "store"), "USER": self.user.pw_name,
        }  # fmt: skip
        return subprocess.run(
            [str(w) for w in words],
            capture_output=True, text=True, errors="replace", cwd=self.folder, env=env,
            user=self.user.pw_uid, group=self.user.pw_gid, extra_groups=[], stdin=subprocess.DEVNULL,
        )  # fmt: skip


@contextmanager
def _site(variant: Variant, path: Path) -> Iterator[Site]:
    """A folder of the variant's user, which is gone afterwards with all that other ids have in it."""
    user = pwd.getpwnam(variant.user)
    with tempfile.TemporaryDirectory(prefix="imagesmith-conformance-") as name:
        folder = Path(name)
        os.chown(folder, user.pw_uid, user.pw_gid)
        folder.chmod(0o755)
        (folder / "store").mkdir()
        os.chown(folder / "store", user.pw_uid, user.pw_gid)
        _prepare(folder / "store", variant.store)
        site = Site(user, path, folder)
        if "used" in variant.store:
            _use(site)
        yield site


def _use(site: Site) -> None:
    """Build other projects into the store."""
    made = _readable() / "base"
    if not made.exists():
        code = f"import sys; sys.path.insert(0, {str(CONFORMANCE)!r}); import run, pathlib; "
        code += "run.make_base(pathlib.Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", code, made], check=True)
        subprocess.run(["chmod", "-R", "a+rX", made], check=True)
    for context in _others(site.folder / "others"):
        done = site.run(
            "imagesmith", "build", "--quiet", "--build-context", f"busybox=oci-layout://{made}", context
        )
        if done.returncode:
            raise SystemExit(f"{context}: {done.stderr}")


# --- the table is run --------------------------------------------------------------------------------


def _run(variant: Variant, site: Site, exact: bool, words: list[str]) -> bool:
    """Run all cases one way; prints a line, and each difference of a case that should pass."""
    began = time.monotonic()
    name = f"{variant.name} exact" if exact else variant.name
    flags = ["--exact" if exact else "--build", variant.command(exact), "--show", *words]
    program = _readable() / "tests" / "conformance" / Path(__file__).name
    done = site.run(sys.executable, program, "--runner", str(variant.base_s), *flags)
    blocks = re.split(r"^(?=FAIL \S+: )", done.stdout.rstrip("\n").rpartition("\n")[0], flags=re.MULTILINE)
    failed = {block.split()[1].rstrip(":"): block for block in blocks if block.startswith("FAIL ")}
    total = (done.stdout.splitlines() or [done.stderr.strip()])[-1]
    print(f"{name}: {total} ({time.monotonic() - began:.0f} s)", flush=True)
    known = known_failures(variant.name, exact)
    for case in sorted(failed.keys() - known):
        print(failed[case], flush=True)
    return re.match(r"[1-9]\d* passed, \d+ failed", total) is not None and failed.keys() <= known


def main() -> int:
    """Run the variants that were named, or those of CI."""
    if sys.argv[1:2] == ["--runner"]:
        return _become_runner(int(sys.argv[2]), sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--path", type=Path, required=True, help="the folder of `imagesmith`")
    parser.add_argument("--jobs", default=str(len(os.sched_getaffinity(0))))
    parser.add_argument("--only", default="*", help="a pattern of cases' names")
    given = parser.parse_args()
    table = {v.name: v for v in VARIANTS}
    chosen = [table[n] for n in given.names] or [v for v in VARIANTS if v.in_ci]
    words, right = ["--jobs", given.jobs, "--only", given.only], True
    try:
        for variant in chosen:
            with _site(variant, given.path.resolve()) as site:
                for exact in [False] * variant.plain + [True] * variant.exact:
                    right = _run(variant, site, exact, words) and right
    finally:
        shutil.rmtree(_readable())
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
