"""`imagesmith explore`: what is in an image, layer by layer: in the terminal, as a page, or judged in CI.

Why a summary where nobody can press a key: what a pipe or a log gets is the same numbers in lines.
Trust: histories, names and labels are the image's; they are cleaned wherever they are shown.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from imagesmith.cli.common import add_session_flags, human, opened, platform_of, print_json, say, source_at
from imagesmith.cli.flags import add_platform, new_file
from imagesmith.cli.lines import one_line, visible
from imagesmith.errors import Different, UsageError

if TYPE_CHECKING:
    from imagesmith.explore.limits import Limits, Verdict
    from imagesmith.explore.model import Exploration, LayerFacts
    from imagesmith.interfaces import ImageSource
    from imagesmith.store.store import Store

__all__ = ["configure", "run"]

#: Of the paths that waste most, so many are in the summary.
_SHOWN = 10
#: Of what made a layer, so many characters.
_WIDTH = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_session_flags(parser)
    add_platform(parser)
    parser.add_argument("--html", default="", metavar="FILE", type=new_file, help="write a page of it")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--plain", action="store_true", help="a summary in lines, on a terminal too")
    limits = parser.add_argument_group("limits, which --ci judges; exit status 10 where one is broken")
    limits.add_argument(
        "--ci", action="store_true",
        help="judge the image, by the limits below, or by efficiency 0.9 and user waste 0.1",
    )  # fmt: skip
    for flag, metavar, text in (
        ("--max-size", "SIZE", "most that is pulled: 200MB"),
        ("--max-wasted", "SIZE", "most bytes of files that a later layer hides"),
        ("--max-wasted-percent", "PERCENT", "the same as a share of all bytes in layers"),
    ):
        limits.add_argument(flag, default="", metavar=metavar, help=text)
    limits.add_argument("--highestWastedBytes", dest="max_wasted", metavar="SIZE", help="dive's --max-wasted")
    limits.add_argument(
        "--lowestEfficiency", default="", metavar="SHARE", help="least share of bytes that are seen, 0 to 1"
    )
    limits.add_argument(
        "--highestUserWastedPercent", default="", metavar="SHARE",
        help="most hidden share of what lies above the lowest layer, 0 to 1, as dive has it",
    )  # fmt: skip
    parser.add_argument("ref", help="an image, in any place")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.explore.limits import judged

    limits = _limits(args)
    screen = (
        not (args.ci or args.html or args.json or args.plain) and sys.stdout.isatty() and sys.stdin.isatty()
    )
    if screen:
        _need_textual()
    with opened(args, spare=True) as (session, store), source_at(args.ref, session, store) as source:
        model = _explored(args, source, store)
        if args.html:
            _write_page(args, model)
        verdicts = judged(model, limits) if limits is not None else ()
        if screen:
            from imagesmith.cli.explorescreen import show

            show(model)
        elif args.json:
            from imagesmith.explore.document import document_of

            print_json(document_of(model, verdicts))
        elif not args.html or args.ci:
            _summary(model)
    if not args.json:
        say(*(_judgement(v) for v in verdicts))
    broken = [v for v in verdicts if not v.kept]
    if broken:
        raise Different(f"{args.ref} breaks {len(broken)} of {len(verdicts)} limits")
    return 0


def _need_textual() -> None:
    from importlib.util import find_spec

    from imagesmith.extras import how_to_get

    if find_spec("textual") is None:
        raise UsageError(
            f"the terminal view needs textual: {how_to_get('explore')}",
            hint="--plain, --html FILE, --json and --ci work without it",
        )


def _limits(args: argparse.Namespace) -> Limits | None:
    """The limits that were given; None where nothing is to be judged."""
    from imagesmith.explore.limits import USUAL, Limits
    from imagesmith.options import parse_size

    given = Limits(
        size=parse_size(args.max_size, "--max-size") if args.max_size else None,
        wasted=parse_size(args.max_wasted, "--max-wasted") if args.max_wasted else None,
        wasted_percent=_share(args.max_wasted_percent, "--max-wasted-percent", 100),
        efficiency=_share(args.lowestEfficiency, "--lowestEfficiency", 1),
        user_wasted=_share(args.highestUserWastedPercent, "--highestUserWastedPercent", 1),
    )
    if given == Limits():
        return USUAL if args.ci else None
    if not args.ci:
        raise UsageError("limits are judged with --ci alone", hint="add --ci")
    return given


def _share(text: str, flag: str, most: int) -> float | None:
    """A number from 0 to `most`; None for no text, and for dive's word for no limit."""
    if text in ("", "disabled"):
        return None
    try:
        value = float(text.removesuffix("%") if most == 100 else text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise UsageError(f"{flag} {text!r}: expected a number from 0 to {most}")
    return value


def _explored(args: argparse.Namespace, source: ImageSource, store: Store) -> Exploration:
    from imagesmith.explore.files import open_files
    from imagesmith.explore.instructions import instructions_of
    from imagesmith.explore.model import explore

    platform = platform_of(args)
    files = open_files(source, store, platform)
    told = sys.stderr.isatty()

    def progress(number: int) -> None:
        if told:
            sys.stderr.write(f"\r\x1b[Kreading layer {number} of {len(files.layers)}")
            sys.stderr.flush()

    try:
        return explore(files, instructions_of(source, files.manifest.digest, platform), progress)
    finally:
        if told:
            sys.stderr.write("\r\x1b[K")


def _write_page(args: argparse.Namespace, model: Exploration) -> None:
    from imagesmith.explore.page import page
    from imagesmith.fs.results import put_file

    put_file(args.html, page(model, args.ref).encode())


def _summary(model: Exploration) -> None:
    """The numbers, the layers, and what wastes most."""
    say(
        f"{visible(model.name)} {model.platform}",
        f"{human(model.size)} in {len(model.layers)} layers, {human(model.unpacked)} unpacked, "
        f"{human(model.wasted)} of it wasted, efficiency {100 * model.efficiency:.1f}%",
        "",
        f"{'layer':>5} {'size':>9} {'unpacked':>9} {'wasted':>9} {'+':>6} {'~':>6} {'-':>6}  made by",
    )
    say(*(_line(layer) for layer in model.layers))
    if model.hidden:
        say("", "what is wasted most:")
    for w in model.hidden[:_SHOWN]:
        say(f"{human(w.size):>9}  {visible(w.path)}  {w.fate} by layer {w.by}")
    left = len(model.hidden) + model.more_hidden - _SHOWN
    if left > 0:
        say(f"{'':>9}  and {left} more")


def _line(layer: LayerFacts) -> str:
    where = f"{layer.instruction.file}:{layer.instruction.first}: " if layer.instruction else ""
    made = one_line(f"{where}{layer.made_by}")
    made = made if len(made) <= _WIDTH else f"{made[: _WIDTH - 1]}…"
    return (
        f"{layer.number:>5} {human(layer.size):>9} {human(layer.unpacked):>9} {human(layer.wasted):>9} "
        f"{layer.added:>6} {layer.modified:>6} {layer.removed:>6}  {made}"
    ).rstrip()


def _judgement(v: Verdict) -> str:
    sign = "at least" if v.name == "efficiency" else "at most"
    return f"{'ok  ' if v.kept else 'FAIL'} {v.name}: {_measure(v, v.found)}, {sign} {_measure(v, v.limit)}"


def _measure(v: Verdict, value: float) -> str:
    if v.unit == "bytes":
        return human(int(value))
    return f"{value:.4g}{'%' * (v.unit == 'percent')}"
