"""What starting the program costs: heavy modules are imported by their owners, in functions, when needed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.rules.sources import Module, modules
from tests.support import IMAGESMITH, PROJECT

#: Modules that take 10 ms and more, or drag in ones that do, with the packages that may import them.
HEAVY = {
    "httpx": (
        "imagesmith.registry.address",
        "imagesmith.registry.patience",
        "imagesmith.registry.proxied",
        "imagesmith.registry.tls",
    ),
    "httpcore": ("imagesmith.registry.patience",),
    "lark": (
        "imagesmith.grammars",
        "imagesmith.dockerfile",
        "imagesmith.bake.hcl",
        "imagesmith.bake.building",
    ),
    "zstandard": ("imagesmith.layer",),
    "deflate": ("imagesmith.layer",),
    "cryptography": (
        "imagesmith.trust.keys",
        "imagesmith.trust.certificates",
        "imagesmith.credentials.sshkeys",
    ),
    "yaml": ("imagesmith.bake.yamltree",),
    "textual": ("imagesmith.cli.explorescreen",),
    "asyncio": (),
    "email": ("imagesmith.registry", "imagesmith.context", "imagesmith.embedded"),
    "http.client": ("imagesmith.registry.dockerapi",),
    "http.server": ("imagesmith.embedded",),
    "urllib.request": (),
    "ctypes": ("imagesmith.fs", "imagesmith.worker"),
    "multiprocessing": (),
    "unittest": (),
}

#: Modules that run as programs of their own, or only when they are the command: they import what they like.
APART = (
    "imagesmith.cli.explorescreen",
    "imagesmith.worker.sandbox.initchild",
    "imagesmith.worker.sandbox.chroot_caller",
    "imagesmith.worker.sandbox.chroot_changes",
    "imagesmith.worker.sandbox.chroot_files",
    "imagesmith.worker.sandbox.tracing",
    "imagesmith.worker.sandbox.unotify_peers",
    "imagesmith.worker.sandbox.unotify_task",
    "imagesmith.embedded",
)


@pytest.mark.parametrize("module", modules().values(), ids=str)
def test_heavy_modules_are_imported_late_and_by_their_owners(module: Module) -> None:
    bad = []
    for found in module.imports:
        heavy = next((h for h in HEAVY if found.target == h or found.target.startswith(f"{h}.")), None)
        if heavy is None:
            continue
        if not _below(module.name, HEAVY[heavy] + APART):
            bad.append(f"line {found.line}: {found.target} is not this module's to import")
        elif found.at_start and not _below(module.name, APART):
            bad.append(f"line {found.line}: {found.target} is imported at start")
    assert bad == []


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["build", "--help"]], ids=" ".join)
def test_answering_at_once_loads_nothing_heavy(words: list[str]) -> None:
    loaded = _loaded(*words)
    assert "imagesmith.cli.main" in loaded
    assert sorted(loaded & set(HEAVY)) == []


def test_build_without_a_lock_loads_nothing_of_pins(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    words = ["build", "--call", "graph", "--root", str(tmp_path / "store"), str(tmp_path)]
    pins = {"imagesmith.pins", "imagesmith.context.locked", "imagesmith.context.logins"}
    assert _loaded(*words) & pins == set()
    (tmp_path / "Dockerfile.lock").write_text('{"version": 1}')
    assert _loaded(*words) & pins == pins


@pytest.mark.parametrize(("words", "most"), [("--version", 45), ("--help", 45), ("build --help", 60)])
def test_answering_at_once_loads_little_beyond_the_interpreter(words: str, most: int) -> None:
    """Counted, for a count is the same on a busy machine: 0.3 ms a module."""
    bare = _imported([sys.executable, "-X", "importtime", "-c", "pass"])
    assert len(_loaded(*words.split()) - bare) <= most


def test_every_dependency_is_used_and_every_use_declared() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["explore"]]
    names = {d.split(">")[0].split("<")[0].split("=")[0].strip() for d in declared}
    names = {{"PyYAML": "yaml"}.get(name, name) for name in names}
    used = {i.target.split(".")[0] for m in modules().values() for i in m.imports}
    assert used - set(sys.stdlib_module_names) - {"imagesmith"} == names


def _below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == p or name.startswith(f"{p}.") for p in packages)


def _loaded(*words: str) -> set[str]:
    return _imported([sys.executable, "-X", "importtime", *IMAGESMITH[1:], *words])


def _imported(command: list[str]) -> set[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip() for line in lines}
