"""What may stand at the end of a command line: commands, flags, values; and names of what is here.

Why asked of Python at each Tab, and not written into the shells' scripts: one place knows command lines, and
no script of yesterday knows less. It takes less than a tenth of a second; only for names of images, targets
and stages is more than the command's own parser imported.
Trust: a Dockerfile or bake file may be somebody else's, and nobody has agreed to anything when a key is
pressed. They are read, never followed: no network, no definition from elsewhere, a few seconds at most.
Only words of harmless characters come out, which no shell takes for more than a word; no name is a flag.
"""

from __future__ import annotations

import argparse
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence

from imagesmith.cli.lines import one_line
from imagesmith.errors import ImagesmithError
from imagesmith.plugins import COMMANDS
from imagesmith.values import frozen

__all__ = ["Answer", "completions"]

_HARMLESS = re.compile(r"[A-Za-z0-9_./:@+,=|-]+")
_MOST_BYTES, _MOST_NAMES = 1 << 20, 1000
_PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386", "linux/ppc64le",
              "linux/riscv64", "linux/s390x")  # fmt: skip
#: What flags' values are, by how usage shows them.
_METAVARS = {
    "FILE": "files", "KEY": "files", "PATH": "files", "DIR": "dirs", "STAGE": "stages", "P,…": "platforms",
    "OS/ARCH": "platforms", "PLATFORM": "platforms", "REF": "images", "IMAGE": "images",
    "STAGE[:LINE]": "stages", "TARGET": "images",
}  # fmt: skip
#: Values that are words, some of which parsers do not check.
_CHOICES = {
    "BOOL": ("true", "false"), "MODE": ("default", "none", "host"),
    "WHERE": ("docker", "podman", "containerd", "kind"),
}  # fmt: skip
#: What words are, by their names in parsers.
_WORDS = {
    "a": "images", "b": "images", "base": "images", "context": "dirs", "file": "files", "files": "files",
    "image": "images", "images": "images", "key": "files", "layer": "files", "layers": "files",
    "list": "files", "new": "images", "place": "files", "ref": "images", "source": "images",
    "target": "images", "targets": "targets", "to": "images", "command": "files",
}  # fmt: skip
_TOP = (("help", "show what a command takes"), ("version", "show the version"))
_TOP_FLAGS = (("--help", "show the commands"), ("--version", "show the version"), ("-v", "say more"))


@frozen
class Answer:
    """What may stand there: words with what they are, and perhaps `files` or `dirs` besides."""

    words: tuple[tuple[str, str], ...] = ()
    paths: str = ""


def completions(words: Sequence[str]) -> Answer:
    """What the last word may be.

    Args:
        words: of a command line after the program's name; the last is the beginning of one, or empty.
    """
    *before, word = words or [""]
    while before[:1] in (["-v"], ["--verbose"]):
        before = before[1:]
    helps = before[:1] == ["help"]
    before = before[1:] if helps else before
    if not before:
        commands = [*((name, text) for name, (_, text) in COMMANDS.items()), *(() if helps else _TOP)]
        return _matching(_TOP_FLAGS if word.startswith("-") and not helps else commands, word)
    found = _parser_at(before)
    if found is None:
        return Answer()
    parser, rest = found
    verbs = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if verbs and not word.startswith("-"):
        return _matching([(c.dest, c.help or "") for c in verbs[0]._choices_actions], word)
    return Answer() if helps else _Line(parser, rest).at(word)


def _parser_at(words: list[str]) -> tuple[argparse.ArgumentParser, list[str]] | None:
    """The parser of the command or verb that words begin with, and the words after it."""
    from imagesmith.cli.reference import parser_of

    parser = parser_of(words[0])
    if parser is not None and parser.has_verbs and len(words) > 1:
        return None if (below := parser_of(" ".join(words[:2]))) is None else (below, words[2:])
    return None if parser is None else (parser, words[1:])


class _Line:
    """The words of a command before the one that is completed."""

    def __init__(self, parser: argparse.ArgumentParser, words: list[str]) -> None:
        self._parser = parser
        self._flags = parser._option_string_actions
        self._arguments = [action for action in parser._actions if not action.option_strings]
        self._given: dict[str, list[str]] = {}
        self._plain: list[str] = []
        self._open: argparse.Action | None = None
        self._ended = False
        for word in words:
            self._take(word)

    def _take(self, word: str) -> None:
        if self._open is not None:
            self._given[self._open.dest].append(word)
            self._open = None
            return
        action = self._argument()
        if self._ended or word[:1] != "-" or word == "-":
            self._plain.append(word)
            self._ended |= action is not None and action.nargs == argparse.REMAINDER
        elif word == "--":
            self._ended = True
        else:
            name, equals, value = word.partition("=")
            flag = self._flags.get(name)
            if flag is not None:
                given = self._given.setdefault(flag.dest, [])
                if equals:
                    given.append(value)
                elif flag.nargs is None:
                    self._open = flag

    def _argument(self) -> argparse.Action | None:
        """What the next plain word is; None where no more may stand."""
        for n, action in enumerate(self._arguments):
            if n == len(self._plain) or action.nargs in ("*", "+", argparse.REMAINDER):
                return action
        return None

    def at(self, word: str) -> Answer:
        """What the word may be."""
        if self._open is not None:
            return self._values(self._open, word, "")
        name, equals, value = word.partition("=")
        if equals and name in self._flags and not self._ended:
            return self._values(self._flags[name], value, f"{name}=")
        if word.startswith("-") and not self._ended:
            return _matching(self._names(), word)
        action = self._argument()
        return Answer() if action is None else self._values(action, word, "")

    def _names(self) -> Iterator[tuple[str, str]]:
        for action in self._parser._actions:
            again = isinstance(action, argparse._AppendAction) or action.dest not in self._given
            if again and action.help != argparse.SUPPRESS:
                text = (action.help or "") % {**vars(action), "prog": "imagesmith"}
                yield from ((name, text) for name in action.option_strings)

    def _values(self, action: argparse.Action, word: str, before: str) -> Answer:
        choices = _CHOICES.get(str(action.metavar)) if action.choices is None else action.choices
        if choices is not None:
            return _matching([(str(choice), "") for choice in choices], word, before)
        kind = (
            _METAVARS.get(str(action.metavar), "") if action.option_strings else _WORDS.get(action.dest, "")
        )
        if kind in ("files", "dirs"):
            return Answer(paths=kind)
        if kind == "platforms":
            kept, comma, word = word.rpartition(",")
            others = [(name, "") for name in _PLATFORMS if name not in kept.split(",")]
            return _matching(others, word, before + kept + comma)
        names = {"images": self._images, "stages": self._stages, "targets": self._targets}.get(kind)
        try:
            found = [(name, "") for name in names() if name[:1] != "-"] if names else []
            return _matching(found, word, before)
        except (ImagesmithError, OSError):  # nobody asked what is wrong with a file
            return Answer()

    # --- names of what is here -------------------------------------------------------------------

    def _last(self, dest: str) -> str:
        return next(reversed(self._given.get(dest, [])), "")

    def _images(self) -> Iterable[str]:
        """Names in the store, if there is one: nothing is made or waited for."""
        from imagesmith.settings import Settings
        from imagesmith.store.folder import images_in

        return sorted(ref.familiar for ref, _ in images_in(Settings.load(self._last("root")).root))

    def _stages(self) -> Iterable[str]:
        """Names of the stages of the Dockerfile that the line speaks of."""
        from imagesmith.dockerfile.reader import read

        folder = self._plain[0] if self._plain else "."
        path = self._last("file") or os.path.join(folder, "Dockerfile")
        lines = (line.text for line in read(_bytes(path), path).lines)
        found = (re.fullmatch(r"(?is)\s*from\s.*\sas\s+(\S+)\s*", line) for line in lines)
        return [match[1] for match in found if match]

    def _targets(self) -> Iterable[str]:
        """Groups and targets of the definition that the line speaks of, if it is here."""
        from imagesmith.bake.definition import define
        from imagesmith.bake.files import allows_lookup, names_given, read_definition
        from imagesmith.bake.reading import Folder
        from imagesmith.bake.variables import Given

        files = names_given(self._given.get("file", []), os.environ)
        for name in files:
            _bytes(name)
        bodies = read_definition(files, local=Folder("."), remote=None, env=os.environ, given={}, stdin=bytes)
        env = os.environ if allows_lookup(os.environ) else {}
        definition = define(bodies, Given(vars={}, env=env, context="", platform=_PLATFORMS[0]))
        return [*definition.groups, *definition.targets]


def _bytes(path: str) -> bytes:
    """A file of a bearable size; a pipe or a device is none."""
    with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as f:
        return f.read(_MOST_BYTES) if stat.S_ISREG(os.fstat(f.fileno()).st_mode) else b""


def _matching(words: Iterable[tuple[str, str]], start: str, before: str = "") -> Answer:
    """Those that begin so and are harmless, with what stands before them."""
    found: dict[str, str] = {}
    for word, text in words:
        if word.startswith(start) and _HARMLESS.fullmatch(before + word) and len(found) < _MOST_NAMES:
            found.setdefault(before + word, one_line(text)[:100])
    return Answer(tuple(found.items()))
