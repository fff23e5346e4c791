"""Conda's packages: what conda, mamba and pixi note of each that is installed.

Spec: conda's `conda-meta/*.json`. purl type conda: build, channel, subdir and type are its qualifiers.
Trust: hostile; the file is bounded, every value may be of any type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from imagesmith.sbom.package import Package, text_in
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_BYTES = 32 << 20
_WANTED = re.compile(r"(.*/|)conda-meta/[^/]+\.json")
_MOST_FILES = 100_000


def wants(path: str) -> bool:
    """See reading.Reader."""
    return path.endswith(".json") and _WANTED.fullmatch(path) is not None


def read(path: str, image: Files) -> Iterator[Package]:
    """The package that a note is about."""
    told = json.loads(image.read(path, _BYTES))
    found, subdir, url = _WANTED.fullmatch(path), text_in(told, "subdir"), text_in(told, "url")
    assert found is not None
    channel = text_in(told, "channel").rstrip("/").removesuffix(f"/{subdir}").rpartition("/")[2]
    files = told.get("files") if isinstance(told, dict) else None
    owned = [f for f in files[:_MOST_FILES] if isinstance(f, str)] if isinstance(files, list) else []
    archive = re.search(r"\.(conda|tar\.bz2)$", text_in(told, "fn") or url)
    yield Package(
        kind="conda",
        name=text_in(told, "name"),
        version=text_in(told, "version"),
        qualifiers={
            "build": text_in(told, "build"),
            "channel": channel,
            "subdir": subdir,
            "type": archive[1] if archive else "",
        },
        licenses=tuple(filter(None, [text_in(told, "license")])),
        supplier=f"Organization: {channel}" if channel else "",  # whose recipe it was built by
        source=url,
        checksums={
            k: v for k, v in (("MD5", text_in(told, "md5")), ("SHA256", text_in(told, "sha256"))) if v
        },
        path=path,
        files=tuple(found[1] + name for name in owned),
    )
