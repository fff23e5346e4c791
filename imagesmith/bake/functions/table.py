"""All functions of bake's language by name, but for those that the evaluator does itself: try, can, convert.

Spec: buildx's bake/hclparser/stdlib.go.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.bake.functions import (
    collections,
    encodings,
    formatting,
    networks,
    numbers,
    regexes,
    secrets,
    semver,
    sets,
    texts,
    times,
)
from imagesmith.bake.functions.calling import Function

__all__ = ["FUNCTIONS"]

_TOPICS = (
    numbers, texts, collections, sets, encodings, networks, times, formatting, semver, regexes, secrets,
)  # fmt: skip

#: Each by its name.
FUNCTIONS: Mapping[str, Function] = {f.name: f for topic in _TOPICS for f in topic.FUNCTIONS}
