"""A Debian base as this machine's apt would install it, and a Dockerfile that asks much of a sandbox."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.support import lacking, need_program

SUITE = "bookworm"
PACKAGES = ("openssh-server", "cron", "dbus", "man-db", "sudo", "nginx-light", "ca-certificates", "plocate",
            "iputils-ping", "libcap2-bin", "at", "exim4-daemon-light")  # fmt: skip

DOCKERFILE = f"""
FROM scratch AS base
ADD base.tar /
COPY apt/ /etc/apt/apt.conf.d/
FROM base
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends {" ".join(PACKAGES)}
RUN useradd -m -u 1500 -G sudo joe && mkdir -p /srv/app/data && chown -R joe:www-data /srv/app \\
 && chmod 2775 /srv/app/data && touch /srv/app/data/new && mkdir /srv/app/data/sub \\
 && cp /bin/true /srv/true && setcap cap_net_bind_service+ep /srv/true && cp -a /srv/true /srv/copy \\
 && ln /srv/true /srv/hard && cp /bin/true /srv/suid && chmod 4755 /srv/suid && cp /srv/suid /srv/given \\
 && chmod 4755 /srv/given && chown joe /srv/given && (mknod /srv/null c 1 3 || true) && mkfifo /srv/fifo \\
 && chown joe /srv/fifo && ln -s x /srv/link && chown -h joe:mail /srv/link
RUN rm -rf /usr/share/doc/cron /etc/nginx/sites-enabled && mkdir /etc/nginx/sites-enabled \\
 && touch /etc/nginx/sites-enabled/mine && mv /srv/app /srv/moved && rm /usr/share/man/man8/cron.8.gz \\
 && su joe -c 'cd; touch a; mkdir -p b/c; ln -s a l; umask 077; echo x > private; ln a hard'
USER joe
WORKDIR /home/joe/w
RUN id -u > who && id -G >> who && test "$(id -un)" = joe && mkdir sub && touch /tmp/byjoe
"""


def apt_settings() -> list[Path]:
    """The machine's own settings of how packages are fetched."""
    files = [Path("/etc/apt/apt.conf"), *sorted(Path("/etc/apt/apt.conf.d").glob("*"))]
    return [f for f in files if f.is_file() and "Acquire::" in f.read_text(errors="replace")]


def apt_sources() -> list[Path]:
    """The machine's own sources of the suite."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    return [
        f for f in files if f.suffix in (".list", ".sources") and f.is_file() and f" {SUITE}" in f.read_text()
    ]


def make_context(folder: Path, base: str = "") -> None:
    """Put the Dockerfile, the base and apt's settings into a folder; skips where no archive is reached.

    Args:
        folder: an empty one.
        base: a tar of it that was made before.
    """
    (folder / "apt").mkdir()
    for n, path in enumerate(apt_settings()):
        shutil.copy(path, folder / "apt" / f"99-{n}")
    options = [f"--aptopt={folder / 'apt' / name}" for name in sorted(os.listdir(folder / "apt"))]
    (folder / "apt" / "98-empty").touch()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    if base:
        shutil.copy(base, folder / "base.tar")
        return
    mmdebstrap = need_program("mmdebstrap")
    command = [mmdebstrap, "--quiet", "--variant=minbase", *options, SUITE, str(folder / "base.tar")]
    done = subprocess.run([*command, *map(str, apt_sources())], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lacking(f"no Debian base: {done.stderr.strip().splitlines()[-1:]}")


def layers(layout: Path) -> list[dict[str, tuple[Any, ...]]]:
    """What each layer of a layout's only image says of each of its files: all but contents, sizes, times."""

    def blob(d: dict[str, Any]) -> Path:
        return layout / "blobs" / "sha256" / d["digest"].removeprefix("sha256:")

    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]
    document = json.loads(blob(manifest).read_bytes())
    while "manifests" in document:
        document = json.loads(blob(document["manifests"][0]).read_bytes())
    return [_listing(blob(d)) for d in document["layers"]]


def _listing(path: Path) -> dict[str, tuple[Any, ...]]:
    with tarfile.open(path) as t:
        return {
            m.name: (m.type, oct(m.mode), m.uid, m.gid, m.linkname, m.devmajor, m.devminor,
                     _capability(m.pax_headers))
            for m in t
        }  # fmt: skip


def _capability(headers: dict[str, str]) -> str:
    value = headers.get("SCHILY.xattr.security.capability", "")
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()[:8] if value else ""
