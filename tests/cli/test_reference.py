"""The reference is what the parsers are, verbs and flags; its tables are what code and README say."""

from __future__ import annotations

import argparse
import re

import pytest

from imagesmith import errors
from imagesmith.cli.main import main
from imagesmith.cli.parser import Parser
from imagesmith.cli.reference import CommandPage, commands, files, page_of, statuses, top_page
from imagesmith.plugins import COMMANDS, load
from tests.support import PROJECT

PAGES = commands()
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def test_every_command_has_a_page_in_order() -> None:
    assert tuple(page.name for page in PAGES if " " not in page.name) == tuple(COMMANDS) == top_page().verbs
    verbs = [f"{page.name} {verb}" for page in PAGES for verb in page.verbs]
    assert verbs == [page.name for page in PAGES if " " in page.name]
    assert {"cache ls", "registry serve", "blob put", "key generate"} < set(verbs)


@every_page
def test_page_has_every_flag_that_the_parser_takes(page: CommandPage) -> None:
    parser = _parser_of(page.name)
    assert {n for flag in page.flags for n in flag.names} == set(parser._option_string_actions)
    assert len(page.arguments) == sum(not action.option_strings for action in parser._actions)


@every_page
def test_page_is_complete(page: CommandPage) -> None:
    assert re.fullmatch(r"[a-z`].*[^.]", page.summary), page.summary
    assert page.usage.startswith(f"imagesmith {page.name} [flags]")
    assert page.description.endswith(".")
    assert page.examples, "add one to cli/examples.py"
    for flag in page.flags:
        assert flag.help, flag.name
        assert "%(" not in flag.help
    for argument in page.arguments:
        assert argument.help, argument.name


@every_page
def test_every_help_has_an_example(page: CommandPage, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*page.name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    after = shown.partition("\nexamples:\n")[2]
    assert [line.strip() for line in after.splitlines()] == list(page.examples)
    assert all(len(line) <= 80 for line in after.splitlines())


def test_flags_are_told_as_they_are() -> None:
    build = page_of("build")
    assert build is not None
    flags = {flag.name: flag for flag in build.flags}
    tag = flags["--tag"]
    assert (tag.names, tag.metavar, tag.repeatable) == (("-t", "--tag"), "REF", True)
    assert (flags["--push"].metavar, flags["--push"].default) == ("", "")
    assert (flags["--load"].optional, flags["--isolation"].optional) == (True, False)
    assert flags["--isolation"].choices == ("auto", "native", "chroot", "oci")
    assert flags["--isolation"].default == "auto"
    assert flags["--tag"].group == "what comes out"
    assert (build.arguments[0].name, build.arguments[0].required) == ("CONTEXT", False)
    attest = page_of("attest")
    assert attest is not None
    assert "--predicate FILE" in attest.usage


def test_verb_is_asked_alone() -> None:
    page = page_of("cache prune")
    assert page is not None
    assert page.name == "cache prune"
    assert page_of("cache nothing") is page_of("nothing") is None


def test_defaults_are_the_programs_not_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDKIT_PROGRESS", "plain")
    page = page_of("build")
    assert page is not None
    assert next(flag.default for flag in page.flags if flag.name == "--progress") == "auto"


def test_statuses_are_those_of_errors_and_of_readme() -> None:
    told = {page.status: page.meaning for page in statuses()}
    raised = {e.exit_code for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)}
    assert raised | {0, 141} == set(told)
    readme = (PROJECT / "README.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", readme, re.MULTILINE)
    assert {int(status): meaning for status, meaning in rows} == told


def test_every_verb_that_finds_a_difference_is_told_with_its_status() -> None:
    told = next(page.meaning for page in statuses() if page.status == errors.Different.exit_code)
    verbs = (PROJECT / "imagesmith/cli").glob("*.py")
    assert [p.stem for p in verbs if "Different(" in p.read_text() and f"`{p.stem}" not in told] == []


def test_files_are_told_once_each() -> None:
    paths = [page.path for page in files()]
    assert len(paths) == len(set(paths))
    code = [path for path in (PROJECT / "imagesmith").rglob("*.py") if path.name != "facts.py"]
    text = "".join(path.read_text() for path in code)
    assert [p for p in paths if p.rstrip("/").rsplit("/", 1)[-1].replace("HOST", "certs.d") not in text] == []


def _parser_of(name: str) -> argparse.ArgumentParser:
    command, _, verb = name.partition(" ")
    parser = Parser(prog=f"imagesmith {command}")
    load(COMMANDS[command][0]).configure(parser)
    if not verb:
        return parser
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return groups[0].choices[verb]
