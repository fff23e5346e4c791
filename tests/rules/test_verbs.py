"""A verb is a file of its name, without dashes, in `cli/` with two plain functions; and has one of tests."""

from __future__ import annotations

import ast
import types

import pytest

import imagesmith
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


#: Verbs that programs have under another name.
OTHERWISE = {
    "artifact": ("push_files", "pull_files"),
    "blob": ("read_blob",),
    "cat": ("read",),
    "manifest": ("read_manifest",),
    "mirror": ("copy_tags",),
    "verify-attestation": ("verify_attestation",),
    "key": ("generate_key",),
}
#: Verbs that are no function of the library, and why.
ALONE = {
    "cache": "folders of this machine's builds, for whoever keeps the machine",
    "completion": "of a shell",
    "config": "the command line's own defaults, which a program does not have",
    "docker-plugin": "installs a command",
    "doctor": "a report for people",
    "explore": "a view for people; ls, read and inspect have what it shows",
    "kaniko": "other words for build",
    "pin": "a file of the project; build has `pin`",
    "registry": "a server",
    "work": "one part of a bake that was begun elsewhere",
}


@every_verb
def test_verb_is_a_function_of_the_library_or_says_why_not(verb: str) -> None:
    names = OTHERWISE.get(verb, (verb,))
    there = [name for name in names if isinstance(getattr(imagesmith, name, None), types.FunctionType)]
    assert (there == list(names)) != (verb in ALONE)
    assert set(ALONE) | set(OTHERWISE) <= set(COMMANDS)
