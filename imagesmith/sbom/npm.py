"""npm's packages: the package.json of each that is installed, and of the application itself.

Why not lock files: they say what was wanted, perhaps for another platform. A package.json with a name is a
package, as scanners have it: with no version, as applications are, and wherever it lies.
Spec: docs.npmjs.com, package.json, with the older forms of its fields that registries still hand out.
Trust: hostile; files are bounded, and every value may be of any type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from imagesmith.sbom.package import Package, supplier_of, text_in
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_BYTES = 4 << 20
_AT_HOST = re.compile(r"(?:(github|gitlab|bitbucket):)?([\w.-]{1,100}/[\w.-]{1,100})")


def wants(path: str) -> bool:
    """True for the package.json of what may be a package."""
    return path.endswith("/package.json") or path == "package.json"


def read(path: str, image: Files) -> Iterator[Package]:
    """The package, if it has a name: others are parts of one."""
    told = json.loads(image.read(path, _BYTES).decode("utf-8", "replace").removeprefix("\ufeff"))
    name = text_in(told, "name")
    if not name:
        return
    space, slash, last = name.partition("/")
    yield Package(
        kind="npm",
        namespace=space if slash else "",
        name=last if slash else name,
        version=text_in(told, "version"),
        licenses=_licenses(told),
        supplier=_supplier(told),
        homepage=text_in(told, "homepage"),
        description=text_in(told, "description"),
        source=text_in(told, "_resolved") or _repository(told),
        path=path,
    )


def _licenses(told: dict[str, Any]) -> tuple[str, ...]:
    """A text; or an object with a type, or several of these, as before 2014."""
    several = told.get("licenses")
    given = [told.get("license"), *(several if isinstance(several, list) else [several])]
    out = []
    for one in given:
        said = one.get("type") or one.get("name") if isinstance(one, dict) else one
        if isinstance(said, str) and said.strip():
            out.append(said.strip())
    return tuple(dict.fromkeys(out))


def _supplier(told: dict[str, Any]) -> str:
    several = (told.get("maintainers"), told.get("contributors"))
    firsts = (people[0] for people in several if isinstance(people, list) and people)
    for who in (told.get("author"), *firsts):
        if isinstance(who, dict):
            mail = text_in(who, "email") or text_in(who, "mail")
            who = f"{text_in(who, 'name')} <{mail}>" if mail else text_in(who, "name")
        if isinstance(who, str) and (found := supplier_of(who)):
            return found
    return ""


def _repository(told: dict[str, Any]) -> str:
    """An address, also of what is given as OWNER/NAME at a host that npm knows."""
    where = told.get("repository")
    url = text_in(where, "url") if isinstance(where, dict) else where
    if not isinstance(url, str):
        return ""
    if found := _AT_HOST.fullmatch(url):
        return f"https://{found[1] or 'github'}.{'org' if found[1] == 'bitbucket' else 'com'}/{found[2]}"
    return url if "://" in url else ""
