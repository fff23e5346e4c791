"""A target: what one image, or one set of files, is built of, in the words of bake files.

Spec: buildx's bake reference; the order of the attributes is that of `--print`.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.bake.places import Span
from imagesmith.values import field, frozen

__all__ = ["Attributes", "Entry", "Group", "Target"]

#: One of attest, cache-from, cache-to, output, secret, ssh, policy: its keys and values, `type` among them.
Entry = Mapping[str, str]

#: By the names of bake files: texts, flags, lists of texts, maps of texts, lists of entries.
Attributes = Mapping[str, "str | bool | tuple[str, ...] | Mapping[str, str] | tuple[Entry, ...]"]


@frozen(kw_only=True)
class Target:
    """A target whose matrix, inheritance and overrides are settled; `span` is where its name stands."""

    name: str
    attributes: Attributes = field(default_factory=dict)
    span: Span | None = None


@frozen(kw_only=True)
class Group:
    """Names of targets and groups under one name."""

    name: str
    targets: tuple[str, ...]
    description: str = ""
    span: Span | None = None
