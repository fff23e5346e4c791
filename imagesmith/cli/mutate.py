"""`imagesmith mutate`: an image with another config, other labels or annotations."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import TYPE_CHECKING

from imagesmith.cli.common import add_transfer_flags
from imagesmith.cli.edits import add_target_flags, opened_image, write_edited
from imagesmith.cli.flags import pairs
from imagesmith.errors import UsageError
from imagesmith.oci.names import Platform

if TYPE_CHECKING:
    from imagesmith.image.mutate import Changes

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_transfer_flags(parser)
    parser.add_argument("ref", help="an image, in any place; of an index, every image is changed")
    words = "a JSON list, or words as a shell splits them; empty removes it"
    parser.add_argument("--entrypoint", metavar="WORDS", help=words)
    parser.add_argument("--cmd", metavar="WORDS", help=words)
    for flag, metavar, what in (("--env", "K=V", "a variable"), ("--label", "K=V", "a label"),
                                ("--annotation", "K=V", "an annotation of the manifest")):  # fmt: skip
        parser.add_argument(
            f"-{flag[2]}", flag, action="append", default=[], metavar=metavar, help=f"{what}; K= removes it"
        )
    parser.add_argument("-u", "--user", help="the user that processes run as")
    parser.add_argument("-w", "--workdir", help="the working directory")
    parser.add_argument("--stop-signal", metavar="SIGNAL", help="the signal that stops a container")
    parser.add_argument("--author", help="who is responsible")
    parser.add_argument("--created", metavar="TIME", help="RFC 3339")
    parser.add_argument(
        "--set-platform", default="", metavar="OS/ARCH", help="the platform that the config names"
    )
    parser.add_argument("--exposed-ports", metavar="PORTS", help="8080,53/udp; empty removes all")
    parser.add_argument("--volumes", metavar="PATHS", help="/data,/log; empty removes all")
    add_target_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.image.edits import mutate_image

    changes = _changes(args)
    with opened_image(args, args.ref) as (source, session, store):
        write_edited(args, args.ref, mutate_image(source, store, changes), session, store)
    return 0


def _changes(args: argparse.Namespace) -> Changes:
    from imagesmith.image.mutate import Changes

    return Changes(
        entrypoint=_words(args.entrypoint),
        cmd=_words(args.cmd),
        user=args.user,
        workdir=args.workdir,
        stop_signal=args.stop_signal,
        created=args.created,
        author=args.author,
        platform=Platform.parse(args.set_platform) if args.set_platform else None,
        env=pairs(args.env, "--env"),
        labels=pairs(args.label, "--label"),
        annotations=pairs(args.annotation, "--annotation"),
        ports=_list(args.exposed_ports),
        volumes=_list(args.volumes),
    )


def _list(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(w.strip() for w in text.split(",") if w.strip())


def _words(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    try:
        if text.startswith("["):
            value = json.loads(text)
            if all(isinstance(w, str) for w in value):
                return tuple(value)
            raise ValueError("not all of it is text")
        return tuple(shlex.split(text))
    except ValueError as e:
        raise UsageError(f"{text!r}: {e}", hint='give words, or a JSON list such as ["a","b"]') from e
