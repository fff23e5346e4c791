"""What the time of a command is spent on, for counts.py: imports, regular expressions, functions.

Times are an order rather than figures; those of imports and expressions are the least of several runs, in
all threads. Functions are those of the first thread, and what it waits for is among them.
"""

from __future__ import annotations

import json
import pstats
import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from counts import World

#: How many rows of each table are shown.
ROWS = 40
#: How many runs the imports are taken from.
RUNS = 5

#: Profiles a command, whose words follow the file for what is found.
_PROFILED = """
import cProfile, sys
from imagesmith.cli.main import main
p = cProfile.Profile()
p.runcall(main, sys.argv[2:])
p.dump_stats(sys.argv[1])
"""

#: Notes who has regular expressions compiled, and for how long; the cache of `re` is asked before.
_COMPILED = """
import json, re, sys, time
from re import _compiler

rows, compile_ = [], _compiler.compile

def noted(pattern, flags=0):
    begin = time.perf_counter_ns()
    found = compile_(pattern, flags)
    took, frame = time.perf_counter_ns() - begin, sys._getframe(1)
    while frame.f_globals["__name__"] == "re":
        frame = frame.f_back
    rows.append((took // 1000, frame.f_globals["__name__"], frame.f_lineno))
    return found

_compiler.compile = noted
from imagesmith.cli.main import main
main(sys.argv[2:])
with open(sys.argv[1], "w") as f:
    json.dump(rows, f)
"""


def show(place: World, name: str) -> None:
    """Print the tables of one command."""
    imports([place.run(place.words(name), python=("-X", "importtime")) for _ in range(RUNS)])
    expressions([json.loads(_told(place, name, _COMPILED)) for _ in range(RUNS)])
    path = place.folder / "told"
    _told(place, name, _PROFILED)
    pstats.Stats(str(path)).sort_stats("tottime").print_stats(ROWS)


def imports(runs: list[str]) -> None:
    """Tables of what `-X importtime` said: packages with all that is in them, and modules by themselves."""
    least: dict[str, int] = {}
    for said in runs:
        for text, module in re.findall(r"^import time: +(\d+) \|.*\| +(\S+)", said, re.MULTILINE):
            least[module] = min(int(text), least.get(module, int(text)))
    rows = sorted(((took, module) for module, took in least.items()), reverse=True)
    us, modules = Counter[str](), Counter[str]()
    for took, module in rows:
        parts = module.split(".")
        of_python = parts[0] in sys.stdlib_module_names
        packages = ["(Python)"] if of_python else [".".join(parts[:n]) for n in (1, 2)[: len(parts)]]
        us.update(dict.fromkeys(packages, took))
        modules.update(packages)
    print(f"{len(rows)} imports, {sum(r[0] for r in rows)} us. Packages, with their modules:")
    print("\n".join(f"{took:8} us {modules[p]:5} {p}" for p, took in us.most_common(ROWS)))
    print("Modules, by themselves:")
    print("\n".join(f"{took:8} us {module}" for took, module in rows[:ROWS]))


def expressions(runs: list[list[tuple[int, str, int]]]) -> None:
    """A table of who compiles regular expressions."""
    least: dict[tuple[str, int], int] = {}
    for rows in runs:
        for took, module, line in rows:
            least[module, line] = min(took, least.get((module, line), took))
    us, count = Counter[str](), Counter[str](module for _, module, _ in runs[0])
    for (module, _line), took in least.items():
        us[module] += took
    print(f"{count.total()} regular expressions are compiled, in {us.total()} us, by:")
    print("\n".join(f"{took:8} us {count[module]:5} {module}" for module, took in us.most_common(ROWS)))


def _told(place: World, name: str, program: str) -> bytes:
    """What a program that runs the command writes to a file."""
    path = place.folder / "told"
    command = [sys.executable, "-S", "-P", "-c", program, str(path), *place.words(name)]
    subprocess.run(command, env=place.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return path.read_bytes()
