"""`imagesmith cat`: the bytes of files of an image, in any place.

Trust: contents are the image's. They are written as they are, but to a terminal: there, control characters
are shown as their bytes, as in a name (lines.py).
"""

from __future__ import annotations

import argparse
import codecs
import sys
from collections.abc import Iterator

from imagesmith.cli.common import add_session_flags, opened, platform_of, source_at
from imagesmith.cli.flags import add_platform

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_session_flags(parser)
    add_platform(parser)
    parser.add_argument("ref", help="an image, in any place")
    parser.add_argument("path", nargs="+", help="a file of it; links are followed within the image")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.explore.files import open_files

    with opened(args, spare=True) as (session, store), source_at(args.ref, session, store) as source:
        files = open_files(source, store, platform_of(args))
        out = sys.stdout.buffer
        for path in args.path:
            pieces = files.pieces(path)
            for data in _shown(pieces) if sys.stdout.isatty() else pieces:
                out.write(data)
    return 0


def _shown(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Text for a terminal: lines and tabs stay, other control characters and what is no UTF-8 do not."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for data in pieces:
        yield _harmless(decoder.decode(data))
    yield _harmless(decoder.decode(b"", final=True))


def _harmless(text: str) -> bytes:
    if text.isprintable():
        return text.encode()
    shown = (c if c.isprintable() or c in "\n\t" else _bytes_of(c) for c in text)
    return "".join(shown).encode()


def _bytes_of(c: str) -> str:
    return "".join(f"\\x{b:02x}" for b in c.encode("utf-8", "surrogateescape"))
