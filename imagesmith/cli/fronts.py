"""Which front shows what happens: `--progress`, and what standard error is."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from imagesmith.cli.lines import colours
from imagesmith.cli.progress import Front
from imagesmith.errors import UsageError

__all__ = ["make_front"]


def make_front(mode: str, out: TextIO | None = None) -> Front:
    """The front for `--progress`: auto, plain, tty, rawjson or quiet.

    Raises:
        UsageError: another one, for the environment may name it, too.
    """
    stream = sys.stderr if out is None else out
    if mode == "auto":
        live = stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
        mode = "tty" if live else "plain"
    match mode:
        case "plain":
            from imagesmith.cli.plain import Plain

            return Plain(stream)
        case "tty":
            from imagesmith.cli.terminal import Terminal

            return Terminal(stream, colours(stream))
        case "rawjson":
            from imagesmith.cli.rawjson import RawJson

            return RawJson(stream)
        case "quiet":
            return Front(stream)
    raise UsageError(f"invalid progress mode {mode}", hint="auto, plain, tty, rawjson and quiet are known")
