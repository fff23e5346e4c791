"""Ruby's gems: the specifications that RubyGems writes where it installs them, default gems among them.

Why patterns: a specification is Ruby. RubyGems writes it in one form (Specification#to_ruby), which is
read here as text; what a person wrote by hand with expressions gets name and version from the file's name.
Trust: hostile; files and lines are bounded, nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagesmith.sbom.package import Package, supplier_of
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_BYTES, _LINE = 1 << 20, 1 << 14
_FIELD = re.compile(
    r"\s{0,40}\w{1,40}\.(name|version|licenses?|authors?|email|homepage|summary)\s{0,20}=\s{0,20}"
    r"(?:Gem::Version\.new\(?\s?)?(.*)"
)
#: A string, and its end: without one it was cut.
_TEXT = re.compile(r"""(["'])((?:(?!\1)[^\\]|\\.)*)(\1?)""")
_ESCAPED = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}|(.))")
_FILE = re.compile(r"(.+?)-(\d[^-]*)(?:-(.+))?$")


def wants(path: str) -> bool:
    """True for specifications where RubyGems puts them."""
    return path.endswith(".gemspec") and "/specifications/" in f"/{path}"


def read(path: str, image: Files) -> Iterator[Package]:
    """The gem that a specification describes."""
    fields: dict[str, list[str]] = {}
    for line in image.read(path, _BYTES).decode("utf-8", "replace").splitlines():
        found = _FIELD.match(line[:_LINE])
        if found and (texts := [t for t in _texts(found[2]) if "#{" not in t]):
            fields.setdefault(found[1].removesuffix("s") if found[1] != "summary" else found[1], texts)
    file = _FILE.match(path[path.rfind("/") + 1 : -len(".gemspec")])
    name = fields.get("name", [file[1] if file else ""])[0]
    version = fields.get("version", [file[2] if file else ""])[0]
    if not name or not version:
        raise ValueError("a gem without name or version")
    author, mail = fields.get("author", [""])[0], fields.get("email", [""])[0]
    yield Package(
        kind="gem",
        name=name,
        version=version,
        licenses=tuple(fields.get("license", [])),
        supplier=supplier_of(f"{author} <{mail}>" if author and mail else author or mail),
        homepage=fields.get("homepage", [""])[0],
        description=fields.get("summary", [""])[0],
        source=f"https://rubygems.org/gems/{name}/versions/{version}",
        path=path,
    )


def _texts(said: str) -> list[str]:
    """The strings of a line of Ruby."""
    return [_ESCAPED.sub(_meant, found[2]) for found in _TEXT.finditer(said) if found[3]]


def _meant(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    if code is None:
        return {"n": "\n", "t": "\t"}.get(found[3], found[3])
    return chr(int(code, 16)) if int(code, 16) < 0x110000 else "?"
