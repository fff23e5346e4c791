"""A verb is a file of its name, without dashes, in `cli/` with two plain functions; and has one of tests."""

from __future__ import annotations

import ast

import pytest

from imagesmith.plugins import COMMANDS
from tests.rules.sources import functions, modules
from tests.support import PROJECT

every_verb = pytest.mark.parametrize("verb", COMMANDS)


@every_verb
def test_verb_is_a_file_with_two_plain_functions(verb: str) -> None:
    name = f"imagesmith.cli.{verb.replace('-', '')}"
    assert COMMANDS[verb][0] == name
    top = {f.name: f for f in functions(modules()[name]) if f in modules()[name].tree.body}
    shapes = {name: f"{ast.unparse(f.args)} -> {ast.unparse(f.returns or f)}" for name, f in top.items()}
    assert shapes["configure"] == "parser: argparse.ArgumentParser -> None"
    assert shapes["run"] == "args: argparse.Namespace -> int"


@every_verb
def test_verb_has_tests_of_its_own(verb: str) -> None:
    assert "\ndef test_" in (PROJECT / f"tests/cli/test_{verb.replace('-', '')}.py").read_text()
