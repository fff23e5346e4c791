"""PHP's extensions: what PECL's installer notes of each, in its registry.

Why patterns: a note is PHP's serialize(). Its strings are read where they follow the key that is asked for,
and by their length, as unserialize() does.
Spec: PEAR's registry, `.registry/.channel.pecl.php.net/NAME.reg`. purl type pecl.
Trust: hostile; the file is bounded, lengths are held against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagesmith.sbom.package import Package, supplier_of
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_BYTES = 4 << 20
_WANTED = re.compile(r"(?:.*/|)\.registry/\.channel\.[^/]*pecl\.php\.net/[^/]+\.reg")
_INTO = rb"a:\d{1,6}:\{"


def wants(path: str) -> bool:
    """See reading.Reader."""
    return path.endswith(".reg") and _WANTED.fullmatch(path) is not None


def read(path: str, image: Files) -> Iterator[Package]:
    """The extension that a note is about."""
    raw = image.read(path, _BYTES)
    name = _text(raw, b"name")
    if not name:
        raise ValueError("an extension without a name")
    licence = _text(raw, b"license", b"_content") or _text(raw, b"license")
    yield Package(
        kind="pecl",
        name=name,
        version=_text(raw, b"version", b"release"),
        licenses=(licence,) if licence else (),
        supplier=supplier_of(_text(raw, b"lead", b"name")),
        description=_text(raw, b"summary"),
        source=f"https://pecl.php.net/package/{name}",
        path=path,
    )


def _text(raw: bytes, *keys: bytes) -> str:
    """The string that follows keys, each in the array of the one before; empty without one."""
    within = rb"".join(rb's:%d:"%s";%s' % (len(key), key, _INTO + rb".{0,400}?") for key in keys[:-1])
    last = rb's:%d:"%s";s:(\d{1,5}):"' % (len(keys[-1]), keys[-1])
    found = re.search(within + last, raw, re.DOTALL)
    if found is None:
        return ""
    end = found.end() + int(found[1])
    whole = raw[end : end + 2] == b'";'
    return raw[found.end() : end].decode("utf-8", "replace").strip() if whole else ""
