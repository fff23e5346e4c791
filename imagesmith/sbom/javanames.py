"""What a jar's manifest, its poms and its file's name say of the package that it is.

Why apart: jars name themselves in a dozen ways, all of them guesses but pom.properties. The order of guesses,
and which fields of a manifest may be a group, are those of the scanner that most databases of vulnerabilities
are matched with, so that one jar has one purl.
Trust: hostile; texts are bounded by their callers, entities in XML are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.parsers import expat

from imagesmith.values import field, frozen

__all__ = ["Manifest", "Pom", "file_name", "group_of", "manifest_of", "name_of", "pom_of", "properties_of"]

_MANIFEST_LENGTH, _MOST_LINES = 1 << 18, 5000
#: Fields of a manifest that may hold a group, the likelier ones first.
_GROUPS = (
    "Group-Id",
    "Bundle-SymbolicName",
    "Extension-Name",
    "Specification-Vendor",
    "Implementation-Vendor",
    "Implementation-Vendor-Id",
    "Implementation-Title",
    "Bundle-Activator",
)
_FURTHER_GROUPS = ("Automatic-Module-Name", "Main-Class", "Package")
_DOMAINS = ("com", "org", "net", "io", "be")
_VERSIONS = ("Implementation-Version", "Specification-Version", "Plugin-Version", "Bundle-Version")
_NAMES = ("Name", "Bundle-Name", "Short-Name", "Extension-Name", "Implementation-Title")


@frozen
class Pom:
    """The coordinates of a package, and further texts of its pom.xml by their paths below `project`."""

    group: str
    artifact: str
    version: str
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@frozen
class Manifest:
    """The main section of a manifest, and the others."""

    main: Mapping[str, str]
    others: tuple[Mapping[str, str], ...] = ()

    def version(self) -> str:
        """The version, of the main section before the others; empty if none says one."""
        sections = (self.main, *self.others)
        return next((s[key] for key in _VERSIONS for s in sections if s.get(key)), "")


def manifest_of(text: str) -> Manifest:
    """A manifest, its first fields if it is long: signed jars have a section for each class."""
    sections: list[dict[str, str]] = []
    last = ""
    for line in text[:_MANIFEST_LENGTH].splitlines()[:_MOST_LINES]:
        key, colon, value = line.partition(":")
        if not line:
            last = ""
        elif line.startswith(" "):
            if last:
                sections[-1][last] += line.strip()
        elif colon and key.strip():
            if not last:
                sections.append({})
            last = key.strip()
            sections[-1][last] = value.strip()
    return Manifest(sections[0] if sections else {}, tuple(sections[1:]))


def properties_of(text: str) -> dict[str, str]:
    """The rows of a properties file as Maven's archiver writes it."""
    rows = (line.strip() for line in text.splitlines()[:_MOST_LINES])
    found = (re.match(r"([^\s=:#!]+)\s{0,10}[=:]\s{0,10}(.*)", row) for row in rows)
    return {row[1]: row[2].strip() for row in found if row}


def pom_of(raw: bytes) -> dict[str, tuple[str, ...]]:
    """The texts of a pom.xml that are no variables, by their paths: `licenses/license/name`.

    Raises:
        ValueError: it is no XML, or has a document type.
    """
    out: dict[str, list[str]] = {}
    path: list[str] = []
    parts: list[str] = []

    def begins(name: str, _: object) -> None:
        path.append(name.rpartition(":")[2])
        parts.clear()

    def ends(_: str) -> None:
        text = re.sub(r"\s+", " ", "".join(parts)).strip()
        if text and "${" not in text and 1 < len(path) < 5:
            out.setdefault("/".join(path[1:]), []).append(text)
        path.pop()
        parts.clear()

    def refuses(*_: object) -> None:
        raise ValueError("a pom.xml with a document type")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = begins, ends
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = parts.append, refuses
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as e:
        raise ValueError(f"a pom.xml that is damaged: {e}") from e
    return {key: tuple(texts) for key, texts in out.items()}


def file_name(name: str) -> tuple[str, str]:
    """Name and version of an archive by its file: `some-http2-server-5.1.jar`, `org.acme_1.2.jar`."""
    stem = name.rpartition(".")[0] or name
    if found := re.match(r"(.+?)-(\d.*|build\d.*|rc?\d+(?:[-.].*)?)$", stem, re.IGNORECASE):
        return found[1], found[2]
    if found := re.match(r"(.+?)[._](\d.*)$", stem):
        return found[1], found[2]
    return stem, ""


def name_of(manifest: Manifest | None, stem: str) -> str:
    """What an archive without a pom of its own is called."""
    main = manifest.main if manifest is not None else {}
    symbolic = main.get("Bundle-SymbolicName", "")
    bundled = "Apache Maven Bundle Plugin" in main.get("Created-By", "")
    if bundled and symbolic and symbolic != main.get("Implementation-Vendor-Id"):
        return symbolic.partition(";")[0].split(".")[-1]  # GROUP.ARTIFACT
    if "." in stem and not stem.startswith("org.eclipse."):
        parts = stem.split(".")
        if all(part and (part[0].isalpha() or part[0] in "_$") for part in parts):
            return parts[-1]
    return stem or next((main[key] for key in _NAMES if main.get(key)), "")


def group_of(manifest: Manifest | None) -> str:
    """The group that a manifest hints at: of all that look like one the first; empty if none does."""
    if manifest is None:
        return ""
    sections = (manifest.main, *manifest.others)
    for fields in (_GROUPS, _FURTHER_GROUPS):
        said = (section.get(key, "") for key in fields for section in sections)
        found = sorted(re.split("[;#]", text)[0].strip() for text in said if text.startswith(_DOMAINS))
        if found:
            return found[0]
    return ""
