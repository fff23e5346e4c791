"""Mistakes at the command line: one line that says what, where and what to do, and the status README tells.

Each row is what somebody typed in the world of prepared.py. Nothing may be left of it: no file that was half
written, no traceback, no number of the machine's.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.prepared import World, make_world
from tests.support import small_disk

#: What a line of standard error may be beside the error and its hint: progress, and a Dockerfile's lines.
_BESIDE = re.compile(r"#\d|------|\S+:\d+$| +\d+ \||.*\^|warning: |Dockerfile:|\S+: waiting |$| {12}")

FILES = {
    "bad.json": "{",
    "list.json": "[1]",
    "auths.json": '{"auths": {"{closed}": {"auth": "smith"}}}',
    "broken.tar": gzip.compress(b"x" * 2048, mtime=0)[:-9],
    "text.tar": "this is no archive\n",
    "bad.conf": "[[registry]\n",
    "list.txt": "one two three\n",
    "bad-ignore/Dockerfile": "FROM scratch\nCOPY . /\n",
    "bad-ignore/.dockerignore": "[a-\n",
    "empty/.keep": "",
    "Dockerfile.typo": "FROM scratch\nCOPPY greeting /\n",
    "Dockerfile.flag": "FROM scratch\nCOPY --chwon=1 greeting /\n",
    "Dockerfile.missing": "FROM scratch\nCOPY greetings /\n",
    "Dockerfile.stage": "FROM scratch AS builder\nCOPY greeting /\n"
    "FROM scratch\nCOPY --from=biulder /greeting /\n",
    "Dockerfile.mount": "FROM {open}/team/app:1 AS base\nRUN --mount=type=bind,from=bse,target=/x true\n",
    "Dockerfile.from": "FROM scratch AS builder\nFROM biulder\n",
    "Dockerfile.empty": "# nothing\n",
    "Dockerfile.absent": "FROM {open}/team/absent:1\n",
    "Dockerfile.down": "FROM {down}/team/app:1\n",
    "Dockerfile.ref": "FROM App:1\n",
    "Dockerfile.arg": "FROM $BASE\n",
    "Dockerfile.quote": "FROM scratch\nCMD [\"a\", 'b']\nENV A\n",
    "Dockerfile.sum": "FROM scratch\nADD --checksum=sha256:12 greeting /\n",
    "Dockerfile.platform": "FROM --platform=linux/amd65/x/y scratch\n",
}

MISTAKES = [
    # commands
    ("imagesmith biuld .", 2, "unknown command: biuld (did you mean build?)"),
    ("imagesmith imagetools inspect x", 2, "unknown command: imagetools"),
    ("imagesmith --vresion", 2, "unknown option: --vresion (did you mean --version?)"),
    ("imagesmith help biuld", 2, "unknown command: biuld (did you mean build?)"),
    ("imagesmith version now", 2, "version takes --json"),
    ("imagesmith cache lst", 2, "lst"),
    ("imagesmith index craete x y", 2, "craete"),
    ("imagesmith tag app:1", 2, "new"),
    ("imagesmith build . ..", 2, ".."),
    # flags of ours and of other tools
    ("imagesmith build --no-cahce .", 2, "unknown flag: --no-cahce (did you mean --no-cache?)"),
    ("imagesmith build --pull=maybe .", 2, "--pull=maybe: a switch is true or false"),
    ("imagesmith build -t", 2, "expected one argument"),
    ("imagesmith build --sbom app", 2, "invalid value app"),
    ("imagesmith build --provenance complete-materials=1 .", 2, "nobody else can fetch local://dockerfile"),
    ("imagesmith build --platform linux/amd64,linux/arm64 -o type=docker,dest=x .", 2, "manifest lists"),
    ("imagesmith build --progress loud .", 2, "loud"),
    ("imagesmith build --isolation docker .", 2, "docker"),
    ("imagesmith build --load=minikube -t a .", 2, "load=minikube: who is that?"),
    ("imagesmith build --single-snapshot .", 2, "--single-snapshot: a flag of another tool"),
    ("imagesmith build --provenance=mode=most .", 2, 'invalid mode "most"'),
    ("imagesmith build --memory much .", 2, "memory: invalid size"),
    ("imagesmith build --destination {open}/a .", 2, "--destination: a flag of another tool"),
    ("imagesmith build --context dir://x --no-push", 2, "--context: a flag of another tool"),
    ("imagesmith build --skip-tls-verify .", 2, "--skip-tls-verify: a flag of another tool"),
    ("imagesmith build --tls-verify=false .", 2, "--tls-verify=false: a flag of another tool"),
    ("imagesmith build --jobs 4 .", 2, "--jobs: a flag of another tool"),
    ("imagesmith copy --creds a:b {open}/team/app:1 oci:x", 2, "--creds: a flag of another tool"),
    (
        "imagesmith copy --src-creds a:b --src-no-creds app:1 oci:x",
        2,
        "--src-creds and --src-no-creds exclude",
    ),
    ("imagesmith copy --src-password b app:1 oci:x", 2, "--src-password without --src-username"),
    ("imagesmith copy --src-creds :b app:1 oci:x", 2, "--src-creds: expected USER:PASSWORD"),
    ("imagesmith copy --dest-creds a app:1 oci:x </dev/null", 2, "no password on standard input"),
    ("imagesmith copy --dest-authfile nope app:1 oci:x", 2, "--dest-authfile nope: no such file"),
    ("imagesmith copy --src-cert-dir nope app:1 oci:x", 2, "--src-cert-dir nope: no such folder"),
    ("imagesmith copy --insecure --src-tls-verify app:1 oci:x", 2, "exclude each other"),
    ("imagesmith copy --multi-arch index-only app:1 oci:x", 2, "index-only: registries refuse an index"),
    ("imagesmith copy --encryption-key k app:1 oci:x", 2, "--encryption-key: a flag of another tool"),
    ("imagesmith copy --sign-by me app:1 oci:x", 2, "--sign-by: a flag of another tool"),
    ("imagesmith copy --retry many app:1 oci:x", 2, "'many' is no number"),
    ("imagesmith copy --retry-delay soon app:1 oci:x", 2, "soon"),
    ("imagesmith copy --compression-level 3 app:1 oci:x", 2, "--compression-level without --compression"),
    ("imagesmith copy --compression gzip --compression-level 99 app:1 oci:x", 2, "99 is not a level of gzip"),
    ("imagesmith copy --force-compression app:1 oci:x", 2, "none is named"),
    ("imagesmith copy --compression zstd -f docker app:1 oci:x", 2, "no place in images of Docker's types"),
    ("imagesmith copy --compression zstd --preserve-digests app:1 oci:x", 2, "are to be kept"),
    ("imagesmith copy --compression zstd --referrers app:1 oci:x", 2, "is about it as it was"),
    ("imagesmith copy --compression zstd --dry-run store:app:1 oci:x", 2, "not known before it is done"),
    ("imagesmith copy --all-tags {open}/team/app:1 oci:x", 2, "leave it out of the name"),
    ("imagesmith copy --all-tags {open}/team/app oci-archive:x", 2, "several tags go between repositories"),
    ("imagesmith copy --tags 'regex:(a+)+' {open}/team/app oci:x", 2, "may take for ever"),
    ("imagesmith copy --tags 'regex:(' {open}/team/app oci:x", 2, "regex:("),
    ("imagesmith copy --tags 'v*' {open}/team/app oci:x", 7, "no tag for v*"),
    ("imagesmith copy --all-tags --digest-file d {open}/team/app oci:x", 2, "--digest-file: several tags"),
    ("imagesmith pull --src-creds a:b {open}/team/app:1", 2, "--src-creds: a flag of another tool"),
    ("imagesmith diff --creds a:b app:1 {open}/team/app:1", 2, "--creds: a flag of another tool"),
    ("imagesmith mirror --append-suffix x list.txt", 2, "--append-suffix: a flag of another tool"),
    ("imagesmith login --tls-verify=false -u a -p b {open}", 2, "--tls-verify=false: a flag of another tool"),
    ("imagesmith run --detach app:1", 2, "--detach: a flag of another tool"),
    ("imagesmith run -it app:1 < /dev/null", 2, "-t needs a terminal"),
    ("imagesmith images --filter x", 2, "--filter: a flag of another tool"),
    ("imagesmith rmi -f nope", 7, "nope"),
    # values
    ("imagesmith build -t App:1 .", 2, "App:1"),
    ("imagesmith build -t a:b:c .", 2, "a:b:c"),
    ("imagesmith build --platform linux/amd65/x/y .", 2, "linux/amd65/x/y"),
    (
        "imagesmith build --platform linux/amd64,linux/arm64 --build-arg BUILDKIT_MULTI_PLATFORM=0 .",
        2,
        "multiple target",
    ),
    ("imagesmith build --shm-size lots .", 2, "lots"),
    ("imagesmith build --ulimit nofile .", 2, "nofile"),
    ("imagesmith build --add-host nohost .", 2, "nohost"),
    ("imagesmith build --step-timeout soon .", 2, "soon"),
    ("imagesmith build --network bridge .", 2, "bridge"),
    ("imagesmith build --allow everything .", 2, "everything"),
    ("imagesmith build --secret token .", 2, "token"),
    ("imagesmith build --secret id=t,src=nope .", 2, "nope"),
    ("imagesmith build --ssh default=nope .", 2, "nope"),
    ("imagesmith build --label =x .", 2, ""),
    ("imagesmith build -o type=zip,dest=x .", 2, "zip"),
    ("imagesmith build -o type=oci,dset=x .", 2, "dset (did you mean dest?)"),
    ("imagesmith build -o type=oci,dest=x.tar,compression=brotli .", 2, "brotli"),
    ("imagesmith build --cache-from type=gha .", 2, "gha"),
    ("imagesmith build --cache-to type=registry .", 2, "ref"),
    ("imagesmith build --cache-to type=local,dest=c,mode=all .", 2, "all"),
    ("imagesmith build --call lnit .", 2, "lnit"),
    ("imagesmith build --push .", 2, "tag is needed"),
    ("imagesmith build --target fiels .", 3, '"fiels" could not be found (did you mean files?)'),
    ("imagesmith build --build-context base .", 2, "base"),
    ("imagesmith inspect -f '{{.Digset}}' app:1", 2, "there is no field Digset (did you mean Digest?)"),
    ("imagesmith inspect -f '{{.Digest' app:1", 2, "template"),
    ("imagesmith mutate app:1 --env A -t x", 2, "--env"),
    ("imagesmith mutate app:1 --label a=b", 2, "the result needs a name"),
    ("imagesmith prune --older-than old", 2, "old"),
    ("imagesmith blob get {open}/team/app sha256:12", 2, "sha256:12"),
    ("imagesmith registry serve --addr nowhere", 2, "nowhere"),
    ("imagesmith copy dir:x oci:y", 2, "places of the kind dir are not known"),
    ("imagesmith copy {open}/team/app:1 docker-daemon:app:1", 2, "docker-daemon"),
    ("imagesmith mirror --to {open} list.txt", 2, "list.txt:1"),
    ("imagesmith mirror -j many list.txt", 2, "many"),
    # files and folders that are not there, or the other kind
    ("imagesmith build nope", 5, "nope"),
    ("imagesmith build greeting", 5, "greeting"),
    ("imagesmith build empty", 5, "Dockerfile: no such file"),
    ("imagesmith build -f nope .", 5, "nope: no such file"),
    ("imagesmith build -f empty .", 5, "empty is not a file"),
    ("imagesmith build -o type=oci,dest=no/x.tar .", 2, "no/x.tar"),
    ("imagesmith build -o type=local,dest=greeting .", 2, "greeting"),
    ("imagesmith build -o type=oci,tar=false,dest=greeting/x .", 2, "greeting"),
    ("imagesmith build -o type=tar,dest=empty .", 2, "empty"),
    ("imagesmith build --iidfile no/x .", 2, "no/x"),
    ("imagesmith build --digest-file empty .", 2, "empty"),
    ("imagesmith build --metadata-file no/x .", 2, "no/x"),
    ("imagesmith build --report no/x .", 2, "no/x"),
    ("imagesmith build --cache-to type=local,dest=greeting/c .", 2, "greeting"),
    ("imagesmith save -o no/x.tar app:1", 2, "no/x.tar"),
    ("imagesmith save -o empty app:1", 2, "empty"),
    ("imagesmith export app:1 no/x.tar", 2, "no/x.tar"),
    ("imagesmith cache export -o no/x.tar", 2, "no/x.tar"),
    ("imagesmith copy store:app:1 oci-archive:no/x.tar", 2, "no/x.tar"),
    ("imagesmith copy store:app:1 oci:greeting/x:1", 2, "greeting"),
    ("imagesmith load -i nope.tar", 2, "nope.tar"),
    ("imagesmith load -i empty", 2, "empty"),
    ("imagesmith cache import nope.tar", 2, "nope.tar"),
    ("imagesmith mirror --to {open} nope.txt", 2, "nope.txt"),
    ("imagesmith append -b app:1 nope.tar -t x", 2, "nope.tar"),
    ("imagesmith attach {open}/team/app:1 nope --artifact-type a/b", 2, "nope"),
    ("imagesmith blob put {open}/team/app nope", 2, "nope"),
    ("imagesmith manifest put {open}/team/app:1 nope", 2, "nope"),
    ("imagesmith registry serve --dir greeting", 8, "greeting"),
    ("imagesmith registry serve --dir .registries/new --htpasswd nope --addr 127.0.0.1:0", 2, "nope"),
    (
        "imagesmith registry serve --dir .registries/new --tls-cert nope --tls-key nope --addr 127.0.0.1:0",
        2,
        "nope",
    ),
    ("imagesmith registry serve --dir .registries/new --addr {open}", 7, "{open}: address already in use"),
    ("imagesmith registry gc --dir nope", 2, "nope"),
    ("imagesmith images --root greeting", 8, "greeting"),
    ("imagesmith build --root greeting/x .", 8, "greeting"),
    ("imagesmith push --authfile nope app:1 {open}/x/y", 2, "--authfile nope"),
    ("imagesmith build --authfile nope .", 2, "--authfile nope"),
    ("imagesmith build --cert-dir nope .", 2, "--cert-dir nope"),
    ("imagesmith login --cert-dir nope -u a -p b {open}", 2, "--cert-dir nope"),
    # what files hold
    ("imagesmith build -f Dockerfile.typo .", 3, "unknown instruction: COPPY (did you mean COPY?)"),
    ("imagesmith build -f Dockerfile.flag .", 3, "chwon"),
    ("imagesmith build -f Dockerfile.missing .", 5, "greetings"),
    ("imagesmith build -f Dockerfile.empty .", 3, ""),
    ("imagesmith build -f Dockerfile.ref .", 3, "App"),
    ("imagesmith build -f Dockerfile.arg .", 3, "BASE"),
    ("imagesmith build -f Dockerfile.quote .", 3, "ENV"),
    ("imagesmith build -f Dockerfile.sum .", 3, "sha256:12"),
    ("imagesmith build -f Dockerfile.platform .", 3, "linux/amd65/x/y"),
    ("imagesmith build -f broken.tar .", 3, ""),
    ("imagesmith build bad-ignore", 5, ".dockerignore"),
    ("imagesmith load -i broken.tar", 6, "broken.tar"),
    ("imagesmith load -i text.tar", 6, "text.tar"),
    ("imagesmith load < /dev/null", 6, "standard input"),
    ("imagesmith cache import text.tar", 6, "text.tar"),
    ("imagesmith append -b app:1 text.tar -t store:x", 6, "text.tar"),
    ("imagesmith copy oci-archive:text.tar store:x", 6, "text.tar"),
    ("imagesmith inspect oci:empty", 7, "empty"),
    ("imagesmith manifest put {open}/team/app:2 bad.json", 6, "bad.json"),
    ("imagesmith push --authfile bad.json app:1 {open}/x/y", 2, "bad.json"),
    ("imagesmith push --authfile list.json app:1 {open}/x/y", 2, "list.json"),
    ("imagesmith push --authfile auths.json app:1 {closed}/x/y", 2, "auths.json"),
    ("imagesmith push --registries-conf bad.conf app:1 {open}/x/y", 2, "bad.conf"),
    ("imagesmith build - < broken.tar", 6, "standard input"),
    # registries and images
    ("imagesmith build -f Dockerfile.absent .", 7, "{open}/team/absent:1"),
    ("imagesmith build -f Dockerfile.down .", 7, "{down}"),
    ("imagesmith build -f Dockerfile.from .", 7, "(did you mean builder?)"),
    ("imagesmith build -f Dockerfile.stage .", 7, "(did you mean builder?)"),
    ("imagesmith build -f Dockerfile.mount .", 7, "(did you mean base?)"),
    ("imagesmith push nope:1", 7, "nope:1"),
    ("imagesmith push app:1 {down}/x/y", 7, "{down}"),
    ("imagesmith pull {open}/team/app:absent", 7, "{open}/team/app:absent"),
    ("imagesmith pull {closed}/team/app", 7, "{closed}"),
    ("imagesmith pull {tls}/team/app", 7, "certificate"),
    ("imagesmith pull no-such-host.invalid/a", 7, "no-such-host.invalid"),
    ("imagesmith pull --platform linux/s390x {open}/team/app:1", 7, "linux/s390x"),
    (
        "echo wrong | imagesmith login -u smith --password-stdin {closed}",
        7,
        "incorrect user name or password",
    ),
    ("imagesmith login -u smith {closed} < /dev/null", 2, "password"),
    ("imagesmith login {down} -u a -p b", 7, "{down}"),
    ("imagesmith rmi nope", 7, "nope"),
    ("imagesmith tag nope a", 7, "nope"),
    ("imagesmith run nope:1 true", 7, "nope:1"),
    ("imagesmith tags {open}/team/none", 7, "{open}/team/none"),
    ("imagesmith blob get {open}/team/app sha256:" + "0" * 64, 7, "sha256:0000"),
    ("imagesmith delete {open}/team/app:absent", 7, "absent"),
    ("imagesmith diff app:1 other:1", 10, "differ"),
    ("imagesmith export app:1 > /dev/full", 8, "no space left on device"),
    ("imagesmith images > /dev/full", 8, "standard output: no space left on device"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world in which the mistakes are made, all in the same one: a mistake changes nothing."""
    with make_world(tmp_path_factory.mktemp("mistakes") / "w") as world:
        for name, content in FILES.items():
            world.write(name, world.filled(content) if isinstance(content, str) else content)
        yield world


def left(folder: Path) -> set[str]:
    """The files of a folder, without those of the store and the registries."""
    return {
        os.path.join(at, name)
        for at, folders, files in os.walk(folder)
        for name in (*folders, *files)
        if not at.startswith((f"{folder}/.store", f"{folder}/.registries"))
    }


def fails(world: World, line: str, status: int, said: str = "") -> list[str]:
    """Run a line that ends with a status; return what it told: one line, and perhaps a hint."""
    done = world.run(line)
    told = [row for row in done.stderr.splitlines() if not _BESIDE.match(row)]
    assert [row.partition(":")[0] for row in told] in (["error"], ["error", "hint"]), done.stderr
    assert world.filled(said) in done.stderr
    assert done.returncode == status, done.stderr
    assert not re.search(r"Traceback|\[Errno|internal error", done.stderr)
    return told


@pytest.mark.slow
@pytest.mark.parametrize(("line", "status", "said"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_told_in_one_line(world: World, line: str, status: int, said: str) -> None:
    before = left(world.folder)
    fails(world, line, status, said)
    assert left(world.folder) == before


# --- disks that are full, and what nobody may read or write -------------------------------------------


@pytest.fixture
def small(world: World) -> Iterator[Path]:
    """A disk of 1 MB in the world, which has nothing left."""
    with small_disk(world.folder / "full", "1m") as at:
        world.write("full/filling", b"")
        with contextlib.suppress(OSError), (at / "filling").open("wb", buffering=0) as f:
            while True:
                f.write(bytes(1 << 12))
        yield at
    (world.folder / "full").rmdir()


FULL = [
    "imagesmith images --root full/s",
    "imagesmith build --root full/s .",
    "imagesmith pull --root full/s {open}/team/app:1",
    "imagesmith load --root full/s -i app.tar",
    "imagesmith build -o type=oci,dest=full/x.tar .",
    "imagesmith build -o type=oci,tar=false,dest=full/x .",
    "imagesmith build -o type=docker,dest=full/x.tar -t a .",
    "imagesmith build -o type=tar,dest=full/x.tar .",
    "imagesmith build -o type=local,dest=full/x .",
    "imagesmith build --iidfile full/x .",
    "imagesmith build --digest-file full/x .",
    "imagesmith build --metadata-file full/x .",
    "imagesmith build --report full/x .",
    "imagesmith build --cache-to type=local,dest=full/x .",
    "imagesmith save -o full/x.tar app:1",
    "imagesmith save app:1 > full/x.tar",
    "imagesmith export app:1 full/x.tar",
    "imagesmith cache export -o full/x.tar",
    "imagesmith copy store:app:1 oci:full/x:1",
    "imagesmith copy store:app:1 oci-archive:full/x.tar",
    "imagesmith copy store:app:1 docker-archive:full/x.tar",
    "imagesmith push --digest-file full/x app:1 {open}/team/app:1",
    "echo 'a password: with a colon' | imagesmith login --authfile full/x -u smith --password-stdin {closed}",
]


@pytest.mark.slow
@pytest.mark.parametrize("line", FULL)
def test_a_full_disk_is_told_wherever_it_is(world: World, small: Path, line: str) -> None:
    told = fails(world, line, 8)
    assert "no space left on device" in told[0].lower()
    assert "full" in told[0] or "standard output" in told[0]
    made = {path.relative_to(small).parts[0] for path in small.rglob("*")}
    assert made <= {"filling", "s", "x", ".x.lock"} | ({"x.tar"} if ">" in line else set())
    assert not any(path.stat().st_size == 0 for path in small.glob("x") if path.is_file())


#: The same without the right to read and write what is closed, which root has.
ORDINARY = "setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search "
CLOSED = [
    ("imagesmith build closed", 5, "closed/Dockerfile: permission denied"),
    ("imagesmith build -f closed/Dockerfile .", 5, "closed/Dockerfile: permission denied"),
    ("imagesmith build with-closed", 5, "secret"),
    ("imagesmith build -o type=oci,dest=locked/x.tar .", 5, "locked/x.tar: permission denied"),
    ("imagesmith build -o type=local,dest=locked/x .", 5, "locked/x: permission denied"),
    ("imagesmith build --iidfile locked/x .", 5, "locked/x: permission denied"),
    ("imagesmith save -o locked/x.tar app:1", 5, "locked/x.tar: permission denied"),
    ("imagesmith load -i closed.tar", 2, "closed.tar: Permission denied"),
    ("imagesmith copy store:app:1 oci:locked/x:1", 5, "locked/x: permission denied"),
    ("imagesmith images --root locked/s", 8, "locked/s"),
    ("imagesmith push --authfile closed.json app:1 {open}/x/y", 2, "closed.json"),
    ("imagesmith push --registries-conf closed.conf app:1 {open}/x/y", 2, "closed.conf"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("line", "status", "said"), CLOSED, ids=[row[0] for row in CLOSED])
def test_what_is_closed_is_told(world: World, line: str, status: int, said: str) -> None:
    for name in ("closed/Dockerfile", "closed.tar", "closed.json", "closed.conf", "with-closed/secret"):
        path = world.folder / name
        if not path.exists():
            world.write(name, "{}").chmod(0)
    world.write("with-closed/Dockerfile", "FROM scratch\nCOPY . /\n")
    (world.folder / "closed").chmod(0)
    locked = world.folder / "locked"
    locked.mkdir(exist_ok=True)
    locked.chmod(0o555)
    before = left(world.folder)
    as_ordinary = ORDINARY if os.geteuid() == 0 else ""
    fails(world, as_ordinary + line, status, said)
    assert left(world.folder) == before
