"""A module imports from lower floors and from its own package; what goes beyond that is listed here.

The table is the architecture: read it from top to bottom and you know what may know what. Imports inside
functions count as well. `plugins` is data (strings), so nothing upward is ever imported.
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
    # 0: what everything may use
    "imagesmith": 0,
    "imagesmith.errors": 0,
    "imagesmith.events": 0,
    "imagesmith.settings": 0,
    "imagesmith.quotas": 0,
    "imagesmith.concurrency": 0,
    "imagesmith.values": 0,
    # 1: values without input or output
    "imagesmith.oci": 1,
    "imagesmith.fs.entry": 1,
    "imagesmith.fs.tree": 1,
    "imagesmith.fs.limits": 1,
    # 2: seams
    "imagesmith.interfaces": 2,
    "imagesmith.plugins": 2,
    # 3: mechanisms
    "imagesmith.fs": 3,
    "imagesmith.layer": 3,
    "imagesmith.store": 3,
    "imagesmith.dockerfile": 3,
    "imagesmith.context": 3,
    "imagesmith.credentials": 3,
    "imagesmith.registry": 3,
    # 4: services made of them
    "imagesmith.registry.transfer": 4,
    "imagesmith.places": 4,
    "imagesmith.snapshot": 4,
    "imagesmith.sandbox": 4,
    # 5: the build
    "imagesmith.build": 5,
    "imagesmith.steps": 5,
    # 6: results
    "imagesmith.export": 6,
    "imagesmith.edit": 6,
    "imagesmith.embedded": 6,
    # 7: the front
    "imagesmith.cli": 7,
    "imagesmith.library": 7,
    "imagesmith.__main__": 7,
}

#: Packages of one floor that may use each other, and why.
SIBLINGS = {
    ("imagesmith.events", "imagesmith.values"): "events are values",
    ("imagesmith.events", "imagesmith.errors"): "a step that failed tells of our errors",
    ("imagesmith.settings", "imagesmith.values"): "settings are a value",
    ("imagesmith.settings", "imagesmith.quotas"): "pools are no larger than the processors that there are",
    ("imagesmith.concurrency", "imagesmith.errors"): "a stop is one of our errors",
    ("imagesmith.fs.tree", "imagesmith.fs.entry"): "what is looked up in a tree is an entry",
    ("imagesmith.fs.tree", "imagesmith.fs.limits"): "links lead no further than paths may",
    ("imagesmith.__main__", "imagesmith.cli"): "`python -m imagesmith` is the command",
    ("imagesmith.library", "imagesmith.cli"): "words for outputs and secrets are read alike",
    ("imagesmith.context", "imagesmith.registry"): "no download waits for a drip",
    ("imagesmith.context", "imagesmith.store"): "digests of files and downloads are remembered",
    ("imagesmith.layer", "imagesmith.fs"): "extraction goes through the jail; diffs look into views",
    ("imagesmith.store", "imagesmith.fs"): "a stored layer is read as a view",
    ("imagesmith.store", "imagesmith.layer"): "a stored layer is indexed by reading its tar",
    ("imagesmith.context", "imagesmith.layer"): "contexts come as tar archives too",
    ("imagesmith.context", "imagesmith.fs"): "what they hold goes into a folder that hands nothing down",
    ("imagesmith.registry", "imagesmith.credentials"): "authentication asks for credentials",
    (
        "imagesmith.places",
        "imagesmith.registry.transfer",
    ): "a name may mean a repository, which sessions open",
    (
        "imagesmith.registry.transfer",
        "imagesmith.places",
    ): "the store is a place that sessions copy from and to",
    ("imagesmith.sandbox", "imagesmith.snapshot"): "owners that a step gives are kept where snapshots look",
    ("imagesmith.snapshot", "imagesmith.sandbox"): "both make system calls that Python has no name for",
    ("imagesmith.build", "imagesmith.steps"): "the solver runs steps",
    ("imagesmith.steps", "imagesmith.build"): "steps change the state of a build",
}

#: Modules that must stay free of the rest: the highest floor that they may import.
CEILINGS = {
    "imagesmith.embedded": 1,  # a registry beside the builder: tests of the client must not share its code
}  # fmt: skip

#: Names what is imported when it is first used; type checkers read its imports, nothing else does.
LAZY = "imagesmith"

#: What runs in a step's process, as `python -I -S`: the standard library and each other, nothing else.
STEP_PROCESS = (
    *(
        f"imagesmith.sandbox.{name}"
        for name in (
            "accesslists",
            "initchild",
            "initchroot",
            "initchrooted",
            "initcopy",
            "initdevices",
            "initpaths",
            "initproc",
            "initprocess",
            "initroot",
            "initseals",
            "initsecrets",
            "kernel",
        )
    ),
    *(
        f"imagesmith.sandbox.{name}"
        for name in (
            "faked",
            "faked_files",
            "faked_ids",
            "faked_make",
            "faked_paths",
            "faked_peers",
            "faked_rights",
            "faked_task",
        )
    ),
    *(
        f"imagesmith.sandbox.chroot_{name}"
        for name in ("caller", "calls", "changes", "files", "filter", "proc", "ptys")
    ),
    *(f"imagesmith.sandbox.{name}" for name in ("notify", "seccomp", "signals", "syscalls")),
)
#: What the step's processes use besides; they import ours for the sake of their types only.
STEP_NEIGHBOURS = ("imagesmith.snapshot.ownership", "imagesmith.snapshot.ownertable")


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
        if there == here and ceiling >= 0:
            continue
        if floor > min(FLOORS[here], ceiling):
            out.append(f"line {found.line}: {found.target} is on floor {floor}")
        elif floor == FLOORS[here] and (here, there) not in SIBLINGS:
            out.append(f"line {found.line}: {found.target} is a sibling that the table does not name")
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
    used = {(row_of(m.name), row_of(i.target)) for m in modules().values() for i in m.imports}
    assert [pair for pair in SIBLINGS if pair not in used] == []


def test_modules_import_each_other_in_no_circle() -> None:
    known = modules()
    graph = {
        m.name: {i.target for i in m.imports if i.at_start and i.target in known} for m in known.values()
    }
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
        ("imagesmith.registry.client", "imagesmith.registry.transfer", True),
        ("imagesmith.registry.transfer", "imagesmith.registry.client", False),
        ("imagesmith.embedded.registry", "imagesmith.oci.digest", False),
        ("imagesmith.embedded.registry", "imagesmith.registry.client", True),
        ("imagesmith.cli.main", "imagesmith", False),
    ],
)
def test_table_is_read_as_meant(name: str, target: str, bad: bool) -> None:
    tree = ast.parse("")
    module = Module(name, Path(), "", tree, (Import(target, 1, at_start=False),))
    assert bool(objections(module)) == bad
