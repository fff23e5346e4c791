"""Builds the projects beside this file in several ways, compares what came of each, and starts it.

    python3 -m tests.real.drive prepare FOLDER
    python3 -m tests.real.drive try FOLDER [--way WAY]... [PROJECT]...

By hand, as root: it downloads some gigabytes from Debian, PyPI and npm, and takes an hour or two. Packages
come from where the machine's own apt, pip and npm get theirs; the certificates that pip and npm are given are
SSL_CERT_FILE's. The way `docker` needs a daemon (DOCKER_HOST), and builds in a container of its default kind.
What differs between two builds by root differs by itself, and is left out. Beside each image lies what was
said.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.debian import SUITE, apt_settings, apt_sources
from tests.real.compare import config_of, differences, files_of
from tests.support import PROJECT

HERE = Path(__file__).parent

#: Smallest first.
PROJECTS = ("redis", "nginx", "postgres", "jdk", "jupyter", "npm", "mariadb", "rabbitmq")

#: The user that builds, and flags. `again` tells what differs by itself.
WAYS = {
    "root": ("", []),
    "again": ("", []),
    "lent": ("imagesmith-lent", []),
    "one": ("imagesmith-ci", []),
    "chroot": ("", ["--isolation", "chroot"]),
    "docker": ("", []),
}

#: What the checks use: a command is tried until it succeeds, for two minutes, while the server lives.
PRELUDE = """
set -eu
await() {
  for _ in $(seq 120); do if "$@" >/dev/null 2>&1; then return; fi; sleep 1; kill -0 $!; done
  "$@"
}
"""

#: The image of the container that builds.
BUILDER = "FROM base\nRUN apt-get update && apt-get install -y --no-install-recommends python3\n"


def prepare(folder: Path) -> None:
    """Make the base, and the context `machine` with what tells pip and npm where packages are."""
    machine = folder / "machine"
    machine.mkdir(parents=True)
    shutil.copy(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"), machine / "ca.crt")
    index = _said("pip", "config", "get", "global.index-url") or "https://pypi.org/simple"
    (machine / "pip.conf").write_text(f"[global]\ncert = /run/machine/ca.crt\nindex-url = {index}\n")
    registry = _said("npm", "config", "get", "registry") or "https://registry.npmjs.org/"
    (machine / "npmrc").write_text(f"cafile=/run/machine/ca.crt\nregistry={registry}\naudit=false\n")
    shutil.copy(HERE / "npm" / "package.json", machine)
    subprocess.run(["npm", "install", "--package-lock-only", "--ignore-scripts"], cwd=machine, check=True)
    made = folder / "made"
    (made / "apt").mkdir(parents=True)
    (made / "apt" / "98-empty").touch()
    for n, path in enumerate(apt_settings()):
        shutil.copy(path, made / "apt" / f"99-{n}")
    sources = [str(path) for path in apt_sources()]
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", SUITE, str(made / "base.tar"), *sources], check=True
    )
    (made / "Dockerfile").write_text("FROM scratch\nADD base.tar /\nCOPY apt/ /etc/apt/apt.conf.d/\n")
    _build("root", folder, made, ["-o", f"type=oci,tar=false,dest={folder / 'base'}"])
    (made / "Dockerfile").write_text(BUILDER)
    words = ["-t", "imagesmith-real", "-o", f"type=docker,dest={folder / 'builder.tar'}"]
    _build("root", folder, made, words)
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _command(way: str, folder: Path, words: list[str]) -> list[str]:
    """The builder, as the way's user, with a store of that way's own."""
    user, flags = WAYS[way]
    own = folder / way
    if not own.exists():
        own.mkdir(mode=0o755)
        if user:
            shutil.chown(own, user, user)
    verb, *rest = words
    environment = [f"PYTHONPATH={PROJECT}", f"IMAGESMITH_ROOT={own / 'store'}", "PYTHONDONTWRITEBYTECODE=1"]
    command = [sys.executable, "-m", "imagesmith", verb, *flags, *rest]
    if way == "docker":
        shown = [f"{PROJECT}:{PROJECT}:ro", f"{sys.prefix}:{sys.prefix}:ro", f"{folder}:{folder}"]
        given = [f"--volume={s}" for s in shown] + [f"--env={e}" for e in environment]
        return ["docker", "run", "--rm", "--network=host", *given, "imagesmith-real", *command]
    become = ["runuser", "-u", user, "--", "env", f"HOME=/home/{user}"] if user else ["env"]
    return [*become, *environment, *command]


def _build(way: str, folder: Path, context: Path, words: list[str]) -> tuple[int, str]:
    contexts = [f"base=oci-layout://{folder / 'base'}", f"machine={folder / 'machine'}"]
    flags = [word for place in contexts for word in ("--build-context", place)]
    done = subprocess.run(
        _command(way, folder, ["build", "--no-cache", "--progress", "plain", *flags, *words, str(context)]),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        cwd="/",
    )  # fmt: skip
    return done.returncode, done.stdout


def build(way: str, project: str, folder: Path) -> str:
    """Build a project; the image is a layout in the way's folder, and what was said lies beside it."""
    layout = folder / way / project
    shutil.rmtree(layout, ignore_errors=True)
    began = time.monotonic()
    outputs = ["-t", f"real/{project}", "-o", "type=image", "-o", f"type=oci,tar=false,dest={layout}"]
    status, said = _build(way, folder, HERE / project, outputs)
    layout.with_suffix(".log").write_text(said)
    return f"built in {time.monotonic() - began:.0f} s" if status == 0 else f"build: status {status}"


def compare(way: str, project: str, folder: Path) -> str:
    """What the way's image has other than root's; what it is lies beside the image."""
    first, second = folder / "root" / project, folder / way / project
    files = files_of(first)
    found = differences(files, files_of(second))
    again = folder / "again" / project
    if way != "again" and again.exists():
        alone = differences(files, files_of(again))
        found = {path: said for path, said in found.items() if alone.get(path, "")[:8] != said[:8]}
    if config_of(first) != config_of(second):
        found["the config"] = f"{config_of(first)} -> {config_of(second)}"
    second.with_suffix(".differences").write_text("".join(f"/{p}: {said}\n" for p, said in found.items()))
    return f"{len(found)} of {len(files)} differ" if found else "same"


def start(way: str, project: str, folder: Path) -> str:
    """Start the image, and ask what was started."""
    script = PRELUDE + (HERE / project / "check.sh").read_text()
    network = "host" if way in ("chroot", "docker") else "none"  # of one's own: any port may be taken there
    words = ["run", "--network", network, "--entrypoint", "bash", f"real/{project}", "-c", script]
    done = subprocess.run(
        _command(way, folder, words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, cwd="/",
    )  # fmt: skip
    (folder / way / f"{project}.started").write_text(done.stdout)
    return "starts" if done.returncode == 0 else f"status {done.returncode}"


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("verb", choices=("prepare", "try"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("projects", nargs="*", metavar="project", default=PROJECTS)
    parser.add_argument("--way", action="append", choices=WAYS, help="default: all")
    args = parser.parse_args()
    folder = args.folder.absolute()
    if args.verb == "prepare":
        prepare(folder)
        return 0
    table = {}
    for project in args.projects:
        for way in args.way or WAYS:
            told = [build(way, project, folder)]
            if told[0].startswith("built"):
                told += ["" if way == "root" else compare(way, project, folder), start(way, project, folder)]
            table[f"{project} {way}"] = told
            print(f"{project:10}{way:8}{' | '.join(told)}", flush=True)
    return int(any("differ" in t or "status" in t for (_, *told) in table.values() for t in told))


if __name__ == "__main__":
    sys.exit(main())
