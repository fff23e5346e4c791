"""The ignore file of a context: which one it is, and how its lines are read.

Spec: moby/patternmatcher's ignorefile; BuildKit's rule that `<Dockerfile>.dockerignore` beside the
Dockerfile replaces `.dockerignore` of the context's root.
"""

from __future__ import annotations

import posixpath
from pathlib import Path

from imagesmith.context.patterns import Matcher
from imagesmith.errors import ContextError

__all__ = ["parse_ignore", "read_ignore", "read_small"]

_MAX_LINE = 64 << 10
_MAX_BYTES = 16 << 20


def parse_ignore(data: bytes) -> list[str]:
    """The patterns of an ignore file's text."""
    out = []
    for line in data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").split("\n"):
        if len(line) > _MAX_LINE:
            raise ContextError("the ignore file has a line longer than 64 KiB")
        text = line.rstrip("\r")
        if text.startswith("#"):
            continue
        text = text.strip()
        if not text:
            continue
        mark = "!" if text.startswith("!") else ""
        text = text[len(mark) :].strip()
        if text:
            text = posixpath.normpath(text)
            text = text[1:] if text.startswith("//") else text
            if len(text) > 1 and text.startswith("/"):
                text = text[1:]
        out.append(mark + text)
    return out


def read_small(path: Path) -> bytes:
    """A Dockerfile or an ignore file; a link to something without an end is refused, not read.

    Raises:
        ContextError: it has more than 16 MiB.
        OSError: it cannot be read.
    """
    with path.open("rb") as f:
        data = f.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ContextError(f"{path} has more than {_MAX_BYTES >> 20} MiB")
    return data


def read_ignore(root: Path, dockerfile: Path | None = None) -> Matcher:
    """The matcher of a context folder's ignore file; one that matches nothing where there is none.

    Raises:
        ContextError: the file cannot be read, or holds a bad pattern.
    """
    places = [root / ".dockerignore"]
    if dockerfile is not None:
        places.insert(0, dockerfile.with_name(f"{dockerfile.name}.dockerignore"))
    for place in places:
        try:
            data = read_small(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as e:
            raise ContextError(f"cannot read {place}: {e.strerror}") from e
        try:
            return Matcher(parse_ignore(data))
        except ContextError as e:
            raise ContextError(f"{place}: {e.message}") from e
    return Matcher(())
