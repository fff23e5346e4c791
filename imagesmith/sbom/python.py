"""Python's packages: what pip and other installers wrote beside them, and the older forms of setuptools.

Spec: packaging.python.org: core metadata, recording installed projects (RECORD), direct_url.json; setuptools'
egg-info as a folder and as a file. Lock files and requirements are what someone wanted, not what is there.
Trust: hostile; files are bounded, paths of RECORD stay below the root or are dropped.
"""

from __future__ import annotations

import csv
import json
import posixpath
import re
from collections.abc import Iterator
from typing import Any

from imagesmith.errors import ImagesmithError
from imagesmith.sbom.package import Package, supplier_of
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_METADATA_BYTES, _RECORD_BYTES, _MOST_FILES = 8 << 20, 32 << 20, 100_000
_HEAD_LINES, _LONGEST = 5000, 10_000
#: Of a licence: a longer text is the licence itself, not its name.
_NAME_LENGTH = 100
_FIELDS = """
    name version license license-expression classifier summary home-page project-url author author-email
    maintainer maintainer-email
"""
_KEPT = frozenset(_FIELDS.split())
_PAGES = ("homepage", "home", "source", "sourcecode", "repository", "github")


def wants(path: str) -> bool:
    """True for the files that describe a package; told by their names and their folders'."""
    if path.endswith("/METADATA"):
        return path[:-9].lower().endswith("dist-info")
    if path.endswith("/PKG-INFO"):
        return path[:-9].lower().endswith("egg-info")
    return path.endswith(".egg-info")


def read(path: str, image: Files) -> Iterator[Package]:
    """The package that a file describes."""
    fields = _fields(image.read(path, _METADATA_BYTES))
    name = fields.get("name", [""])[0]
    if not name or name == "Python":  # Debian's Python has a description of itself
        return
    origin = _origin(path, image)
    vcs = origin.get("vcs_info")
    url = str(origin.get("url", ""))
    qualifiers = {}
    if isinstance(vcs, dict) and vcs.get("vcs"):
        qualifiers["vcs_url"] = f"{vcs['vcs']}+{url}@{vcs.get('commit_id', '')}"
    yield Package(
        kind="pypi",
        name=name,
        version=fields.get("version", [""])[0],
        qualifiers=qualifiers,
        licenses=_licenses(fields),
        supplier=_supplier(fields),
        homepage=_homepage(fields),
        description=fields.get("summary", [""])[0],
        source=url,
        path=path,
        files=_files(path, image),
    )


def _fields(raw: bytes) -> dict[str, list[str]]:
    """The head of a description, names in small letters: a field a line, or more that are indented."""
    out: dict[str, list[str]] = {}
    last: list[str] = []
    for line in raw.decode("utf-8", "replace").lstrip("\ufeff\r\n").split("\n", _HEAD_LINES)[:_HEAD_LINES]:
        line = line.rstrip("\r")
        if not line:
            break
        if line[0] in " \t":
            if last and len(last[-1]) < _LONGEST:
                last[-1] += f"\n{line.strip()}"
            continue
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        last = out.setdefault(key, []) if colon and key in _KEPT else []
        if colon and key in _KEPT:
            last.append(value.strip())
    return out


def _licenses(fields: dict[str, list[str]]) -> tuple[str, ...]:
    """The expression; else the name that is given, else those of the classifiers."""
    for key in ("license-expression", "license"):
        said = fields.get(key, [""])[0]
        if said and said.upper() != "UNKNOWN" and len(said) <= _NAME_LENGTH and "\n" not in said:
            return (said,)
    named = [c.split(" :: ")[-1] for c in fields.get("classifier", []) if c.startswith("License :: ")]
    found = tuple(dict.fromkeys(name for name in named if name != "OSI Approved"))
    text = fields.get("license", [""])[0].partition("\n")[0][:_NAME_LENGTH]
    return found or ((text,) if text and text.upper() != "UNKNOWN" else ())


def _supplier(fields: dict[str, list[str]]) -> str:
    for who in ("author", "maintainer"):
        name, mail = fields.get(who, [""])[0], fields.get(f"{who}-email", [""])[0]
        if "<" in mail and (found := supplier_of(mail)):  # "NAME <MAIL>, NAME <MAIL>"
            return found
        mail = mail.partition(",")[0].strip()
        if found := supplier_of(f"{name} <{mail}>" if mail and name else name or mail):
            return found
    return ""


def _homepage(fields: dict[str, list[str]]) -> str:
    pages: dict[str, str] = {}
    for row in fields.get("project-url", []):
        label, _, url = row.partition(",")
        pages.setdefault(re.sub(r"[^a-z]", "", label.lower()), url.strip())
    said = fields.get("home-page", [""])[0]
    if said and said.upper() != "UNKNOWN":
        return said
    return next(filter(None, map(pages.get, _PAGES)), "")


def _origin(path: str, image: Files) -> dict[str, Any]:
    """Where it was installed from, if not from an index."""
    beside = f"{posixpath.dirname(path)}/direct_url.json"
    if not path.endswith("/METADATA") or not image.exists(beside):
        return {}
    try:
        said = json.loads(image.read(beside, 1 << 16))
    except (ImagesmithError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _files(path: str, image: Files) -> tuple[str, ...]:
    """What was installed, as RECORD or the older installed-files.txt has it."""
    if path.endswith(".egg-info"):
        return ()
    folder = posixpath.dirname(path)
    for name, root in (("RECORD", posixpath.dirname(folder)), ("installed-files.txt", folder)):
        try:
            raw = image.read(f"{folder}/{name}", _RECORD_BYTES) if image.exists(f"{folder}/{name}") else b""
        except ImagesmithError:
            continue
        if raw:
            return tuple(_paths(raw.decode("utf-8", "surrogateescape"), root))
    return ()


def _paths(text: str, root: str) -> Iterator[str]:
    lines = text.split("\n", _MOST_FILES)[:_MOST_FILES]
    try:
        names = [row[0] for row in csv.reader(lines) if row] if '"' in text else None
    except csv.Error:
        names = None
    for name in names if names is not None else (line.partition(",")[0].rstrip("\r") for line in lines):
        if name and "\0" not in name:
            found = posixpath.normpath(posixpath.join("/", root, name)).lstrip("/")
            if found and not found.startswith("../"):
                yield found
