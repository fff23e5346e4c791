"""Targets that are built together and write to one place: files are refused, names are warned of.

Why: they are written at the same time, so that what is left is that of whoever ends last. A file can hold
one target's output only: that is a mistake of the definition, told before anything is built. Folders are
not refused: type=local puts files beside those that are there, and layouts have names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from imagesmith.errors import UsageError
from imagesmith.export.writing import names_of_output
from imagesmith.request import BuildRequest, Output

__all__ = ["doubled_names", "refuse_doubled_files"]


def refuse_doubled_files(requests: Sequence[BuildRequest]) -> None:
    """Refuse two builds that write one file.

    Raises:
        UsageError: it names both.
    """
    writers: dict[str, BuildRequest] = {}
    for request in requests:
        for dest in {os.path.realpath(o.dest) if o.dest != "-" else "-": o for o in _files(request)}:
            other = writers.setdefault(dest, request)
            if other is not request:
                shown = "standard output" if dest == "-" else dest
                raise UsageError(
                    f"targets {other.name} and {request.name} both write {shown}",
                    hint="give each an output of its own",
                )


def doubled_names(requests: Sequence[BuildRequest]) -> Iterator[str]:
    """Tell of names that several builds give to their images, in the registry or in the store."""
    holders: dict[tuple[str, bool], list[str]] = {}
    for request in requests:
        outputs = request.outputs or (Output(type="image"),)
        given = [o for o in outputs if o.type in ("image", "registry") or o.loads]
        for key in dict.fromkeys((str(ref), o.pushes) for o in given for ref in names_of_output(o, request)):
            holders.setdefault(key, []).append(request.name)
    for name in dict.fromkeys(name for (name, _), of in holders.items() if len(of) > 1):
        most = max((of for (n, _), of in holders.items() if n == name), key=len)
        yield f"targets {', '.join(most)} all have the name {name}: it will be that of whoever ends last"


def _files(request: BuildRequest) -> Iterator[Output]:
    """The outputs that are one file each."""
    for output in request.outputs:
        archive = output.type in ("oci", "docker") and output.flag("tar", True)
        if output.dest and (archive or output.type == "tar"):
            yield output
