r"""The modules of which a Go program was built, as its linker noted them.

Why: a static binary in an empty image has no other trace of what is in it. The note is short; of a program of
100 MB a few kilobytes are read.
Spec: Go's debug/buildinfo and runtime/debug: `\xff Go buildinf:`, then two strings behind it, each after its
length as a varint (Go 1.18 and later), or pointers to two string headers; the lines of `go version -m`.
Versions of a main module: go.dev/ref/mod, pseudo-versions.
Trust: hostile; read through sbom/elf.py, lengths are bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from imagesmith.sbom.elf import Elf
from imagesmith.sbom.package import Package
from imagesmith.values import frozen

__all__ = ["NOTE", "BuildInfo", "Module", "build_info", "modules"]

#: The section with the note.
NOTE = ".go.buildinfo"

_MAGIC = b"\xff Go buildinf:"
_HEAD_BYTES, _SECTION_BYTES = 32, 16 << 20
_VERSION_BYTES, _MODULES_BYTES = 1 << 12, 8 << 20
_DEVELOPED = "(devel)"


@frozen
class Module:
    """A module and its version."""

    path: str
    version: str


@frozen
class BuildInfo:
    """What a program tells of itself: Go's version, the path of its main package, modules, settings."""

    go: str
    path: str
    main: Module | None
    needed: tuple[Module, ...]
    settings: dict[str, str]


def build_info(elf: Elf) -> BuildInfo | None:
    """The note of a program; None if it has none.

    Raises:
        ValueError: it is damaged.
    """
    at = elf.section(NOTE) or (None if elf.has_sections else elf.data())
    if at is None:
        return None
    raw = elf.content(at, _SECTION_BYTES) if at.name else elf.memory(at.address, min(at.size, _SECTION_BYTES))
    start = raw.find(_MAGIC)
    while start >= 0 and start % 16:
        start = raw.find(_MAGIC, start + 1)
    if start < 0 or len(raw) < start + _HEAD_BYTES:
        return None
    if raw[start + 15] & 2:
        version, rest = _counted(raw, start + _HEAD_BYTES, _VERSION_BYTES)
        told, _ = _counted(raw, rest, _MODULES_BYTES)
    else:
        version, told = _pointed(elf, raw[start : start + _HEAD_BYTES])
    if not version:
        return None
    framed = len(told) >= 33 and told[-17:-16] == b"\n"  # by 16 bytes on each side
    text = told[16:-16].decode("utf-8", "replace") if framed else ""
    return _parsed(version.decode("utf-8", "replace"), text)


def _counted(raw: bytes, at: int, most: int) -> tuple[bytes, int]:
    """A string after its length, and where it ends."""
    length = shift = 0
    while True:
        if at >= len(raw) or shift > 28:
            raise ValueError("a Go build note that ends early")
        length |= (raw[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if raw[at - 1] < 0x80:
            break
    if length > most or at + length > len(raw):
        raise ValueError(f"a Go build note with a text of {length} bytes")
    return raw[at : at + length], at + length


def _pointed(elf: Elf, head: bytes) -> tuple[bytes, bytes]:
    """The two strings of a note of before Go 1.18, of the size of pointers and byte order that it names."""
    width = head[14]
    if width not in (4, 8):
        raise ValueError(f"a Go build note with pointers of {width} bytes")
    order = "big" if head[15] & 1 else "little"

    def number(raw: bytes) -> int:
        return int.from_bytes(raw, order)  # type: ignore[arg-type]  # one of the two

    def text(at: int, most: int) -> bytes:
        where = number(head[at : at + width])
        if not where:
            return b""
        header = elf.memory(where, 2 * width)
        length = number(header[width:])
        if length > most:
            raise ValueError(f"a Go build note with a text of {length} bytes")
        return elf.memory(number(header[:width]), length) if length else b""

    return text(16, _VERSION_BYTES), text(16 + width, _MODULES_BYTES)


def _parsed(go: str, text: str) -> BuildInfo:
    """The lines that `go version -m` prints."""
    path, settings = "", {}
    main: Module | None = None
    needed: list[Module] = []
    last = ""
    for line in text.split("\n"):
        kind, _, rest = line.partition("\t")
        if kind == "path":
            path = rest
        elif kind in ("mod", "dep"):
            module = _module(rest)
            if kind == "mod":
                main = module
            else:
                needed.append(module)
        elif kind == "=>":
            replacement = _module(rest)
            if last == "mod":
                main = replacement
            elif last == "dep":
                local = replacement.path.startswith((".", "/"))  # a folder, which has no version
                needed[-1] = Module(needed[-1].path, "") if local else replacement
        elif kind == "build":
            key, value = _setting(rest)
            settings[key] = value
        last = kind
    return BuildInfo(go, path, main, tuple(needed), settings)


def _module(rest: str) -> Module:
    path, version = (*rest.split("\t"), "")[:2]
    return Module(path, version)


def _setting(rest: str) -> tuple[str, str]:
    """A key and its value, either of which may be quoted as Go does."""
    key, _, value = rest.partition("=")
    if rest.startswith(('"', "`")):
        end = rest.find(rest[0] + "=", 1)
        key, value = rest[1:end], rest[end + 2 :]
    if len(value) > 1 and value[0] == value[-1] == "`":
        return key, value[1:-1]
    if value.startswith('"'):
        try:
            return key, str(json.loads(value, strict=False))
        except ValueError:  # escapes that JSON has not
            return key, value.strip('"')
    return key, value


def modules(elf: Elf, path: str) -> Iterator[Package]:
    """The packages of a program: its main module, those that it needs, and the standard library."""
    info = build_info(elf)
    if info is None:
        return
    for module in info.needed:
        yield _package(module.path, module.version, path)
    main = info.main or (Module(info.path, _DEVELOPED) if info.path else None)
    if main is not None and main.path:
        version = main.version if main.version != _DEVELOPED else _version_of(info.settings)
        yield _package(main.path, version, path)
    if found := re.match(r"go(\d\S*)", info.go):
        yield Package(
            kind="golang",
            name="stdlib",
            version=found[1],
            licenses=("BSD-3-Clause",),
            supplier="Organization: The Go Authors",
            homepage="https://go.dev",
            path=path,
        )


def _package(module: str, version: str, path: str) -> Package:
    """A module as a package: what follows the third part of its path is the subpath, as scanners have it."""
    parts = module.split("/")
    return Package(
        kind="golang",
        namespace="/".join(parts[: min(2, len(parts) - 1)]),
        name=parts[min(2, len(parts) - 1)],
        subpath="/".join(parts[3:]),
        version="" if version == _DEVELOPED else version,
        source=f"https://{module}" if "." in parts[0] else "",
        path=path,
    )


_IN_FLAGS = (
    re.compile(r"\.(?:[gG]it)?(?:[bB]uild)?[vV]er(?:sion)?=(?:\S*/)?(v?\d+\.\d+\.\d+[-+.\w]*)"),
    re.compile(r"\.[tT]ag=(?:\S*/)?(v?\d+\.\d+\.\d+[-+.\w]*)"),
)


def _version_of(settings: dict[str, str]) -> str:
    """The version of a main module that was built in its folder: told to the linker, or by the commit."""
    flags = settings.get("-ldflags", "")[:_VERSION_BYTES]
    for pattern in _IN_FLAGS:
        if found := pattern.search(flags):
            return found[1] if found[1].startswith("v") else f"v{found[1]}"
    revision, when = settings.get("vcs.revision", ""), re.findall(r"\d+", settings.get("vcs.time", ""))
    if not revision or len(when) < 6:
        return ""
    return f"v0.0.0-{''.join(when[:6])}-{revision[:12]}"
