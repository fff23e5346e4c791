"""What becomes of words of a command line: switches with values, bundles, flags of other tools."""

from __future__ import annotations

import argparse
import logging
import sys

import pytest

from imagesmith.cli.buildflags import add_build_flags
from imagesmith.cli.foreign import lines_of
from imagesmith.cli.main import main
from imagesmith.cli.parser import Parser
from imagesmith.errors import UsageError
from imagesmith.plugins import COMMANDS, load


def build(*words: str) -> argparse.Namespace:
    """What `imagesmith build` understands."""
    parser = Parser(prog="imagesmith build")
    add_build_flags(parser)
    return parser.parse_args(list(words))


@pytest.mark.parametrize(
    ("words", "push"),
    [
        ("--push", True),
        ("--push=true", True),
        ("--push=1", True),
        ("--push=T", True),
        ("--push=false", False),
        ("--push --push=false", False),
        ("--push=0 --push=TRUE", True),
        ("--push=F", False),
    ],
)
def test_a_switch_may_have_a_value(words: str, push: bool) -> None:
    assert build(*words.split(), ".").push is push
    assert build(".", *words.split()).context == "."


def test_a_switch_is_true_or_false() -> None:
    for value in ("maybe", "yes", "", "TRue"):
        with pytest.raises(UsageError, match="true or false"):
            build(f"--no-cache={value}", ".")


@pytest.mark.parametrize(
    "words",
    [
        "--rm .",
        "--rm=false .",
        "--force-rm=true .",
        "--compress .",
        "--builder default .",
        "--builder=x .",
        "--disable-content-trust .",
        "--load=false .",
        "--pull=false .",
        "--layers .",
        "--layers=true .",
        "--snapshot-mode redo .",
        "--cache=true .",
        "--tls-verify=true .",
    ],
)
def test_what_changes_nothing_here_is_passed_over(words: str) -> None:
    assert vars(build(*words.split())) == vars(build("."))


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        ("--layers=false", "--no-cache"),
        ("--cache=false", "--no-cache"),
        ("--destination r/a", "-t REF --push"),
        ("--tls-verify=false", "--insecure"),
        ("--security-opt x", "--allow"),
        ("--timestamp 0", "SOURCE_DATE_EPOCH"),
        ("--tarPath x", "type=docker"),
    ],
)
def test_what_would_change_something_is_refused_with_what_to_use(words: str, instead: str) -> None:
    with pytest.raises(UsageError) as e:
        build(*words.split(), ".")
    assert words.split()[0] in e.value.message
    assert instead in e.value.hint


def test_every_flag_of_others_has_one_line_and_is_not_everywhere_ours() -> None:
    foreign, listed = set(), set()
    for command in COMMANDS:
        parser = Parser(prog=f"imagesmith {command}")
        load(COMMANDS[command][0]).configure(parser)
        lines = [line.partition(" = ") for line in lines_of(command)]
        names = [name for names, _, _ in lines for name in names.split()[1:]]
        doubles = {name for name in names if names.count(name) > 1}
        assert doubles <= {
            "--creds",
            "--no-creds",
            "--registry-token",
        }  # of verbs with two sides: the first holds
        listed |= {*names}
        foreign |= {*names} - {*parser._option_string_actions}
        for said, _, instead in lines:
            assert said.split()[0] in ("switch", "value") or (
                said.split()[0] in ("off", "on", "no") and instead
            )
    assert foreign == listed


def test_an_unknown_flag_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"unknown flag: --no-cahce \(did you mean --no-cache\?\)"):
        build("--no-cahce", ".")
    with pytest.raises(UsageError, match="unknown flag: -z"):
        build("-z", ".")


def test_values_are_left_as_they_are() -> None:
    assert build("-t", "a", "-tb", "-qt", "c", "--tag=d", ".").tag == ["a", "b", "c", "d"]
    assert build("-f", "-", "-").file == "-"
    assert build("--build-arg", "A=--rm", "--build-arg=B=--squash", ".").build_arg == ["A=--rm", "B=--squash"]
    assert build("--", "--squash").context == "--squash"


def test_the_words_of_a_command_in_an_image_are_its_own() -> None:
    parser = Parser(prog="imagesmith run")
    load(COMMANDS["run"][0]).configure(parser)
    args = parser.parse_args(["--rm=true", "image", "cmd", "--squash", "-v", "--rm=false"])
    assert args.command == ["cmd", "--squash", "-v", "--rm=false"]


def test_v_may_stand_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **words: told.append(words["stream"]))
    assert build(".", "-v", "--push").push
    assert build("--verbose", ".").context == "."
    assert told == [sys.stderr] * 2
    assert logging.getLogger("imagesmith").level == logging.DEBUG


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("du", "cache ls"),
        ("ps", "imagesmith run"),
        ("list", "imagesmith images"),
        ("imagetools", "index create"),
        ("history", "imagesmith inspect"),
        ("biuld", "did you mean build?"),
        ("--vresion", "did you mean --version?"),
    ],
)
def test_unknown_commands_get_a_sane_answer(word: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 2
    assert said in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--json"]) == 0
    assert '"version": "' in capsys.readouterr().out
    assert main(["version", "--what"]) == 2
    assert main(["help", "copy"]) == 0
    assert "usage: imagesmith copy" in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["", "0", "-3", "wide", "50", "132"])
def test_help_is_as_wide_as_the_terminal(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    ours, pythons = Parser(prog="imagesmith build"), Parser(prog="imagesmith build")
    pythons.formatter_class = argparse.HelpFormatter
    for parser in (ours, pythons):
        add_build_flags(parser)
    assert ours.format_help() == pythons.format_help()
