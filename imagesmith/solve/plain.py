"""Values as plain JSON, and back: what the digest of a step is made of, and how a plan is written down.

Why one general function: a field that is added to an op is in its digest and in the written plan without
anybody's doing. A value is an object with the names of its fields and `kind`, which says what it is; a step
within a value is its digest.
Trust: a written plan is read through the strict door (oci/codec.py) and may name only the kinds that the
reader gives.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from imagesmith.errors import InvalidDocument
from imagesmith.values import field_names

__all__ = ["kind_of", "plain", "restored"]


def kind_of(kind: type) -> str:
    """What a class is called in JSON: by its own `kind`, else by its name."""
    own = kind.__dict__.get("kind")
    return own if isinstance(own, str) else kind.__name__


def plain(value: object) -> Any:  # noqa: ANN401 - JSON
    """A value as JSON has it; a step's digest in its place."""
    match value:
        case None | str() | int() | float():
            return value
        case bytes():
            return {"kind": "bytes", "base64": base64.b64encode(value).decode()}
        case tuple() | list():
            return [plain(v) for v in value]
        case Mapping():
            return {"kind": "map", "entries": [[plain(k), plain(v)] for k, v in value.items()]}
    digest = getattr(value, "step_digest", None)
    if digest is not None:
        return {"kind": "step", "digest": str(digest)}
    return {"kind": kind_of(type(value)), **_fields(value)}


def _fields(value: object) -> dict[str, object]:
    """The fields of a value as JSON has them."""
    return {name: plain(getattr(value, name)) for name in field_names(value)}


def restored(data: object, kinds: Mapping[str, Callable[..., Any]], step: Callable[[str], object]) -> Any:  # noqa: ANN401 - of any of the kinds
    """The value that was written.

    Args:
        data: JSON of `plain`.
        kinds: the classes that it may name.
        step: gives the step of a digest.

    Raises:
        InvalidDocument: it is none.
    """
    if isinstance(data, list):
        return tuple(restored(v, kinds, step) for v in data)
    if not isinstance(data, dict):
        return data
    kind = data.get("kind")
    given = {k: v for k, v in data.items() if k != "kind"}
    try:
        if kind == "step":
            return step(given["digest"])
        if kind == "map":
            return dict(restored(given["entries"], kinds, step))
        if kind == "bytes":
            return base64.b64decode(given["base64"], validate=True)
        return kinds[str(kind)](**{k: restored(v, kinds, step) for k, v in given.items()})
    except (KeyError, TypeError, ValueError) as e:
        raise InvalidDocument(f"a plan has an unknown value: {str(kind)[:40]!r}") from e
