"""argparse with the manners of docker's command line, one line for a mistake, and our exit status.

Why: switches may have a value (`--push=true`, `--no-cache=false`), as in every command line made with Go;
-v may stand anywhere; flags of other tools are looked up (foreign.py) before argparse sees them. No flag is
guessed from its beginning. What the command line leaves open, files of defaults may say (defaults.py): here
it is only looked whether there are any, since most builds have none and each starts with this.
Trust: the folder that a command runs in may be somebody else's checkout; see defaults.py.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable
from typing import IO, Any, NoReturn

__all__ = ["CommandParser", "Parser", "be_verbose", "default_files", "users_file"]

#: Its texts are in English, as ours are: it would look for others in eight places, again and again.
vars(argparse)["_"] = str
#: What the files are called; the folder of the user's is below that of all settings.
_NAME = "imagesmith.toml"
#: Commands that take nothing from them: one tells of them, one is run whenever Tab is pressed.
_WITHOUT = ("imagesmith config", "imagesmith completion")


def be_verbose() -> None:
    """Log what is done and why to standard error."""
    import logging

    # Ours alone: what libraries log of requests has tokens and signatures in it.
    logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("imagesmith").setLevel(logging.DEBUG)


def default_files() -> list[tuple[str, bool]]:
    """The files of defaults that there are, the project's before the user's: paths, and True for a project's.

    Where IMAGESMITH_CONFIG is set, it alone counts: a user's file, or none if it is empty. The project's lies
    in the folder where the command runs, or above it, up to the root of its git repository; outside of one
    nothing above is looked at, since the folders there may be anybody's.
    """
    named = os.environ.get("IMAGESMITH_CONFIG")
    if named is not None:
        return [(named, False)] if named else []
    users = users_file()
    found = [(users, False)] if users[:1] == "/" and os.access(users, os.F_OK) else []
    try:
        project = _project_file(os.getcwd())
    except OSError:  # the folder is gone
        project = ""
    return [(project, True), *found] if project and project != users else found


def users_file() -> str:
    """Where the user's file of defaults is looked for; a place that is not absolute is none."""
    folder = os.environ.get("XDG_CONFIG_HOME")
    if not folder:
        folder = f"{os.environ.get('HOME') or os.path.expanduser('~')}/.config"
    return f"{folder}/imagesmith/{_NAME}"


def _project_file(folder: str) -> str:
    """The file of the project that a folder is in; empty for none."""
    if os.access(f"{folder}/{_NAME}", os.F_OK):
        return f"{folder}/{_NAME}"
    folders: list[str] = []
    while not os.access(f"{folder}/.git", os.F_OK):
        above = folder.rpartition("/")[0]
        if above == folder:
            return ""
        folders.append(folder := above)
    return next((f"{f}/{_NAME}" for f in folders if os.access(f"{f}/{_NAME}", os.F_OK)), "")


def _columns() -> int:
    """The width of the terminal; shutil tells it too, and imports all compressions."""
    try:
        given = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        given = 0
    if given <= 0:
        with contextlib.suppress(AttributeError, ValueError, OSError):  # no output, or not to a terminal
            given = os.get_terminal_size(sys.__stdout__.fileno()).columns  # type: ignore[union-attr]
    return given if given > 0 else 80


class _Formatter(argparse.HelpFormatter):
    """Help as wide as the terminal; each parser makes one, whether it is shown or not."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


class Parser(argparse.ArgumentParser):
    """The parser of one command, or of a command of a command."""

    #: Whether files of defaults count: for what somebody typed.
    heeds_files = False

    def __init__(self, **words: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(**{"allow_abbrev": False, "formatter_class": _Formatter, **words})
        #: What the words gave that were read last.
        self.given: set[str] = set()

    @property
    def has_verbs(self) -> bool:
        """True of a command of commands."""
        return self._subparsers is not None

    def format_help(self) -> str:
        """The flags, and examples of the command below them."""
        from imagesmith.cli.examples import examples_of

        lines = examples_of(self.prog.removeprefix("imagesmith "))
        shown = "".join(f"  {line}\n" for line in lines)
        return super().format_help() + (f"\nexamples:\n{shown}" if lines else "")

    def print_help(self, file: IO[str] | None = None) -> None:  # type: ignore[override]
        """Print the help; argparse's own would pass over an output that is full or was closed."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Say one line and the way to more, and end with the status of a wrong command line."""
        sys.stderr.write(f"error: {message}\nhint: `{self.prog} --help` shows what it takes\n")
        raise SystemExit(2)

    def parse_known_args(  # type: ignore[override]
        self, args: Iterable[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """See argparse.

        Raises:
            UsageError: a flag of another tool that would change something here, or one that nobody knows.
        """
        words = self._our_words(list(sys.argv[1:] if args is None else args))
        if self.heeds_files and not self.has_verbs and "help" not in self.given and self.prog not in _WITHOUT:
            files = default_files()
            if files:
                from imagesmith.cli.defaults import words_of

                found = words_of(self, self.given, files)
                words = [*self._our_words(list(found)), *words]
                CommandParser.from_files = tuple(found)
        return super().parse_known_args(words, namespace)

    def _our_words(self, words: list[str]) -> list[str]:
        """The words as argparse understands them; `given` is then which flags they name."""
        self.given = set()
        ends = any(a.nargs in (argparse.REMAINDER, argparse.PARSER) for a in self._actions)
        kept: list[str] = []
        while words:
            word = words.pop(0)
            if word == "--" or (ends and (word[:1] != "-" or word == "-")):
                return [*kept, word, *words]  # from here on they are somebody else's
            if word[:1] != "-" or word == "-":
                kept.append(word)
                continue
            name, equals, value = word.partition("=")
            action = self._option_string_actions.get(name)
            self._note(name, action)
            if action is not None and action.nargs == "?":  # a switch that may say more
                if not equals:
                    kept.append(f"{name}={action.const}")  # its value is never the next word
                elif action.default is None or value.lower() not in ("0", "f", "false"):
                    kept.append(word)  # without a default, no is not what silence is
            elif action is not None and action.nargs == 0 and equals:
                kept = self._switched(kept, name, action, value)
            elif action is not None or self._is_bundle(name):
                kept.append(word)
                if not equals and self._wants_more(name, action):
                    kept += words[:1]
                    del words[:1]
            elif name in ("-v", "--verbose"):
                be_verbose()
            else:
                from imagesmith.cli.foreign import passed_over

                command = self.prog.removeprefix("imagesmith ")
                if passed_over(command, name, value if equals else None, list(self._option_string_actions)):
                    del words[:1]
        return kept

    def _note(self, name: str, action: argparse.Action | None) -> None:
        """Remember that a flag is given, or those of a bundle."""
        if action is not None:
            self.given.add(action.dest)
        elif self._is_bundle(name):
            for letter in name[1:]:
                found = self._option_string_actions.get(f"-{letter}")
                if found is not None:
                    self.given.add(found.dest)
                if found is None or found.nargs != 0:
                    return  # the rest is its value

    def _switched(self, kept: list[str], name: str, action: argparse.Action, value: str) -> list[str]:
        from imagesmith.cli.foreign import boolean

        if boolean(name, value):
            return [*kept, name]
        opposite = f"--no-{name[2:]}"
        kept = [word for word in kept if word not in action.option_strings]
        return [*kept, opposite] if opposite in action.option_strings else kept

    def _is_bundle(self, name: str) -> bool:
        """Several flags of one letter in a word, or one with its value."""
        return name[:2] != "--" and len(name) > 2 and name[:2] in self._option_string_actions

    def _wants_more(self, name: str, action: argparse.Action | None) -> bool:
        """True if the value of a flag is the next word."""
        if action is None:  # -qt NAME: the last letter's; -tNAME has its own
            actions = [self._option_string_actions.get(f"-{letter}") for letter in name[1:]]
            if any(a is None or a.nargs != 0 for a in actions[:-1]) or actions[-1] is None:
                return False
            action = actions[-1]
        return action.nargs is None


class CommandParser(Parser):
    """The parser of a command that somebody typed: what it leaves open, files of defaults may say."""

    heeds_files = True
    #: The words that files gave, for whoever tells of a mistake in what was asked.
    from_files: tuple[str, ...] = ()
