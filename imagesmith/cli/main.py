"""The `imagesmith` command: finds the subcommand, runs it, turns errors into one line and an exit status.

Why: only the chosen subcommand's module is imported, so `--version` and a cached build start fast.
Exit statuses are those of errors.py; 130 after Ctrl-C, 141 where the reader of the output went away.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from imagesmith import __version__
from imagesmith.errors import Cancelled, ImagesmithError, StoreError, UsageError
from imagesmith.plugins import COMMANDS, load

if TYPE_CHECKING:
    import argparse

    from imagesmith.cli.parser import Parser

__all__ = ["main", "run"]


def _top() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {help_}" for name, (_, help_) in COMMANDS.items())
    return (
        "usage: imagesmith [-v] COMMAND ...\n\n"
        "Build images from Dockerfiles and speak to OCI registries, without a daemon.\n\n"
        f"commands:\n{rows}\n\n"
        "options:\n"
        "  -h, --help   show this\n"
        "  --version    show the version; `imagesmith version --json` for programs\n"
        "  -v           say more about what is done and why\n\n"
        "`imagesmith COMMAND --help` tells what a command takes.\n"
        "example: imagesmith build -t registry.example/app --push .\n"
    )


def main(argv: Sequence[str]) -> int:
    """Run one command line and return its exit status."""
    try:
        try:
            status = _main(list(argv))
        except SystemExit as e:  # argparse has said what it had to say
            status = int(e.code or 0)
        sys.stdout.flush()  # what cannot be written is told here, not when the interpreter ends
    except ImagesmithError as e:
        from imagesmith.cli.errors import show_error

        show_error(_with_defaults(e), sys.stderr)
        return e.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped\n")
        return Cancelled.exit_code
    except BrokenPipeError:
        _drop_output()
        return 141
    except OSError as e:  # a full disk, a folder that is not ours: the machine's word, with its path
        lost = _drop_output()
        full = e.errno in (errno.ENOSPC, errno.EDQUOT)
        where = e.filename or ("standard output" if lost or full else "")
        text = f"{where}: {(e.strerror or str(e)).lower()}".removeprefix(": ")
        return _fault(text, e, StoreError.exit_code if full else ImagesmithError.exit_code)
    except Exception as e:  # a mistake of ours: still one line, and the way to the rest of it
        return _fault(f"internal error: {type(e).__name__}: {e}", e)
    return status


def _with_defaults(error: ImagesmithError) -> ImagesmithError:
    """An error of usage with the flags that nobody typed, since files of defaults gave them."""
    from imagesmith.cli.parser import CommandParser

    if CommandParser.from_files and isinstance(error, UsageError) and not error.hint:
        flags = " ".join(dict.fromkeys(word.partition("=")[0] for word in CommandParser.from_files))
        error.hint = f"imagesmith.toml gave {flags[:300]}; `imagesmith config` tells from which line"
    return error


def _drop_output() -> bool:
    """Send what is left in the buffer of standard output nowhere; returns True if it cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return True
    return False


def _main(words: list[str]) -> int:
    verbose = False
    while words and words[0] in ("-v", "--verbose"):
        verbose = True
        words.pop(0)
    if words[:1] == ["help"] and len(words) > 1:
        words = [*_helped(words[1:]), "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(_top())
        return 0 if words else 2
    if words[0] in ("--version", "version"):
        return _version(words[1:])
    if verbose:
        from imagesmith.cli.parser import be_verbose

        be_verbose()
    name = words.pop(0)
    if name not in COMMANDS:
        return _unknown(name)
    return _command(name, words)


def _version(words: list[str]) -> int:
    if words == ["--json"]:
        import json
        import platform

        said = {"version": __version__, "python": platform.python_version(), "platform": sys.platform}
        sys.stdout.write(json.dumps(said) + "\n")
    elif words:
        sys.stderr.write("error: version takes --json and no more\n")
        return 2
    else:
        sys.stdout.write(f"imagesmith {__version__}\n")
    return 0


def _unknown(name: str) -> int:
    from imagesmith.cli.foreign import instead_of
    from imagesmith.dockerfile.suggest import suggest

    instead = instead_of(name)
    if name.startswith("-"):
        meant = suggest(name, ["--help", "--version", "--verbose"])
    else:
        meant = "" if instead else suggest(name, [word for word in COMMANDS if word[0] == name[0]])
    what = "option" if name.startswith("-") else "command"
    hint = f"instead: {instead}" if instead else "`imagesmith --help` lists the commands"
    sys.stderr.write(f"error: unknown {what}: {name}{meant}\nhint: {hint}\n")
    return 2


def _helped(words: list[str]) -> list[str]:
    """The command that help is asked for, with its verb where it has verbs; other words are not looked at."""
    verbs = words[0] in COMMANDS and _parser(words[0])[0].has_verbs
    return words[: 2 if verbs else 1]


def _parser(name: str) -> tuple[Parser, Callable[[argparse.Namespace], int]]:
    """The parser of a command, and what does it."""
    from imagesmith.cli.parser import CommandParser

    module = load(COMMANDS[name][0])
    text = COMMANDS[name][1]
    parser = CommandParser(prog=f"imagesmith {name}", description=f"{text[0].upper()}{text[1:]}.")
    module.configure(parser)
    return parser, module.run


def _command(name: str, words: Sequence[str]) -> int:
    parser, handler = _parser(name)
    return handler(parser.parse_args(words))


def _fault(text: str, error: Exception, status: int = ImagesmithError.exit_code) -> int:
    """Show a fault that no module has made one of our errors; `-v` shows where it came from."""
    import logging

    from imagesmith.cli.lines import one_line

    logging.getLogger(__name__).debug("where it happened", exc_info=error)
    sys.stderr.write(f"error: {one_line(text)}\nhint: `imagesmith -v ...` shows where it happened\n")
    return status


def run() -> NoReturn:
    """The entry point of the installed command.

    The process ends at once: all is closed by then, and an interpreter takes twenty milliseconds to end.
    """
    gc.set_threshold(50_000, 20, 100)  # entries come by the hundred thousand, and there are no cycles of them
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored no process can be awaited
    status = main([*_own_words(sys.argv[0]), *sys.argv[1:]])
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _own_words(program: str) -> list[str]:
    """The command that a link to this program stands for: kaniko's executor, or a plugin of docker."""
    name = os.path.basename(program)
    plugin = name.removeprefix("docker-") if name in ("docker-imagesmith", "docker-buildx") else ""
    return ["kaniko"] if name == "executor" else ["docker-plugin", "call", plugin] if plugin else []


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
