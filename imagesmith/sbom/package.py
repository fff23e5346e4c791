"""One package that an image holds: what its telling file says of it, and its package URL.

Why: a reader (sbom/reading.py) makes these, the documents are written from them (sbom/spdx.py,
sbom/cyclonedx.py), and neither knows the other. Texts are as declared; what becomes of a licence in a
document is decided where that is written.
Spec: package-url (purl) and its types; names of npm and Go keep their case, as registries and scanners of
vulnerabilities have them.
Trust: fields come from images: `checked` cuts what is too long, and refuses what has no name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from imagesmith.values import field, frozen, replace

__all__ = ["LONGEST", "LONGEST_TEXT", "Package", "checked", "clean", "supplier_of", "text_in"]

#: Of a name or a version; of any other text of a package: more characters than that are cut.
LONGEST, LONGEST_TEXT = 1000, 4000
#: Licences, qualifiers and checksums of one package; files that it owns.
_MOST, _MOST_FILES = 200, 200_000

#: Types whose names, and whose namespaces, are the same in any case.
_LOWER = frozenset(("alpm", "apk", "composer", "deb", "pypi"))
_LOWER_SPACE = frozenset(("alpm", "apk", "composer", "deb", "rpm"))


@frozen(kw_only=True)
class Package:
    """A package. Mappings are not changed once it is made.

    kind        the type of its purl: deb apk rpm alpm pypi npm golang maven cargo gem composer …
    licenses    as declared: expressions, names or identifiers, several of which all apply
    supplier    "Organization: X" or "Person: X (mail)"; see `supplier_of`
    source      where it was downloaded, as a URL, or the name of the source package that it was built from
    checksums   of its archive: algorithm as SPDX names it (SHA1, SHA256, MD5) to hexadecimal digits
    path        the file in the image that tells of it, without leading slash
    files       paths it owns, without leading slash; empty where that is not known
    """

    kind: str
    name: str
    version: str
    namespace: str = ""
    qualifiers: Mapping[str, str] = field(default_factory=dict)
    subpath: str = ""
    licenses: tuple[str, ...] = ()
    supplier: str = ""
    homepage: str = ""
    description: str = ""
    source: str = ""
    checksums: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    files: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[str, str, str, str, str]:
        """What makes two packages of two states of one file the same."""
        space = "" if self.of_distribution else self.namespace  # which os-release may change
        return self.kind, space, f"{self.name}#{self.subpath}", self.version, self.qualifiers.get("arch", "")

    @property
    def of_distribution(self) -> bool:
        """True for what the distribution's own package manager installed."""
        return self.kind in ("alpm", "apk", "deb", "ebuild", "rpm")

    @property
    def full_name(self) -> str:
        """The name as its users write it: with the scope, vendor or module's path."""
        spaced = self.namespace and self.kind in ("composer", "ebuild", "golang", "npm")
        name = f"{self.namespace}/{self.name}" if spaced else self.name
        return f"{name}/{self.subpath}" if self.subpath and self.kind == "golang" else name

    @property
    def version_info(self) -> str:
        """The version as people read it: an RPM's with its epoch."""
        epoch = self.qualifiers.get("epoch", "")
        return f"{epoch}:{self.version}" if epoch and self.kind == "rpm" else self.version

    @property
    def purl(self) -> str:
        """The package URL, in its one canonical form."""
        space = self.namespace.lower() if self.kind in _LOWER_SPACE else self.namespace
        name = self.name.lower() if self.kind in _LOWER else self.name
        if self.kind == "pypi":
            name = re.sub(r"[-_.]+", "-", name)
        out = f"pkg:{self.kind}/"
        out += "".join(f"{_encoded(part)}/" for part in space.split("/") if part)
        out += _encoded(name)
        if self.version:
            out += f"@{_encoded(self.version)}"
        given = sorted((key.lower(), value) for key, value in self.qualifiers.items() if value)
        if given:
            # as in the specification's examples, which encode it elsewhere
            kept = {"repository_url": "/", "vcs_url": "/"}
            out += "?" + "&".join(f"{key}={_encoded(value, kept.get(key, ''))}" for key, value in given)
        below = [_encoded(part) for part in self.subpath.split("/") if part not in ("", ".", "..")]
        return f"{out}#{'/'.join(below)}" if below else out


def _encoded(text: str, more: str = "") -> str:
    """Percent-encoded, all but letters, digits, `.-_~`, the colon and the characters of `more`."""
    return quote(text.encode("utf-8", "replace"), safe=f":{more}")


def checked(package: Package) -> Package | None:
    """The package with its texts cut to what a document holds; None if it has no name that can be written."""
    name, version = clean(package.name), clean(package.version)
    if not name or max(len(name), len(version)) > LONGEST:
        return None
    return replace(
        package,
        name=name,
        version=version,
        namespace=clean(package.namespace)[:LONGEST],
        qualifiers={
            clean(k)[:LONGEST]: clean(v)[:LONGEST] for k, v in list(package.qualifiers.items())[:_MOST] if v
        },
        subpath=clean(package.subpath)[:LONGEST],
        licenses=tuple(filter(None, (clean(text)[:LONGEST] for text in package.licenses[:_MOST]))),
        supplier=clean(package.supplier)[:LONGEST],
        homepage=clean(package.homepage)[:LONGEST],
        description=clean(package.description, lines=True)[:LONGEST_TEXT],
        source=clean(package.source)[:LONGEST],
        checksums=dict(list(package.checksums.items())[:_MOST]),
        files=package.files[:_MOST_FILES],
    )


def clean(text: str, *, lines: bool = False) -> str:
    """A text that any document can hold: no control characters, no halves of characters, no blanks around.

    Args:
        text: whatever an image said.
        lines: line ends stay.
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    said = text.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() or (lines and c == "\n") else " " for c in said).strip()


def text_in(told: object, key: str) -> str:
    """The text that a JSON object has under a key; empty if it has none there, or is no object."""
    value = told.get(key) if isinstance(told, dict) else ""
    return value.strip() if isinstance(value, str) else ""


_MAIL = re.compile(r"\s*[<(]([^<>()\s]+@[^<>()\s]+)[>)]")
#: Words in the names of those who are no persons.
_MANY = re.compile(
    r"\b(authors?|community|company|contributors|corp(oration)?|developers?|distributors?|foundation|gmbh|group"
    r"|inc|labs|limited|linux|list|llc|ltd|maintainers?|organi[sz]ation|packagers?|project|security|s\.?a\.?"
    r"|software|team|the|university)\b",
    re.IGNORECASE,
)


def supplier_of(text: str, *, organization: bool = False) -> str:
    """What a maintainer, author or vendor is as an SPDX supplier; empty if the text names none.

    Args:
        text: "NAME <MAIL>", either alone, or a name with its mail in parentheses; of several the first.
        organization: it is one whatever its name is; else a name that speaks of many is one.
    """
    first = text[:LONGEST].strip().partition("\n")[0]  # patterns below are not for megabytes
    found = _MAIL.search(first)
    mail = found[1] if found else ""
    name = (first[: found.start()] if found else re.split(r"[<(]", first)[0]).strip(" \t,;\"'")
    if not name and "@" in first and not mail:
        mail = re.split(r"[\s,;]", first.strip("<> "))[0]
    if not name:
        name = mail
    if not name or name.upper() in ("NONE", "UNKNOWN", "NOASSERTION"):
        return ""
    name = name.replace("(", "").replace(")", "")
    many = organization or _MANY.search(name) is not None
    return f"{'Organization' if many else 'Person'}: {name}" + (f" ({mail})" if mail else "")
