"""Packages in programs and shared libraries: what Go's linker and cargo-auditable note in them.

Why one reader for both: an image has ten thousand files, and each is looked at once. By its name what is
certainly no program is put aside, then by its mode, then by its first bytes; only then are tables read.
Trust: as sbom/elf.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagesmith.sbom import golang, rust
from imagesmith.sbom.elf import LEAST_BYTES, MAGIC, Elf
from imagesmith.sbom.package import Package
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

#: Endings of names that are no programs, however executable they are.
_ENDINGS = """
    a bat c cc cjs cmake conf cpp css csv gif gz h hpp htm html ini jar java jpg js json la list lock log m4
    map md mjs mo o pc pem php pl pm png po py pyc pyi pod pth rb rst sh sql svg tcl toml ts txt war xml xz
    yaml yml zip
"""
_NEVER = frozenset(_ENDINGS.split())


def wants(path: str) -> bool:
    """True for every file whose name may be that of a program."""
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name != "" and (dot <= 0 or name[dot + 1 :] not in _NEVER)


def read(path: str, image: Files) -> Iterator[Package]:
    """The packages that a program was built of."""
    e = image.stat(path)
    if e is None or e.kind != "f" or e.size < LEAST_BYTES:
        return
    if not e.mode & 0o111 and not path.endswith((".so", ".node")) and ".so." not in path:
        return
    with image.open(path) as file:
        if file.read(len(MAGIC)) != MAGIC:
            return
        elf = Elf(file, e.size)
        yield from golang.modules(elf, path)
        yield from rust.crates(elf, path)
