"""`imagesmith.toml`: what a flag is where the command line leaves it open, per project and per user.

    [build]
    platform = ["linux/amd64", "linux/arm64"]
    no-cache = true
    [cache.prune]
    older-than = "72h"

A table a command, with the names of its flags as keys. The command line wins over a variable of the
environment, that over the project's file, that over the user's; the winner has the flag alone, also a list.
Why words: what a file says becomes words before those that were typed: a flag means the same in both.
Trust: a project's file is somebody else's. It may only say what PROJECT_FLAGS lists: nothing that reads or
writes outside of the project, reaches or trusts a registry, names what is pushed, or loosens how RUN is kept
apart; what its Dockerfile can do anyhow it may ask for. It is no link, and belongs to this user, to root or
to the folder's owner. Both files are small, of short lines: tomllib takes seconds for a key of many parts.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from imagesmith.cli.lines import one_line
from imagesmith.errors import UsageError, reason_of
from imagesmith.plugins import COMMANDS
from imagesmith.values import frozen

__all__ = ["PROJECT_FLAGS", "Default", "DefaultsFile", "check", "read", "rivals_of", "words_of"]

_EPOCH = "SOURCE_DATE_EPOCH"
_MOST_BYTES, _LONGEST_LINE = 16 << 10, 1000
_WHERE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_HEAD = re.compile(r"\s*\[([^\[\]]+)\]")

_SHOWN = ("progress", "quiet", "explain")
_BUILT = (*_SHOWN, "file", "target", "build-arg", "label", "platform", "shm-size", "network")
#: command -> the flags that a project's file may give; those of `*` in every command that has them.
PROJECT_FLAGS: dict[str, tuple[str, ...]] = {
    "*": ("progress", "quiet"),
    "build": (*_BUILT, "annotation", "pull", "no-cache", "no-cache-filter"),
    "bake": ("explain", "file", "pull", "no-cache"),
    "pin": ("file", "target", "build-arg", "platform"),
    "reproduce": _BUILT,
}
#: flag -> the variables that go before what files say, and the commands in which they are read (none: all).
_VARIABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "authfile": (("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "DOCKER_CONFIG"), ()),
    "file": (("BUILDX_BAKE_FILE",), ("bake",)),
    "password-file": (("IMAGESMITH_KEY_PASSWORD", "COSIGN_PASSWORD"), ("sign", "attest", "key")),
    "platform": (("DOCKER_DEFAULT_PLATFORM",), ("build",)),
    "policy": (("IMAGESMITH_POLICY",), ()),
    "progress": (("BUILDKIT_PROGRESS",), ("build", "bake")),
    "registries-conf": (("CONTAINERS_REGISTRIES_CONF",), ()),
    "root": (("IMAGESMITH_ROOT",), ()),
    "sign-password-file": (("IMAGESMITH_KEY_PASSWORD", "COSIGN_PASSWORD"), ()),
}


@frozen
class Default:
    """What a file says of a flag.

    command    whose flag: "build", "cache prune"
    flag       its name without dashes
    value      True or False for a switch, else texts
    file, line where it stands
    project    True in a project's file
    """

    command: str
    flag: str
    value: bool | tuple[str, ...]
    file: str
    line: int
    project: bool

    @property
    def place(self) -> str:
        """FILE:LINE."""
        return f"{self.file}:{self.line}"

    def fault(self, text: str, hint: str = "") -> UsageError:
        """The error for what is wrong with it."""
        return UsageError(f"{self.place}: {self.flag}: {text}", hint=hint)

    def words(self) -> list[str]:
        """The words of a command line that say the same."""
        if isinstance(self.value, bool):
            return [f"--{self.flag}" if self.value else f"--{self.flag}=false"]
        texts = self.value
        if self.flag == "build-arg" and os.environ.get(_EPOCH):
            texts = tuple(text for text in texts if not text.startswith(f"{_EPOCH}="))
        return [f"--{self.flag}={text}" for text in texts]


@frozen
class DefaultsFile:
    """A file of defaults: what it gives, what is wrong in it, and why it is passed over if nothing counts."""

    path: str
    project: bool
    defaults: tuple[Default, ...] = ()
    mistakes: tuple[UsageError, ...] = ()
    passed_over: str = ""


def words_of(
    parser: argparse.ArgumentParser, given: set[str], files: Sequence[tuple[str, bool]]
) -> list[str]:
    """The words that files say for a command, for flags that its command line did not give.

    Args:
        parser: the command's.
        given: what its command line gave.
        files: as parser.default_files has them.

    Raises:
        UsageError: a file has a mistake, wherever in it that can be seen without the other commands' flags.
    """
    import logging

    log, out = logging.getLogger(__name__), list[str]()
    taken = _with_rivals(parser, given)
    command = parser.prog.removeprefix("imagesmith ")
    for file in (read(path, project=project) for path, project in files):
        if file.passed_over:
            sys.stderr.write(f"warning: {one_line(file.path)}: passed over: {file.passed_over}\n")
        for mistake in file.mistakes:
            raise mistake
        here: set[str] = set()
        for default in file.defaults:
            if default.command != command:
                continue
            action = check(parser, default)
            rival = next(iter(rivals_of(default)), "")
            if action.dest in taken or rival:
                log.debug("%s: --%s is given by %s", default.place, default.flag,
                          rival or "what goes before the file")  # fmt: skip
                continue
            log.debug("%s: gives --%s", default.place, default.flag)
            out += default.words()
            here.add(action.dest)
        taken |= _with_rivals(parser, here)
    return out


def rivals_of(default: Default) -> list[str]:
    """The variables of the environment that are set, and count instead of a default."""
    names, commands = _VARIABLES.get(default.flag, ((), ()))
    if commands and default.command.split(" ")[0] not in commands:
        return []
    return [name for name in names if os.environ.get(name)]


def _with_rivals(parser: argparse.ArgumentParser, given: set[str]) -> set[str]:
    """What flags set, and what those set that exclude them."""
    groups = ({action.dest for action in g._group_actions} for g in parser._mutually_exclusive_groups)
    return given.union(*(group for group in groups if group & given))


# --- one flag ------------------------------------------------------------------------------------


def check(parser: argparse.ArgumentParser, default: Default) -> argparse.Action:
    """The flag that a default is of, if it is one of the command and may have the value.

    Raises:
        UsageError: there is no such flag, or it takes no such value.
    """
    from imagesmith.dockerfile.suggest import suggest

    action = parser._option_string_actions.get(f"--{default.flag}")
    if action is None or action.dest == "help":
        names = [name[2:] for name in parser._option_string_actions if name.startswith("--")]
        raise default.fault(
            f"`imagesmith {default.command}` has no such flag{suggest(default.flag, names)}",
            hint=f"`imagesmith {default.command} --help` lists them",
        )
    if action.nargs == 0 and not isinstance(default.value, bool):
        raise default.fault("it is true or false")
    if isinstance(default.value, bool):
        if action.nargs not in (0, "?"):
            raise default.fault(f"it takes a text, {action.metavar or default.flag.upper()}")
        return action
    if len(default.value) != 1 and not isinstance(action, argparse._AppendAction):
        raise default.fault("it takes one text, not a list")
    for text in default.value:
        if action.choices is not None and text not in action.choices:
            raise default.fault(f"{text!r} is none of {', '.join(map(str, action.choices))}")
        try:
            if callable(action.type):
                action.type(text)
        except (argparse.ArgumentTypeError, ValueError) as e:
            raise default.fault(f"{text!r} is no value for it{f': {e}' if str(e) else ''}") from e
    return action


def _refusal(default: Default, folder: str) -> tuple[str, str]:
    """Why a project's file may not say that, and what to do; two empty texts where it may."""
    flag, value = default.flag, default.value if isinstance(default.value, tuple) else ()
    if flag not in (*PROJECT_FLAGS["*"], *PROJECT_FLAGS.get(default.command, ())):
        return "a project's file may not give it", "it can stand in your own file, or on the command line"
    if flag == "file" and any(_leaves(text, folder) for text in value):
        return "in a project's file it is a path within the project", "give it on the command line"
    if flag == "build-arg" and any("=" not in text or text.startswith("BUILDKIT_") for text in value):
        return (
            "in a project's file it is NAME=VALUE, and no BUILDKIT_ argument",
            "give it on the command line",
        )
    if flag == "build-arg" and (proxy := _proxy(value)):
        return f"a project's file may not set {proxy}, which steps obey and the cache does not count", (
            "give it on the command line"
        )
    if flag == "network" and value != ("none",):
        return "a project's file may only say none", "give it on the command line"
    return "", ""


def _proxy(arguments: Iterable[str]) -> str:
    """The first of build arguments that is a proxy: the next project would find what came through it."""
    from imagesmith.plan.scope import proxy_env

    return next((name for name, _, _ in (a.partition("=") for a in arguments) if proxy_env({name: "x"})), "")


def _leaves(path: str, folder: str) -> bool:
    """True for what is no path of a file below a folder."""
    inside = os.path.normpath(os.path.join(folder, path)).startswith(os.path.normpath(folder) + os.sep)
    return not inside or "://" in path or os.path.normpath(path) == "-"


# --- one file ------------------------------------------------------------------------------------


def read(path: str, *, project: bool) -> DefaultsFile:
    """Read a file of defaults; what is wrong with it is among its mistakes.

    A project's `file` is relative to where the file lies, and comes out relative to where the command runs.
    """
    shown = os.path.relpath(path) if project else path
    found: list[Default] = []
    mistakes: list[UsageError] = []
    try:
        text, why = _text(path, shown, project)
        if why:
            return DefaultsFile(shown, project, passed_over=why)
        for default in _defaults(text, shown, project, mistakes):
            refusal, hint = _refusal(default, os.path.dirname(path)) if project else ("", "")
            if refusal:
                mistakes.append(default.fault(refusal, hint))
            else:
                found.append(_from_here(default, os.path.dirname(path)) if project else default)
    except UsageError as e:
        mistakes.append(e)
    return DefaultsFile(shown, project, tuple(found), tuple(mistakes))


def _from_here(default: Default, folder: str) -> Default:
    if default.flag != "file" or isinstance(default.value, bool):
        return default
    from imagesmith.values import replace

    return replace(default, value=tuple(os.path.relpath(os.path.join(folder, v)) for v in default.value))


def _text(path: str, shown: str, project: bool) -> tuple[str, str]:
    """What the file holds, and why it is passed over, or nothing."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_NOFOLLOW if project else 0))
        with open(fd, "rb") as f:
            found = os.fstat(fd)
            if project and found.st_uid not in (os.geteuid(), 0, os.stat(os.getcwd()).st_uid):
                return (
                    "",
                    f"it belongs to user {found.st_uid}, who is neither you nor the owner of this folder",
                )
            if not stat.S_ISREG(found.st_mode):
                raise UsageError(f"{shown}: it is no file")
            data = f.read(_MOST_BYTES + 1)
    except OSError as e:
        reason = "it is a link, which a project's may not be" if e.errno == errno.ELOOP else reason_of(e)
        raise UsageError(
            f"{shown}: {reason}", hint="IMAGESMITH_CONFIG= does without files of defaults"
        ) from e
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{shown}: it is larger than {_MOST_BYTES >> 10} KiB")
    for number, row in enumerate(data.split(b"\n"), 1):
        if len(row) > _LONGEST_LINE:
            raise UsageError(f"{shown}:{number}: the line is longer than {_LONGEST_LINE} bytes")
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise UsageError(f"{shown}:{line}: it is no UTF-8") from e


def _defaults(text: str, file: str, project: bool, mistakes: list[UsageError]) -> Iterator[Default]:
    """What the file gives, in its order; tables and values that mean nothing are mistakes."""
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        where = _WHERE.search(str(e))
        line = int(where[1]) if where and where[1] else text.count("\n") + 1
        said = _WHERE.sub("", str(e))
        raise UsageError(f"{file}:{line}: {said[:1].lower()}{said[1:]}", hint="it is written in TOML") from e
    except RecursionError as e:
        raise UsageError(f"{file}: it is nested too deeply") from e
    lines = _lines(text)

    def line_of(*keys: str) -> int:
        return next((lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in lines), 1)

    def fault(what: str, hint: str, *keys: str) -> None:
        mistakes.append(UsageError(f"{file}:{line_of(*keys)}: {'.'.join(keys)}: {what}", hint=hint))

    for command, table in document.items():
        if not isinstance(table, dict):
            fault("it stands in no command's table", f"as in [build], with {command} = … below it", command)
        elif command not in COMMANDS:
            from imagesmith.dockerfile.suggest import suggest

            fault(f"there is no such command{suggest(command, COMMANDS)}", "`imagesmith --help` lists them",
                  command)  # fmt: skip
        else:
            for name, flag, value in _flags(command, table):
                keys = (*name.split(" "), flag)
                given = _value(value)
                if given is None:
                    fault("it is neither true, false, a text, a number nor a list of texts", "", *keys)
                else:
                    yield Default(name, flag, given, file, line_of(*keys), project)


def _flags(command: str, table: dict[str, Any]) -> Iterator[tuple[str, str, object]]:
    """Commands, flags and values of a command's table; a table in it is of a verb."""
    for key, value in table.items():
        if isinstance(value, dict) and " " not in command:
            yield from _flags(f"{command} {key}", value)
        else:
            yield command, key, value


def _value(value: object) -> bool | tuple[str, ...] | None:
    if isinstance(value, bool):
        return value
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int | float) and not isinstance(item, bool) for item in items):
        return None
    texts = tuple(map(str, items))
    return None if any("\0" in text for text in texts) else texts


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """On which line tables and keys stand first, as far as is seen without the whole grammar."""
    found: dict[tuple[str, ...], int] = {}
    above: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), 1):
        if head := _HEAD.match(line):
            above = _parts(head[1])
            found.setdefault(above, number)
        elif key := _KEY.match(line):
            found.setdefault((*above, *_parts(key[1])), number)
    return found


def _parts(key: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in key.split("."))
