"""What the program takes and says, as values: commands, flags, exit statuses, variables, files that it reads.

Why: the site, the man pages and the completions are made of these, and of nothing that is written twice. They
are asked of the parsers that read command lines, so none of them can speak of a flag that is not there.
Trust: nothing here is input; what others wrote (names of images) is not in it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from typing import Any

from imagesmith import __version__
from imagesmith.cli.examples import examples_of
from imagesmith.cli.facts import FILES, STATUSES, VARIABLES, FilePage, StatusPage, VariablePage
from imagesmith.cli.parser import Parser
from imagesmith.plugins import COMMANDS, load
from imagesmith.values import frozen

__all__ = [
    "Argument",
    "CommandPage",
    "FilePage",
    "Flag",
    "StatusPage",
    "VariablePage",
    "commands",
    "files",
    "page_of",
    "parser_of",
    "statuses",
    "top_page",
    "variables",
]


@frozen
class Argument:
    """A word of a command line that is no flag.

    name        as usage shows it
    help        what it is
    required    False where it may be left out
    repeatable  True where several may stand
    choices     the words that it may be, where only some
    """

    name: str
    help: str
    required: bool
    repeatable: bool
    choices: tuple[str, ...] = ()


@frozen
class Flag:
    """A flag of a command.

    names       its spellings, one of which is the longest: ("-t", "--tag")
    metavar     what stands for its value; empty for a switch
    optional    True where the value may be left out, and is given as --flag=VALUE only
    default     the value where it is not given; empty for none
    choices     the words that the value may be, where only some
    help        what it does
    repeatable  True where it may be given several times, each adding to the ones before
    required    True where it must be given
    group       the heading that it stands under; empty without one
    """

    names: tuple[str, ...]
    metavar: str
    help: str
    optional: bool = False
    default: str = ""
    choices: tuple[str, ...] = ()
    repeatable: bool = False
    required: bool = False
    group: str = ""

    @property
    def name(self) -> str:
        """The name that it has in files and texts: the first with two dashes, else the first."""
        return next((name for name in self.names if name.startswith("--")), self.names[0])


@frozen
class CommandPage:
    """A command, or a verb of one, which is a page of its own.

    name         without the program's: "build", "cache ls"
    summary      one line, lower case, without a full stop
    usage        what is typed: "imagesmith build [flags] [context]"
    description  sentences
    arguments    its words, in order; of a command with verbs the verb is one
    flags        in the order of --help
    verbs        the names of its verbs; their pages follow it
    examples     command lines, which a test runs
    """

    name: str
    summary: str
    usage: str
    description: str
    arguments: tuple[Argument, ...]
    flags: tuple[Flag, ...]
    verbs: tuple[str, ...]
    examples: tuple[str, ...]


def top_page() -> CommandPage:
    """The page of the program itself; its verbs are the commands."""
    return CommandPage(
        name="",
        summary="build images from Dockerfiles and speak to OCI registries, without a daemon",
        usage="imagesmith [-v] COMMAND ...",
        description="Build images from Dockerfiles and speak to OCI registries, without a daemon."
        f" This is version {__version__}.",
        arguments=(Argument("COMMAND", "what is to be done; `help COMMAND` tells more", True, False),),
        flags=(
            Flag(("-h", "--help"), "", "show the commands"),
            Flag(("--version",), "", "show the version; `imagesmith version --json` for programs"),
            Flag(("-v", "--verbose"), "", "say more about what is done and why; may stand anywhere"),
        ),
        verbs=tuple(COMMANDS),
        examples=("imagesmith build -t registry.example/app --push .",),
    )


def commands() -> tuple[CommandPage, ...]:
    """The pages of all commands in the order of `imagesmith --help`, each followed by those of its verbs."""
    return tuple(page for name in COMMANDS for page in _pages(name))


def page_of(name: str) -> CommandPage | None:
    """The page of a command or verb ("build", "cache ls"); None where there is none such."""
    command = name.split(" ")[0]
    if command not in COMMANDS:
        return None
    return next((page for page in _pages(command) if page.name == name), None)


def parser_of(name: str) -> Parser | None:
    """The parser of a command or verb; None where there is none such."""
    command, _, verb = name.partition(" ")
    if command not in COMMANDS:
        return None
    parser = _parser(command)
    if not verb:
        return parser
    return next((group.choices[verb] for group in _verb_groups(parser) if verb in group.choices), None)


def statuses() -> tuple[StatusPage, ...]:
    """Every exit status."""
    return STATUSES


def variables() -> tuple[VariablePage, ...]:
    """Every variable of the environment that is read."""
    return VARIABLES


def files() -> tuple[FilePage, ...]:
    """Every file of settings that is read."""
    return FILES


# --- parsers as pages ----------------------------------------------------------------------------


@contextlib.contextmanager
def _unset(*names: str) -> Iterator[None]:
    """No such variables for the while: defaults that they give are this machine's, not the program's."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _pages(name: str) -> Iterator[CommandPage]:
    parser = _parser(name)
    yield _page(name, COMMANDS[name][1], parser)
    for group in _verb_groups(parser):
        summaries = {choice.dest: choice.help or "" for choice in group._choices_actions}
        for verb, below in group.choices.items():
            yield _page(f"{name} {verb}", summaries.get(verb, ""), below)


def _parser(command: str) -> Parser:
    parser = Parser(prog=f"imagesmith {command}")
    with _unset("BUILDKIT_PROGRESS"):
        load(COMMANDS[command][0]).configure(parser)
    return parser


def _verb_groups(parser: argparse.ArgumentParser) -> list[argparse._SubParsersAction[Any]]:
    return [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]


def _page(name: str, summary: str, parser: argparse.ArgumentParser) -> CommandPage:
    verbs = tuple(verb for group in _verb_groups(parser) for verb in group.choices)
    headings = {
        id(action): group.title or ""
        for group in parser._action_groups
        for action in group._group_actions
        if group.title not in ("options", "positional arguments")
    }
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    arguments = tuple(_argument(action) for action in shown if not action.option_strings)
    flags = tuple(_flag(action, headings.get(id(action), "")) for action in shown if action.option_strings)
    return CommandPage(
        name=name,
        summary=summary,
        usage=_usage(name, arguments, flags),
        description=f"{summary[:1].upper()}{summary[1:]}." if summary else "",
        arguments=arguments,
        flags=flags,
        verbs=verbs,
        examples=tuple(examples_of(name)),
    )


def _usage(name: str, arguments: tuple[Argument, ...], flags: tuple[Flag, ...]) -> str:
    needed = [f"{flag.name} {flag.metavar}".rstrip() for flag in flags if flag.required]
    words = [
        f"{'' if a.required else '['}{a.name}{'...' if a.repeatable else ''}{'' if a.required else ']'}"
        for a in arguments
    ]
    return " ".join(["imagesmith", name, "[flags]", *needed, *words])


def _argument(action: argparse.Action) -> Argument:
    if isinstance(action, argparse._SubParsersAction):
        return Argument("VERB", "what is to be done", True, False, tuple(action.choices))
    many = action.nargs in ("*", "+", argparse.REMAINDER)
    return Argument(
        name=str(action.metavar or action.dest).upper(),
        help=_text(action),
        required=action.nargs not in ("?", "*", argparse.REMAINDER),
        repeatable=many,
        choices=tuple(map(str, action.choices or ())),
    )


def _flag(action: argparse.Action, group: str) -> Flag:
    takes = action.nargs != 0
    names = action.option_strings
    return Flag(
        names=tuple(sorted(names, key=lambda name: name.startswith("--"))),
        metavar=_metavar(action) if takes else "",
        help=_text(action),
        optional=action.nargs == "?",
        default=_default(action) if takes else "",
        choices=tuple(map(str, action.choices or ())),
        repeatable=isinstance(action, argparse._AppendAction),
        required=action.required,
        group=group,
    )


def _metavar(action: argparse.Action) -> str:
    if action.metavar is None:
        return "|".join(map(str, action.choices)) if action.choices else action.dest.upper()
    return str(action.metavar)


def _default(action: argparse.Action) -> str:
    plain = isinstance(action.default, str | int | float) and not isinstance(action.default, bool)
    return str(action.default) if plain and action.default and action.default != argparse.SUPPRESS else ""


def _text(action: argparse.Action) -> str:
    """The help as it is printed: %-words filled in."""
    words = {**vars(action), "prog": "imagesmith"}
    return (action.help or "") % words if action.help else ""
