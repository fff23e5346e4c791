"""Values of compose files, as what they stand for: texts, flags, lists, sizes.

Why: a value that a variable gave is a string, whatever its key wants; so flags and sizes are read from both.
Spec: compose-go's transform and its interpolation's casts; docker/go-units for sizes.
Trust: nodes of hostile files; what does not fit is refused at its place.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from imagesmith.bake.places import fault
from imagesmith.bake.yamltree import Node, Scalar, Sequence, text_of_scalar

__all__ = ["flag", "scalar", "size_text", "text", "texts", "words"]

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([kKmMgGtTpP]?)(?:[iI]?[bB])?")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def scalar(node: Node, key: str) -> str | None:
    """A scalar's text; None where it is nothing.

    Raises:
        DefinitionError: it is a list or a mapping.
    """
    if not isinstance(node, Scalar):
        raise fault(node.span, f"{key} must be a string")
    return None if node.value is None else text_of_scalar(node.value)


def text(node: Node, key: str) -> str:
    """The same, empty where it is nothing."""
    return scalar(node, key) or ""


def texts(node: Node, key: str) -> list[str]:
    """A list of texts.

    Raises:
        DefinitionError: it is none.
    """
    if not isinstance(node, Sequence):
        raise fault(node.span, f"{key} must be a list")
    return [text(item, key) for item in node.items]


def words(node: Node, key: str) -> list[str]:
    """A list of texts, or a text whose words they are."""
    return text(node, key).split() if isinstance(node, Scalar) else texts(node, key)


def flag(node: Node, key: str) -> bool:
    """A flag, or a word for one.

    Raises:
        DefinitionError: it is neither.
    """
    word = text(node, key).lower()
    if word in ("true", "1", "y", "yes", "on"):
        return True
    if word in ("false", "0", "n", "no", "off", ""):
        return False
    raise fault(node.span, f"{key} must be true or false, not {word[:40]!r}")


def size_text(node: Node) -> str:
    """A number of bytes, or one with a unit, as buildx shows it: `64MiB`, four digits; empty for none.

    Raises:
        DefinitionError: it is no size.
    """
    given = text(node, "shm_size")
    found = _SIZE.fullmatch(given)
    if found is None:
        raise fault(node.span, f"shm_size: {given[:40]!r} is no size; write 64m")
    size = float(int(Decimal(found[1]) * 1024 ** " kmgtp".index(found[2].lower() or " ")))
    if not size:
        return ""
    power = min(int(math.log(size, 1024)), len(_UNITS) - 1)
    return f"{size / 1024**power:.4g}{_UNITS[power]}"
