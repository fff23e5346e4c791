"""The crates of which a Rust program was built, as cargo-auditable noted them.

Spec: cargo-auditable's PARSING.md: section `.dep-v0`, zlib, JSON of packages; of those only the ones that are
in the program, not what built it.
Trust: hostile; what is unpacked is bounded.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator

from imagesmith.sbom.elf import Elf
from imagesmith.sbom.package import Package

__all__ = ["NOTE", "crates"]

#: The section with the note.
NOTE = ".dep-v0"

_PACKED_BYTES, _BYTES = 4 << 20, 8 << 20
_REGISTRY = "crates.io"


def crates(elf: Elf, path: str) -> Iterator[Package]:
    """The crates of a program, none if it has no note.

    Raises:
        ValueError, zlib.error: it is damaged.
    """
    at = elf.section(NOTE)
    if at is None:
        return
    unpacking = zlib.decompressobj()
    text = unpacking.decompress(elf.content(at, _PACKED_BYTES), _BYTES)
    if not unpacking.eof:
        raise ValueError(f"the note {NOTE} has no end, or more than {_BYTES} bytes")
    told = json.loads(text)
    found = told.get("packages") if isinstance(told, dict) else None
    for crate in found if isinstance(found, list) else ():
        if not isinstance(crate, dict) or crate.get("kind", "runtime") != "runtime":
            continue
        name, version, source = (crate.get(key) for key in ("name", "version", "source"))
        if isinstance(name, str) and isinstance(version, str):
            from_registry = source == _REGISTRY
            yield Package(
                kind="cargo",
                name=name,
                version=version,
                supplier=f"Organization: {_REGISTRY}" if from_registry else "",  # the note names no author
                source=f"https://crates.io/crates/{name}/{version}" if from_registry else "",
                path=path,
            )
