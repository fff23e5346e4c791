"""Which layer brought a package, and which line of which Dockerfile made that layer.

Why: a scanner sees an image's files, we have its layers. A package came with the lowest layer from which on
the file that tells of it has told of this version without a gap: for a file of its own that is where it
appeared, for a database it is found by reading what it was in each layer that wrote it, from the top down.
Trust: histories come from images: texts are cut. Databases are read by the readers' own doors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from imagesmith.fs.view import View
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.digest import Digest
from imagesmith.sbom.package import LONGEST_TEXT, Package, clean
from imagesmith.sbom.reading import Files, identities
from imagesmith.values import frozen

__all__ = ["Line", "Origin", "origins"]

#: A Dockerfile and a line of it, from 1.
Line = tuple[str, int]

#: A file that so many layers wrote is looked at in the uppermost ones only.
_MOST_STATES = 200


@frozen(kw_only=True)
class Origin:
    """The layer that brought a package.

    layer       its number from 0, the lowest
    diff_id     its digest; None where the config does not tell
    created_by  the step that made it, as the image's history has it; empty where it has none
    file, line  the instruction in a Dockerfile; empty and 0 where that is not known
    """

    layer: int
    diff_id: Digest | None = None
    created_by: str = ""
    file: str = ""
    line: int = 0


def origins(
    view: View,
    packages: Sequence[Package],
    config: ImageConfig,
    lines: Mapping[Digest, Line],
    folder: Path | None = None,
) -> dict[tuple[str, str], Origin]:
    """The origin of each package, by its purl and path.

    Args:
        view: the image's layers, in which the packages were found.
        packages: these.
        config: the image's.
        lines: what is known of the lines that made layers, by diff_id.
        folder: of the store; see reading.Files.
    """
    named = _layers(len(view.layers), config, lines)
    by_path: dict[str, list[Package]] = {}
    for package in packages:
        by_path.setdefault(package.path, []).append(package)
    out: dict[tuple[str, str], Origin] = {}
    for path, told in by_path.items():
        for package, layer in zip(told, _brought(view, path, told, folder), strict=True):
            if layer is not None:
                out[package.purl, path] = named[layer]
    return out


def _layers(count: int, config: ImageConfig, lines: Mapping[Digest, Line]) -> list[Origin]:
    """What is known of each layer."""
    steps = [h for h in config.history if not h.empty_layer]
    out = []
    for n in range(count):
        diff_id = config.diff_ids[n] if n < len(config.diff_ids) else None
        file, line = lines.get(diff_id, ("", 0)) if diff_id is not None else ("", 0)
        by = clean(steps[n].created_by)[:LONGEST_TEXT] if len(steps) == count else ""
        out.append(Origin(layer=n, diff_id=diff_id, created_by=by, file=file, line=line))
    return out


def _brought(view: View, path: str, packages: Sequence[Package], folder: Path | None) -> list[int | None]:
    """The layer that brought each of the packages that a file tells of."""
    states = _states(view, path)
    if len(states) <= 1:
        return [states[0] if states else None] * len(packages)
    found = [states[0]] * len(packages)
    open_ones = set(range(len(packages)))
    for layer in states[1:]:
        then = identities(path, Files(view.lowest(layer + 1), folder))
        open_ones = {n for n in open_ones if packages[n].identity in then}
        for n in open_ones:
            found[n] = layer
        if not open_ones:
            break
    return list(found)


def _states(view: View, path: str) -> list[int]:
    """The layers that wrote a file that is shown, from the top down to where there was none."""
    out: list[int] = []
    count = len(view.layers)
    while len(out) < _MOST_STATES:
        e, above = view.get(path), view.deciding(path)
        if e is None or e.kind != "f" or not above:
            break
        count -= above
        out.append(count)
        view = view.lowest(count)
    return out
