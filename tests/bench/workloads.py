"""What is built: fixtures/bench's six workloads as they came, and those that are made here.

    cached     one stage with two RUNs, two COPYs and a RUN that works on them: what a registry cache is for
    base       one RUN on an image of 1 GiB in three layers of 1,300 files, half of it compressible
    npm        a RUN that unpacks 300 packages into node_modules as `npm install` does, without the network
    apt        a RUN of dpkg that unpacks and configures real packages of Debian, on Debian's essential ones
    copy       no build: the image of `base` is copied to another registry

Bytes are the same on every run but for `apt`, whose packages are those of Debian's mirror on that day, got by
mmdebstrap; and but for the random bytes that a RUN of `cached` writes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import shlex
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
#: Those of fixtures/bench/make_workloads.py.
AGREED = ("small", "files", "big", "runs", "stages", "install")
#: The image of 1 GiB in the registry.
LARGE = "large:latest"
DEBIAN = "debian:latest"
#: What `apt` installs with all that it depends on, and less of it for a small scale.
PACKAGES = ("tzdata", "openssl", "git", "python3", "libgtk-3-common")
OLD = 1_000_000_000
BLOCK = 1 << 20

INSTALL = """\
set -e
mkdir -p /app/node_modules/.bin /app/node_modules/.staging
cd /app/node_modules
for p in /packages/*.tgz; do
    name=${p##*/}; name=${name%.tgz}; new=.staging/$name-7f3a
    mkdir $new
    tar -xzof $p -C $new
    chmod -R u+rwX,go+rX $new/package
    chmod 755 $new/package/bin/cli.js
    sed "s|^{|{\\"_resolved\\": \\"file:$p\\",|" $new/package/package.json > $new/package/package.json.new
    mv $new/package/package.json.new $new/package/package.json
    case $name in
        nested*) to=${last:-.}/node_modules/$name; mkdir -p ${last:-.}/node_modules;;
        *) to=$name; last=$name; ln -s ../$name/bin/cli.js .bin/$name;;
    esac
    mv $new/package $to
    rmdir $new
done
rmdir .staging
"""


def make_workloads(folder: Path, address: str, scale: float) -> Path:
    """The folder with the six agreed workloads, whose base image is pushed to the registry."""
    make_base(folder, address)
    made = folder / "workloads"
    maker = [sys.executable, str(PROJECT / "fixtures/bench/make_workloads.py"), str(made)]
    subprocess.run([*maker, "--base", f"{address}/base:latest", "--scale", str(scale)], check=True)
    return made


def make_base(folder: Path, address: str) -> None:
    """Push the small base image, which all workloads but `apt` begin with."""
    sys.path.insert(0, str(PROJECT / "fixtures" / "demo"))
    import base

    base.make(folder / "base")
    _push(folder / "base", f"{address}/base:latest")


def make_more(name: str, folder: Path, address: str, scale: float) -> None:
    """Add one of this module's to the folder of workloads; `make_base` was there before.

    Raises:
        OSError, subprocess.CalledProcessError: a program that it takes is not here, or failed.
    """
    MORE[name](folder, folder / "workloads" / name, address, scale)


def _push(layout: Path, image: str) -> None:
    subprocess.run(
        ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{image}"], check=True
    )


def _text(rng: random.Random, size: int) -> bytes:
    """About 3:1 compressible."""
    return " ".join(rng.choices([f"token{n:04d}" for n in range(4096)], k=size // 9 + 1)).encode()[:size]


def _sources(folder: Path, rng: random.Random, count: int) -> None:
    """Files of 200 to 4,000 bytes, fifty in a folder."""
    for n in range(count):
        path = folder / f"part{n // 50:03d}" / f"module{n:05d}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_text(rng, rng.randint(200, 4000)))


def _cached(folder: Path, made: Path, address: str, scale: float) -> None:
    """Dependencies (4,000 files, 48 MiB), a library, its index, sources, and what is made of them."""
    del folder
    rng, count, mib = random.Random(7), max(1, int(200 * scale)), max(1, int(48 * scale))
    _sources(made / "lib", rng, max(1, int(4000 * scale)))
    _sources(made / "src", rng, max(1, int(400 * scale)))
    (made / "Dockerfile").write_text(
        f"FROM {address}/base:latest\n"
        f"RUN i=0; while [ $i -lt {count} ]; do mkdir -p /deps/p$i; j=0; while [ $j -lt 20 ]; do "
        "echo dependency $i $j > /deps/p$i/f$j; j=$((j+1)); done; i=$((i+1)); done; "
        f"dd if=/dev/urandom of=/deps/native.so bs=1024k count={mib} 2>/dev/null\n"
        "COPY lib /app/lib\n"
        "RUN find /app/lib -name '*.js' | sort > /app/lib.index\n"
        "COPY src /app/src\n"
        "RUN cat /deps/p0/* /app/lib.index $(find /app/src -name '*.js' | sort) > /app/bundle.js\n"
        'CMD ["cat", "/app/bundle.js"]\n'
    )


def _base(folder: Path, made: Path, address: str, scale: float) -> None:
    """The large image, once for `base` and `copy`, and a RUN on it."""
    made.mkdir(parents=True)
    (made / "Dockerfile").write_text(f"FROM {address}/{LARGE}\nRUN echo hello > /greeting\n")
    layout = folder / "large"
    if layout.exists():
        return
    layers = [layout / f"layer{n}" for n in range(3)]
    layout.mkdir()
    with ThreadPoolExecutor() as pool:
        diff_ids = list(pool.map(lambda n: _large_layer(layers[n], n, scale), range(3)))
    _extend(folder / "base", layout, list(zip(layers, diff_ids, strict=True)))
    _push(layout, f"{address}/{LARGE}")


def _large_layer(path: Path, number: int, scale: float) -> str:
    """Write a packed layer of a third of a GiB, and return its diff_id."""
    rng, size = random.Random(number), int(1024**3 * scale) // 3
    text, count = _text(rng, BLOCK), max(2, int(1300 * min(1.0, scale * 10)))
    sizes = [rng.randint(1, 1 + size // count // 4) for _ in range(count - 20)]
    sizes += [max(1, (size - sum(sizes)) // 20)] * 20  # a fifth are small, twenty hold most of it
    with _Packed(path) as packed, tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for n, left in enumerate(sizes):
            info = tarfile.TarInfo(f"opt/large{number}/part{n // 50}/file{n}")
            info.size, info.mtime, info.mode = left, OLD, 0o644
            tar.addfile(info, _Bytes(rng, text if n % 2 else b"", left))
    return packed.diff_id


class _Bytes(io.RawIOBase):
    """So many bytes, of a text from some place in it on, or random."""

    def __init__(self, rng: random.Random, text: bytes, size: int) -> None:
        self._rng, self._text, self._left = rng, text, size

    def read(self, size: int = -1) -> bytes:
        size = min(self._left, BLOCK, size if size >= 0 else BLOCK)
        cut = self._rng.randrange(BLOCK) if self._text else 0
        piece = (self._text[cut:] + self._text[:cut])[:size] if self._text else self._rng.randbytes(size)
        self._left -= len(piece)
        return piece


class _Packed:
    """A file that is written through gzip's quickest level, and the digest of what went in."""

    def __init__(self, path: Path) -> None:
        self._file, self._digest = path.open("wb"), hashlib.sha256()
        self._pack = zlib.compressobj(1, wbits=31)
        self.diff_id = ""

    def __enter__(self) -> _Packed:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.write(self._pack.flush())
        self._file.close()
        self.diff_id = f"sha256:{self._digest.hexdigest()}"

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self._file.write(self._pack.compress(data))
        return len(data)


def _extend(base: Path, layout: Path, layers: list[tuple[Path, str]]) -> None:
    """An OCI layout of an image with some packed layers more; without a base, of these alone."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for blob in (base / "blobs" / "sha256").iterdir():
        (blobs / blob.name).symlink_to(blob)

    def read(descriptor: dict[str, str]) -> dict:
        return json.loads((blobs / descriptor["digest"].partition(":")[2]).read_text())

    def put(path: Path, like: dict) -> dict:
        with path.open("rb") as f:
            digest = hashlib.file_digest(f, "sha256").hexdigest()
        size = path.stat().st_size
        path.rename(blobs / digest)
        return {"mediaType": like["mediaType"], "digest": f"sha256:{digest}", "size": size}

    def put_json(data: dict, like: dict) -> dict:
        path = layout / "data"
        path.write_text(json.dumps(data))
        return like | put(path, like)

    index = json.loads((base / "index.json").read_text())
    manifest = read(index["manifests"][0])
    config = read(manifest["config"])
    history = config["history"][0]
    for path, diff_id in layers:
        manifest["layers"].append(put(path, manifest["layers"][0]))
        config["rootfs"]["diff_ids"].append(diff_id)
        config["history"].append(history)
    manifest["config"] = put_json(config, manifest["config"])
    index["manifests"][0] = put_json(manifest, index["manifests"][0])
    (layout / "oci-layout").write_bytes((base / "oci-layout").read_bytes())
    (layout / "index.json").write_text(json.dumps(index))


def _npm(folder: Path, made: Path, address: str, scale: float) -> None:
    """300 packages of 4 to 30 files, every fifth nested in the one before it."""
    del folder
    rng = random.Random(7)
    (made / "packages").mkdir(parents=True)
    for n in range(max(2, int(300 * scale))):
        name = f"package{n:03d}"
        files = dict(_package(name, rng))
        out = made / "packages" / f"{'nested-' * (n % 5 == 4)}{name}.tgz"
        with gzip.GzipFile(out, "wb", 6, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
            for path, data in files.items():
                info = tarfile.TarInfo(f"package/{path}")
                info.size, info.mtime, info.mode, info.uid, info.gid = len(data), OLD, 0o600, 501, 20
                tar.addfile(info, io.BytesIO(data))
    (made / "install.sh").write_text(INSTALL)
    (made / "Dockerfile").write_text(
        f"FROM {address}/base:latest\nCOPY packages /packages\nCOPY install.sh /\nRUN sh /install.sh\n"
    )


def _package(name: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    yield "package.json", json.dumps({"name": name, "version": "1.0.0", "main": "lib/index.js"}).encode()
    yield "bin/cli.js", b"#!/usr/bin/env node\n"
    for n in range(rng.randint(2, 28)):
        folder = ("lib", "lib/internal/streams", "dist/esm", "dist/cjs/helpers", "types")[n % 5]
        yield f"{folder}/module{n}.js", _text(rng, rng.randint(200, 6000))


def _apt(folder: Path, made: Path, address: str, scale: float) -> None:
    """Debian's essential packages as the base, and some packages as files beside the Dockerfile.

    dpkg does not sync each file, as in Debian's own image for containers.
    """
    debs, tar = made / "debs", folder / "debian.tar"
    debs.mkdir(parents=True)
    names = PACKAGES[: max(1, round(len(PACKAGES) * scale))]
    archives = '"$1"/var/cache/apt/archives'
    fetch = (
        'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get install -qq --yes --download-only '
        f"--no-install-recommends {' '.join(names)} && mv {archives}/*.deb {shlex.quote(str(debs))}"
    )
    words = ["mmdebstrap", "--quiet", "--variant=essential", "--skip=output/dev", f"--customize-hook={fetch}"]
    subprocess.run([*words, "bookworm", str(tar)], check=True, stdin=subprocess.DEVNULL)
    layout = folder / "debian"
    layout.mkdir()
    with tar.open("rb") as plain, _Packed(layout / "layer") as packed:
        while piece := plain.read(BLOCK):
            packed.write(piece)
    _extend(folder / "base", layout, [(layout / "layer", packed.diff_id)])
    _push(layout, f"{address}/{DEBIAN}")
    (made / "Dockerfile").write_text(
        f"FROM {address}/{DEBIAN}\nCOPY debs /debs\nENV DEBIAN_FRONTEND=noninteractive\n"
        "RUN dpkg --force-unsafe-io --force-depends --unpack /debs/*.deb && "
        "dpkg --force-unsafe-io --configure -a && rm -rf /var/log/dpkg.log\n"
    )


MORE = {"cached": _cached, "base": _base, "copy": _base, "npm": _npm, "apt": _apt}
