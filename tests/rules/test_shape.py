"""How a module is written: its size, its docstrings, its list of public names, and what it never does."""

from __future__ import annotations

import ast

import pytest

from tests.rules.sources import Module, functions, modules

MODULE_LINES = 400
FUNCTION_LINES = 60

every_module = pytest.mark.parametrize("module", modules().values(), ids=str)


@every_module
def test_module_is_short_enough_to_read(module: Module) -> None:
    assert len(module.text.splitlines()) <= MODULE_LINES


@every_module
def test_functions_are_short_enough_to_read(module: Module) -> None:
    long = {f.name: size for f in functions(module) if (size := _lines(f)) > FUNCTION_LINES}
    assert long == {}


def _lines(f: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Those of a function but for its docstring, which is not to be shortened for a rule's sake."""
    whole = (f.end_lineno or f.lineno) - f.lineno + 1
    return whole - len(ast.get_docstring(f, clean=False).splitlines()) if ast.get_docstring(f) else whole


@every_module
def test_module_says_what_it_is(module: Module) -> None:
    docstring = ast.get_docstring(module.tree) or ""
    assert docstring.split("\n\n")[0].rstrip().endswith((".", ":")), "the docstring's first sentence"


@every_module
def test_public_names_are_listed(module: Module) -> None:
    """`__all__` holds all public functions and classes of a module and no name that it lacks."""
    if module.name == "imagesmith.__main__":
        return
    made = {n.name for n in module.tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    public = {n for n in made if not n.startswith("_")}
    listed = _listed(module)
    if listed is None:
        assert not public, "the module has public names and no __all__"
        return
    assert public - set(listed) == set(), "public and not in __all__"
    assert set(listed) - _bound(module) == set(), "in __all__ and not in the module"
    assert len(set(listed)) == len(listed), "twice in __all__"


#: What nobody calls, with the modules that may (and why).
NEVER = {
    "pickle.load": {"imagesmith.child": "both ends of its pipes are this program"},
    "pickle.loads": {},
    "marshal.loads": {},
    "eval": {},
    "exec": {},
    "os.system": {},
    "os.popen": {},
    ".extractall": {},
    "os.fork": {
        "imagesmith.worker.sandbox.initchild": "forks each step",
        "imagesmith.worker.sandbox.initchroot": "forks the step that it watches",
        "imagesmith.worker.sandbox.initsupervisor": "forks who answers the calls of a step",
        "imagesmith.worker.sandbox.subids": "has newuidmap started from outside, before there are threads",
        "imagesmith.worker.sandbox.world": "probes in a child, before there are threads",
    },
    "sys.exit": {"imagesmith.__main__": "the program's end", "imagesmith.cli.main": "the program's end"},
}  # fmt: skip


@every_module
def test_module_never_calls_what_is_forbidden(module: Module) -> None:
    calls = [n for n in ast.walk(module.tree) if isinstance(n, ast.Call)]
    bad = []
    for call in calls:
        text = ast.unparse(call.func)
        for name, allowed in NEVER.items():
            if (text == name or (name[0] == "." and text.endswith(name))) and module.name not in allowed:
                bad.append(f"line {call.lineno}: {text}")
    assert bad == []


@every_module
def test_foreign_faults_are_named_where_they_are_caught(module: Module) -> None:
    """A bare `except` is never written; `except Exception` goes on by raising or says why beside it."""
    lines = module.text.splitlines()
    bad = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = ast.unparse(node.type) if node.type else ""
        raises = any(isinstance(n, ast.Raise) for n in ast.walk(node))
        if caught in ("", "Exception", "BaseException") and not raises and "#" not in lines[node.lineno - 1]:
            bad.append(f"line {node.lineno}: except {caught}")
    assert bad == []


def _listed(module: Module) -> list[str] | None:
    for node in module.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets) and node.value is not None:
                return list(ast.literal_eval(node.value))
    return None


def _bound(module: Module) -> set[str]:
    """The names that a module binds; with a module-level `__getattr__`, the strings of its tables too."""
    names: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {a.asname or a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    if "__getattr__" in names:
        constants = (n.value for n in ast.walk(module.tree) if isinstance(n, ast.Constant))
        names |= {value for value in constants if isinstance(value, str)}
    return names
