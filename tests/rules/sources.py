"""The project's own modules as the house rules see them: names, syntax trees and imports."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import PROJECT

PACKAGE = PROJECT / "imagesmith"


@dataclass(frozen=True)
class Import:
    """One imported module: `at_start` is False inside a function and under TYPE_CHECKING."""

    target: str
    line: int
    at_start: bool


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    name: str
    path: Path
    text: str
    tree: ast.Module
    imports: tuple[Import, ...]

    def __str__(self) -> str:
        return self.name


@functools.cache
def modules() -> dict[str, Module]:
    """Every module of the package by its dotted name."""
    paths = {name_of(p): p for p in sorted(PACKAGE.rglob("*.py"))}
    return {name: _read(name, path, frozenset(paths)) for name, path in paths.items()}


def name_of(path: Path) -> str:
    """The dotted name of a file of the package."""
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods of a module, nested ones too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _read(name: str, path: Path, known: frozenset[str]) -> Module:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, str(path))
    return Module(name, path, text, tree, tuple(_imports(tree, known, at_start=True)))


def _imports(node: ast.AST, known: frozenset[str], *, at_start: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_start) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            if child.level:
                raise AssertionError(f"line {child.lineno}: relative import; the house writes absolute ones")
            for alias in child.names:
                full = f"{child.module}.{alias.name}"
                yield Import(full if full in known else str(child.module), child.lineno, at_start)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imports(child, known, at_start=False)
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for part in child.body:
                yield from _imports(ast.Module([part], []), known, at_start=False)
            for part in child.orelse:
                yield from _imports(ast.Module([part], []), known, at_start=at_start)
        else:
            yield from _imports(child, known, at_start=at_start)
