"""`imagesmith config`: which files of defaults are read, what they give, and what is wrong in them."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from imagesmith.cli.common import print_json, say
from imagesmith.cli.defaults import Default, DefaultsFile, check, read, rivals_of
from imagesmith.cli.errors import show_error
from imagesmith.cli.lines import one_line
from imagesmith.cli.parser import default_files, users_file
from imagesmith.cli.reference import parser_of
from imagesmith.errors import UsageError
from imagesmith.values import replace

__all__ = ["configure", "run"]

_VARIABLE = "IMAGESMITH_CONFIG"
#: What flags end with whose values are nobody's to see.
_SECRET = ("password", "token", "creds")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """Tell of the files; the status is 2 where one has a mistake."""
    files = [read(path, project=project) for path, project in default_files()]
    rows, mistakes = _judged(files)
    if args.json:
        print_json(_document(files, rows, mistakes))
    else:
        _print(files, rows)
        sys.stdout.flush()
        for mistake in mistakes:
            show_error(mistake, sys.stderr)
    return UsageError.exit_code if mistakes else 0


def _judged(files: list[DefaultsFile]) -> tuple[list[tuple[Default, str]], list[UsageError]]:
    """The defaults, each with what counts instead of it (nothing where it holds); and all mistakes."""
    rows: list[tuple[Default, str]] = []
    mistakes: list[UsageError] = []
    held: dict[tuple[str, str], str] = {}
    for file in files:
        mistakes += file.mistakes
        own: dict[tuple[str, str], str] = {}
        for default in file.defaults:
            parser = parser_of(default.command)
            if parser is None or parser.has_verbs:
                mistakes.append(default.fault(f"`imagesmith {default.command}` takes no defaults"))
                continue
            try:
                action = check(parser, default)
            except UsageError as e:
                mistakes.append(e)
                continue
            key = default.command, action.dest
            shown = replace(default, value=("***",)) if default.flag.endswith(_SECRET) else default
            rows.append((shown, next(iter(rivals_of(default)), held.get(key, ""))))
            own[key] = default.place
        held = own | held
    return rows, mistakes


def _print(files: list[DefaultsFile], rows: list[tuple[Default, str]]) -> None:
    named = os.environ.get(_VARIABLE)
    for file in files:
        kind = _kind(file) if named is None else _VARIABLE
        say(f"{kind}: {file.path}{f' is passed over: {file.passed_over}' if file.passed_over else ''}")
    if named == "":
        say(f"{_VARIABLE} is empty: no file of defaults is read")
    elif named is None:
        if not any(file.project for file in files):
            say("project: no imagesmith.toml here or above, up to the repository's root")
        if all(file.project for file in files):
            say(f"user: no {users_file()}")
    for default, instead in rows:
        ends = f"; {instead} counts" if instead else ""
        for word in default.words() or [f"--{default.flag}"]:
            say(f"  {default.command} {one_line(word)}  # {default.place}{ends}")


def _kind(file: DefaultsFile) -> str:
    return "project" if file.project else "user"


def _document(
    files: list[DefaultsFile], rows: list[tuple[Default, str]], mistakes: list[UsageError]
) -> dict[str, Any]:
    return {
        "files": [
            {"path": f.path, "kind": _kind(f), **({"passedOver": f.passed_over} if f.passed_over else {})}
            for f in files
        ],
        "defaults": [
            {
                "command": d.command,
                "flag": d.flag,
                "value": d.value if isinstance(d.value, bool) else list(d.value),
                "file": d.file,
                "line": d.line,
                **({"instead": instead} if instead else {}),
            }
            for d, instead in rows
        ],
        "mistakes": [mistake.message for mistake in mistakes],
    }
