"""Which instruction of which Dockerfile made a layer, by what is attested of the image.

Why both builders: our provenance has the plan, whose steps have lines, and BuildKit's a map of the source;
both say, in mode=max, which step brought which layers. What history tells is there for every image, and is
all that is left without a provenance.
Spec: docs/provenance.md; BuildKit's docs/attestations/slsa-definitions.md (buildkit_metadata).
Trust: a provenance is anybody's: all of it is looked at field by field, counts are bounded, and what is not
as it should be tells nothing. Whether somebody signed it is not asked here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from imagesmith.attest.reading import attached_to, predicates_of
from imagesmith.attest.statement import SLSA
from imagesmith.errors import ImagesmithError
from imagesmith.interfaces import ImageSource
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import Platform
from imagesmith.values import frozen

__all__ = ["Instruction", "instructions_of", "read_instructions"]

#: Where the two versions of the two builders keep what they know of the source and of layers.
_METADATA = ("imagesmith_metadata", "buildkit_metadata")
_METADATA_02 = ("urn:imagesmith:dockerfile-build:v1#metadata", "https://mobyproject.org/buildkit@v1#metadata")
_MOST_STEPS, _MOST_TEXT, _MOST_LINES = 20_000, 4 << 20, 200


@frozen(kw_only=True)
class Instruction:
    """Lines of a Dockerfile, from `first` to `last`, and their text."""

    file: str
    first: int
    last: int
    text: str


def instructions_of(source: ImageSource, digest: Digest, platform: Platform) -> dict[str, Instruction]:
    """What is attested of the lines that made an image's layers, by the digests of these.

    Args:
        source: the image.
        digest: of its manifest.
        platform: which image of an index.

    An attestation that is missing, damaged or of another form tells nothing.
    """
    out: dict[str, Instruction] = {}
    try:
        for attached in attached_to(source, platform):
            if attached.image.digest != digest:
                continue
            for _, predicate in predicates_of(source, attached, (SLSA,)):
                out = out or read_instructions(predicate)
    except ImagesmithError:
        return out
    return out


def read_instructions(predicate: Any) -> dict[str, Instruction]:  # noqa: ANN401 - whatever JSON can hold
    """The lines that a provenance tells of layers, by their digests."""
    metadata = _metadata(predicate)
    files = list(_files(metadata))
    lines = {**_lines_of_plan(predicate), **_lines_of_map(metadata)}
    out = {}
    for layer, step in _steps_of_layers(metadata).items():
        number, first, last = lines.get(step, (0, 0, 0))
        if 0 < first <= last and 0 <= number < len(files):
            name, text = files[number]
            some = text[first - 1 : min(last, first - 1 + _MOST_LINES)]
            if some:
                out[layer] = Instruction(file=name, first=first, last=last, text="\n".join(some))
    return out


def _at(value: Any, *keys: str) -> Any:  # noqa: ANN401 - JSON
    """What is at a path of keys; None where there is nothing."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - JSON
    return value[:_MOST_STEPS] if isinstance(value, list) else []


def _map(value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return value if isinstance(value, dict) and len(value) <= _MOST_STEPS else {}


def _number(value: Any) -> int:  # noqa: ANN401 - JSON
    return value if isinstance(value, int) and 0 <= value < 1 << 31 else 0


def _metadata(predicate: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    found = (_at(predicate, "runDetails", "metadata", key) for key in _METADATA)
    older = (_at(predicate, "metadata", key) for key in _METADATA_02)
    return next((m for m in (*found, *older) if isinstance(m, dict)), {})


def _files(metadata: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The Dockerfiles, as name and lines."""
    for info in _list(_at(metadata, "source", "infos"))[:10]:
        name, data = _at(info, "filename"), _at(info, "data")
        if not isinstance(data, str) or len(data) > _MOST_TEXT:
            data = ""
        try:
            text = base64.b64decode(data).decode("utf-8", "replace")
        except binascii.Error:
            text = ""
        yield (name if isinstance(name, str) and name else "Dockerfile")[:300], text.splitlines()


def _lines_of_plan(predicate: Any) -> dict[str, tuple[int, int, int]]:  # noqa: ANN401 - JSON
    """Of our steps the number of the file, and the first and last line."""
    plan = _at(predicate, "buildDefinition", "internalParameters", "buildConfig")
    out = {}
    for step in _list(_at(plan or _at(predicate, "buildConfig"), "steps")):
        name, lines = _at(step, "id"), _list(_at(step, "lines"))
        if isinstance(name, str) and len(lines) == 2:
            out[name] = (0, _number(lines[0]), _number(lines[1]))
    return out


def _lines_of_map(metadata: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    """The same of BuildKit's steps."""
    out = {}
    for step, found in _map(_at(metadata, "source", "locations")).items():
        for place in _list(_at(found, "locations"))[:1]:
            ranges = _list(_at(place, "ranges"))
            first = [_number(_at(r, "start", "line")) for r in ranges]
            last = [_number(_at(r, "end", "line")) for r in ranges]
            if ranges:
                out[step] = (_number(_at(place, "sourceIndex")), min(first), max(last))
    return out


def _steps_of_layers(metadata: dict[str, Any]) -> dict[str, str]:
    """The step that brought each layer: of a list of lists the one that has the layer last."""
    out: dict[str, str] = {}
    further: dict[str, tuple[int, str]] = {}
    for name, found in _map(_at(metadata, "layers")).items():
        step = name.partition(":")[0]
        for item in _list(found):
            if not isinstance(item, list):
                out.setdefault(str(_at(item, "digest") or ""), step)
                continue
            digests = [str(digest) for d in _list(item) if (digest := _at(d, "digest"))]
            if digests:
                out.setdefault(digests[-1], step)
            for digest in digests[:-1]:
                further[digest] = min(further.get(digest, (len(digests), step)), (len(digests), step))
    return {**{digest: step for digest, (_, step) in further.items()}, **out}
