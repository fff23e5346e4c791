"""A module imports from lower floors and from its own package, and modules import each other in no circle.

The table is the architecture: read it from top to bottom and you know what may know what. Imports inside
functions and for types count as well, and there is no exception. `plugins` is data (strings), so nothing
upward is ever imported.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from pathlib import Path

import pytest

from tests.rules.sources import Import, Module, modules

#: The floor of each package or module; the longest name that fits decides.
FLOORS = {
    # 0 to 2: what everything may use
    "imagesmith": 0,
    "imagesmith.errors": 0,
    "imagesmith.extras": 0,
    "imagesmith.values": 0,
    "imagesmith.quotas": 1,
    "imagesmith.concurrency": 1,
    "imagesmith.events": 1,
    "imagesmith.settings": 2,
    "imagesmith.grammars": 1,
    # 3 to 6: values without input or output; seams
    "imagesmith.oci": 3,
    "imagesmith.fs.atomic": 3,
    "imagesmith.fs.entry": 3,
    "imagesmith.fs.limits": 3,
    "imagesmith.fs.tree": 4,
    "imagesmith.interfaces": 5,
    "imagesmith.plugins": 5,
    # 7 to 13: mechanisms
    "imagesmith.fs": 7,
    "imagesmith.credentials": 7,
    "imagesmith.dockerfile": 7,
    "imagesmith.layer": 8,
    "imagesmith.store": 9,
    "imagesmith.context.addresses": 7,
    "imagesmith.context.git": 7,
    "imagesmith.context.logins": 7,
    "imagesmith.context.named": 9,
    "imagesmith.request": 10,
    "imagesmith.options": 11,
    "imagesmith.pins": 11,
    "imagesmith.cacheoptions": 12,
    "imagesmith.outputoptions": 12,
    "imagesmith.limitoptions": 12,
    "imagesmith.registry": 11,
    "imagesmith.transports": 12,
    "imagesmith.context": 13,
    "imagesmith.worker": 14,
    # 15 to 19: the build
    "imagesmith.solve": 15,
    "imagesmith.ops": 16,
    "imagesmith.plan": 17,
    "imagesmith.image": 18,
    "imagesmith.sbom": 18,
    "imagesmith.attest.asked": 12,
    "imagesmith.attest": 19,
    # 20 to 24: results, who vouches for them, and who asks
    "imagesmith.copying": 22,
    "imagesmith.trust": 20,
    "imagesmith.observe": 20,
    "imagesmith.export": 20,
    "imagesmith.embedded": 20,
    "imagesmith.bake": 21,
    "imagesmith.explore": 21,
    "imagesmith.building": 21,
    "imagesmith.halting": 21,
    "imagesmith.session": 22,
    "imagesmith.trial": 23,
    "imagesmith.child": 23,
    "imagesmith.running": 23,
    "imagesmith.rebuilding": 23,
    "imagesmith.library": 24,
    "imagesmith.fleet": 24,
    "imagesmith.cli": 25,
    "imagesmith.__main__": 26,
}

#: Modules that must stay free of the rest: the highest floor that they may import.
CEILINGS = {
    "imagesmith.embedded": 4,  # a registry beside the builder: tests of the client must not share its code
}  # fmt: skip

#: Names what is imported when it is first used; type checkers read its imports, nothing else does.
LAZY = "imagesmith"

#: What runs in a step's process, as `python -I -S`: the standard library and each other, nothing else.
STEP_PROCESS = (
    *(
        f"imagesmith.worker.sandbox.{name}"
        for name in (
            "accesslists",
            "execs",
            "foreign",
            "initchild",
            "initchroot",
            "initchrooted",
            "initcopy",
            "initdevices",
            "initends",
            "initmemory",
            "initpaths",
            "initproc",
            "initprocess",
            "initroot",
            "initseals",
            "initsecrets",
            "initsupervisor",
            "kernel",
            "tracing",
        )
    ),
    *(
        f"imagesmith.worker.sandbox.{name}"
        for name in (
            "unotify",
            "unotify_files",
            "unotify_ids",
            "unotify_make",
            "unotify_paths",
            "unotify_peers",
            "unotify_rights",
            "unotify_task",
        )
    ),
    *(
        f"imagesmith.worker.sandbox.chroot_{name}"
        for name in ("caller", "calls", "changes", "files", "filter", "proc", "ptys")
    ),
    *(f"imagesmith.worker.sandbox.{name}" for name in ("notify", "seccomp", "signals", "syscalls")),
)
#: What the step's processes use besides; they import ours for the sake of their types only.
STEP_NEIGHBOURS = ("imagesmith.worker.snapshot.ownership", "imagesmith.worker.snapshot.ownertable")


def row_of(name: str) -> str:
    """The table's row for a module."""
    while name and name not in FLOORS:
        name = name.rpartition(".")[0]
    return name


def ceiling_of(name: str) -> int:
    """The highest floor a module may import, by CEILINGS; 99 where it has none."""
    while name and name not in CEILINGS:
        name = name.rpartition(".")[0]
    return CEILINGS.get(name, 99)


def objections(module: Module) -> list[str]:
    """What a module imports against the table."""
    here, ceiling = row_of(module.name), ceiling_of(module.name)
    out: list[str] = []
    if module.name == LAZY:
        return out
    for found in module.imports:
        there = row_of(found.target)
        if there in ("", "imagesmith"):  # not ours; the version and the lazy names
            continue
        floor = FLOORS[there]
        if there != here and floor >= min(FLOORS[here], ceiling + 1):
            out.append(f"line {found.line}: {found.target} is on floor {floor}")
    return out


@pytest.mark.parametrize("module", modules().values(), ids=str)
def test_module_imports_only_what_its_floor_allows(module: Module) -> None:
    row = row_of(module.name)
    assert row != "imagesmith" or module.name == row, f"{module.name} has no floor: add it to FLOORS"
    assert objections(module) == []


def test_table_names_nothing_that_is_gone() -> None:
    known = set(modules())
    assert [n for n in FLOORS if n not in known] == []
    assert [n for n in CEILINGS if n not in known] == []


def test_modules_import_each_other_in_no_circle() -> None:
    known = modules()
    graph = {m.name: {i.target for i in m.imports if i.target in known} for m in known.values()}
    graph[LAZY] = set()
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as e:
        pytest.fail(f"a circle: {' -> '.join(e.args[1])}")


@pytest.mark.parametrize("name", STEP_PROCESS)
def test_step_process_uses_the_standard_library_only(name: str) -> None:
    targets = [i.target for i in modules()[name].imports if i.target not in (*STEP_PROCESS, *STEP_NEIGHBOURS)]
    assert [t for t in targets if t.split(".")[0] not in sys.stdlib_module_names] == []


@pytest.mark.parametrize(
    ("name", "target", "bad"),
    [
        ("imagesmith.oci.model", "imagesmith.fs.view", True),
        ("imagesmith.oci.model", "imagesmith.oci.digest", False),
        ("imagesmith.oci.model", "imagesmith.errors", False),
        ("imagesmith.dockerfile.parse", "imagesmith.store.blobs", True),
        ("imagesmith.layer.diff", "imagesmith.fs.view", False),
        ("imagesmith.registry.client", "imagesmith.transports.transfer", True),
        ("imagesmith.transports.transfer", "imagesmith.registry.client", False),
        ("imagesmith.embedded.registry", "imagesmith.oci.digest", False),
        ("imagesmith.embedded.registry", "imagesmith.registry.client", True),
        ("imagesmith.cli.main", "imagesmith", False),
    ],
)
def test_table_is_read_as_meant(name: str, target: str, bad: bool) -> None:
    tree = ast.parse("")
    module = Module(name, Path(), "", tree, (Import(target, 1, at_start=False),))
    assert bool(objections(module)) == bad
