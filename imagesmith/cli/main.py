"""The `imagesmith` command: finds the subcommand, runs it, turns errors into one line and an exit status.

Why: only the chosen subcommand's module is imported, so `--version` and a cached build start fast.
Exit statuses are those of errors.py; 130 after Ctrl-C, 141 where the reader of the output went away.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from imagesmith import __version__
from imagesmith.errors import Cancelled, ImagesmithError
from imagesmith.plugins import COMMANDS, load

__all__ = ["main", "run"]


class _Parser(argparse.ArgumentParser):
    """argparse with our one line for a mistake and our exit status; no flag is guessed from its beginning."""

    def __init__(self, **words: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(**{"allow_abbrev": False, **words})

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"error: {message}\nhint: `{self.prog} --help` shows what it takes\n")
        raise SystemExit(2)


def _top() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {help_}" for name, (_, help_) in COMMANDS.items())
    return (
        "usage: imagesmith [-v] COMMAND ...\n\n"
        "Build images from Dockerfiles and speak to OCI registries, without a daemon.\n\n"
        f"commands:\n{rows}\n\n"
        "options:\n"
        "  -h, --help   show this\n"
        "  --version    show the version\n"
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

        show_error(e, sys.stderr)
        return e.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped\n")
        return Cancelled.exit_code
    except BrokenPipeError:
        _drop_output()
        return 141
    except OSError as e:  # a full disk, a folder that is not ours: the machine's word, with its path
        _drop_output()
        where = f"{e.filename}: " if e.filename else ""
        return _fault(f"{where}{e.strerror or e}", e)
    except Exception as e:  # a mistake of ours: still one line, and the way to the rest of it
        return _fault(f"internal error: {type(e).__name__}: {e}", e)
    return status


def _drop_output() -> None:
    """Send what is left in the buffer of standard output nowhere, if it cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _main(words: list[str]) -> int:
    verbose = False
    while words and words[0] in ("-v", "--verbose"):
        verbose = True
        words.pop(0)
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(_top())
        return 0 if words else 2
    if words[0] == "--version":
        sys.stdout.write(f"imagesmith {__version__}\n")
        return 0
    if verbose:
        import logging

        # Ours alone: what libraries log of requests has tokens and signatures in it.
        logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stderr)
        logging.getLogger("imagesmith").setLevel(logging.DEBUG)
    name = words.pop(0)
    if name not in COMMANDS:
        from imagesmith.dockerfile.suggest import suggest

        what = "option" if name.startswith("-") else "command"
        sys.stderr.write(f"error: unknown {what}: {name}{suggest(name, list(COMMANDS))}\n")
        sys.stderr.write("hint: `imagesmith --help` lists the commands\n")
        return 2
    return _command(name, words)


def _command(name: str, words: Sequence[str]) -> int:
    module = load(COMMANDS[name][0])
    text = COMMANDS[name][1]
    parser = _Parser(prog=f"imagesmith {name}", description=f"{text[0].upper()}{text[1:]}.")
    handler = module.configure(name, parser)
    return int(handler(parser.parse_args(words)) or 0)


def _fault(text: str, error: Exception) -> int:
    """Show a fault that no module has made one of our errors; `-v` shows where it came from."""
    import logging

    from imagesmith.cli.progress import clean

    logging.getLogger(__name__).debug("where it happened", exc_info=error)
    sys.stderr.write(f"error: {clean(text)}\nhint: `imagesmith -v ...` shows where it happened\n")
    return ImagesmithError.exit_code


def run() -> NoReturn:
    """The entry point of the installed command.

    The process ends at once: all is closed by then, and an interpreter takes twenty milliseconds to end.
    """
    gc.set_threshold(50_000, 20, 100)  # entries come by the hundred thousand, and there are no cycles of them
    signal.signal(signal.SIGTERM, _interrupt)
    status = main(sys.argv[1:])
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
