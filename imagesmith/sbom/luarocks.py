"""Lua's packages: the rockspecs that LuaRocks keeps of what it installed.

Why patterns: a rockspec is Lua. What is read of it here are strings that are given to names.
Spec: LuaRocks' rockspec format. purl type luarocks.
Trust: hostile; files and lines are bounded, nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagesmith.sbom.package import Package, supplier_of
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_BYTES = 1 << 20
_FIELD = re.compile(
    r"""^\s{0,40}(package|version|url|summary|homepage|maintainer|license)\s{0,20}=\s{0,20}"""
    r"""(?:"([^"\n]{0,1000})"|'([^'\n]{0,1000})'|\[\[([^\]]{0,1000})\]\])""",
    re.MULTILINE,
)


def wants(path: str) -> bool:
    """See reading.Reader."""
    return path.endswith(".rockspec")


def read(path: str, image: Files) -> Iterator[Package]:
    """The package that a rockspec describes."""
    fields: dict[str, str] = {}
    for key, *texts in _FIELD.findall(image.read(path, _BYTES).decode("utf-8", "replace")):
        fields.setdefault(key, "".join(texts).strip())
    if not fields.get("package"):
        raise ValueError("a rockspec without a name")
    yield Package(
        kind="luarocks",
        name=fields["package"],
        version=fields.get("version", ""),
        licenses=(fields["license"],) if fields.get("license") else (),
        supplier=supplier_of(fields.get("maintainer", "")),
        homepage=fields.get("homepage", ""),
        description=fields.get("summary", ""),
        source=fields.get("url", ""),
        path=path,
    )
