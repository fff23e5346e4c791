"""Install this checkout into a virtual environment beside it, with nothing but Python's standard library.

    python3 tools/bootstrap.py [EXTRA]...       prints the environment's interpreter

Why: `python3 fixtures/demo/run.py` and `python3 tests/run.py` are to work on a machine that has only Python.
Debian keeps `ensurepip` in a package of its own, so `python3 -m venv` may fail there; then these are tried in
this order: the machine's own pip, pip from the package index (PyPI, or what pip's settings name), and, as
root, Debian's package.
"""

from __future__ import annotations

import configparser
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PYPI = "https://pypi.org/simple"
ENVIRONMENT = PROJECT / ".venv"
STAMP = ENVIRONMENT / "installed.txt"


def say(*words: str) -> None:
    """Print a command as a user would type it."""
    print(f"$ {shlex.join(words)}", flush=True)


def run(*words: str) -> None:
    """Print a command and run it; the program ends with its status where it fails."""
    say(*words)
    done = subprocess.run(words, cwd=PROJECT, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"failed with status {done.returncode}: {shlex.join(words)}")


def environment(*extras: str) -> Path:
    """The interpreter of `.venv` with this checkout and its `extras` installed; made where it is missing."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what an older Python runs first
        raise SystemExit(f"imagesmith needs Python 3.11 or later; this is {sys.version.split()[0]}")
    python = ENVIRONMENT / "bin" / "python"
    wanted = hashlib.sha256((PROJECT / "pyproject.toml").read_bytes()).hexdigest()
    have = STAMP.read_text().split() if STAMP.is_file() and python.exists() else [""]
    if have[0] == wanted and set(extras) <= set(have[1:]):
        return python
    if not os.access(PROJECT, os.W_OK):
        raise SystemExit(f"cannot write to {PROJECT}: copy the checkout to a folder of yours")
    pip = _pip(python)
    run(*pip, "install", "--quiet", "--editable", f".[{','.join(extras)}]" if extras else ".")
    STAMP.write_text(" ".join([wanted, *extras]))
    return python


def _pip(python: Path) -> list[str]:
    """Make the environment, and return the command that installs into it."""
    if python.exists() and _runs(str(python), "-m", "pip", "--version"):
        return [str(python), "-m", "pip"]
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    if importlib.util.find_spec("ensurepip"):
        run(sys.executable, "-m", "venv", str(ENVIRONMENT))
        return [str(python), "-m", "pip"]
    if importlib.util.find_spec("pip"):
        run(sys.executable, "-m", "venv", "--without-pip", str(ENVIRONMENT))
        return [sys.executable, "-m", "pip", "--python", str(python)]
    try:
        run(sys.executable, "-m", "venv", "--without-pip", str(ENVIRONMENT))
        wheel = _wheel_of_pip(_index())
        run(str(python), f"{wheel}/pip", "install", "--quiet", str(wheel))
        return [str(python), "-m", "pip"]
    except OSError as e:
        print(f"pip cannot be fetched from the package index: {e}", flush=True)
    if os.geteuid() == 0 and shutil.which("apt-get"):
        run("apt-get", "update", "--quiet")
        run("apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "python3-venv")
        run(sys.executable, "-m", "venv", str(ENVIRONMENT))
        return [str(python), "-m", "pip"]
    raise SystemExit(
        "this Python has neither ensurepip nor pip: install them (Debian: apt-get install python3-venv) "
        "or set PIP_INDEX_URL to a package index that can be reached"
    )


def _runs(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


def _index() -> str:
    """The package index that the user chose by PIP_INDEX_URL or in one of pip's files, else PyPI's."""
    if chosen := os.environ.get("PIP_INDEX_URL"):
        return chosen
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    files = [
        os.environ.get("PIP_CONFIG_FILE", ""),
        f"{config}/pip/pip.conf",
        "~/.pip/pip.conf",
        "/etc/pip.conf",
    ]
    for file in files:
        read = configparser.RawConfigParser()
        read.read(Path(file).expanduser() if file else [])
        for section in ("install", "global"):
            if chosen := read.get(section, "index-url", fallback=""):
                return chosen
    return PYPI


def _wheel_of_pip(index: str) -> Path:
    """Fetch the newest release of pip as the index lists it; the digest that it names must be the file's."""
    page_url = f"{index.rstrip('/')}/pip/"
    with urllib.request.urlopen(page_url, timeout=60) as answer:
        page = answer.read().decode()
    links = re.findall(r'href="([^"]*/pip-(\d+(?:\.\d+)+)-py3-none-any\.whl#sha256=([0-9a-f]{64}))"', page)
    if not links:
        raise SystemExit(f"{page_url} lists no release of pip")
    link, version, digest = max(links, key=lambda found: [int(n) for n in found[1].split(".")])
    with urllib.request.urlopen(urllib.parse.urljoin(page_url, link), timeout=60) as answer:
        data = answer.read()
    if hashlib.sha256(data).hexdigest() != digest:
        raise SystemExit(f"pip {version} from {index} is not what the index promised")
    wheel = ENVIRONMENT / f"pip-{version}-py3-none-any.whl"
    wheel.write_bytes(data)
    return wheel


if __name__ == "__main__":
    print(environment(*sys.argv[1:]))
