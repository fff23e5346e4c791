"""Whoever opens, mounts, follows or parses what others made says in its head whom it trusts with what."""

from __future__ import annotations

import ast

import pytest

from tests.rules.sources import Module, modules

#: Calls that bring in what somebody else may have made.
BRING = frozenset(
    {
        "glob", "iterdir", "iter_entries", "listdir", "loads", "mount", "mount_overlay", "open", "open_code",
        "open_tree", "parse_document", "read_bytes", "read_text", "readlink", "recv", "recv_fds", "recv_into",
        "scandir",
    }
)  # fmt: skip
#: What a module may open without a word: it is the program's own, or the user's own word for this run.
OWN = {
    "imagesmith.cli": "files that the user names on the command line, read by the doors below",
    "imagesmith.grammars": "the grammars that are installed with the program",
}


def brings(module: Module) -> set[str]:
    """The calls of a module that bring something in."""
    names = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if name in BRING:
                names.add(name)
    return names


@pytest.mark.parametrize("module", modules().values(), ids=str)
def test_head_says_whom_it_trusts(module: Module) -> None:
    if any(module.name == own or module.name.startswith(f"{own}.") for own in OWN):
        return
    if found := brings(module):
        head = ast.get_docstring(module.tree) or ""
        assert "\nTrust: " in head, f"calls {sorted(found)}"
