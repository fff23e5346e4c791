"""The builds that words of `imagesmith bake` ask for, for programs that build them: imagesmith.bake.

Why through words: the parsers of `bake` and `build` check every value there is; see baking.py.
Trust: definitions are others'. Nobody is asked for what they may not do: it is an error.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence

from imagesmith.bake.flags import call_of
from imagesmith.cli import bake
from imagesmith.cli.baking import requests_of
from imagesmith.cli.parser import Parser
from imagesmith.errors import UsageError
from imagesmith.request import BuildRequest

__all__ = ["baked_by"]


@contextlib.contextmanager
def baked_by(words: Sequence[str]) -> Iterator[tuple[list[BuildRequest], list[str]]]:
    """The builds, each after those that it needs, and the names of the targets that were meant.

    They can be built as long as the `with` lasts: a definition from elsewhere is there so long.

    Args:
        words: arguments of `imagesmith bake`, with none that only look.

    Raises:
        UsageError: the words are wrong, or the targets want what is not allowed.
        DefinitionError: the definition is.
    """
    parser = Parser(prog="imagesmith bake", exit_on_error=False)
    bake.configure(parser)
    try:
        args = parser.parse_args(list(words))
    except argparse.ArgumentError as e:
        raise UsageError(str(e).removeprefix("argument ")) from e
    with contextlib.ExitStack() as stack:
        chosen = bake.chosen_by(args, stack)
        if chosen.needs:
            raise UsageError(
                f"additional privileges requested: {', '.join(chosen.needs.values)}",
                hint=f"allow={list(chosen.needs.values)} grants them",
            )
        selection = bake.granted(chosen.meant, args.load)
        for name, target in selection.targets.items():
            if call_of(target):
                raise UsageError(f"target {name} asks for a call, and builds nothing")
        names = [name for name in selection.targets if name not in selection.linked]
        yield requests_of(selection, args), names
