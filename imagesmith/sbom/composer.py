"""PHP's packages: what Composer installed, as it notes beside them.

Spec: getcomposer.org; vendor/composer/installed.json, a list before Composer 2 and an object since. The
folder `vendor` may have another name.
Trust: hostile; the file is bounded, every value may be of any type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from imagesmith.sbom.package import Package, supplier_of, text_in
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_BYTES = 32 << 20


def wants(path: str) -> bool:
    """True for Composer's note."""
    return path.endswith("/composer/installed.json") or path == "composer/installed.json"


def read(path: str, image: Files) -> Iterator[Package]:
    """The packages that were installed."""
    told = json.loads(image.read(path, _BYTES))
    found = told.get("packages") if isinstance(told, dict) else told
    if not isinstance(found, list):
        raise ValueError("no list of packages")
    for one in found:
        if not isinstance(one, dict):
            continue
        vendor, slash, name = text_in(one, "name").partition("/")
        sha1 = text_in(one.get("dist"), "shasum")
        yield Package(
            kind="composer",
            namespace=vendor if slash else "",
            name=name.replace("/", "-") if slash else vendor,
            version=text_in(one, "version"),
            licenses=_texts(one.get("license")),
            supplier=_supplier(one, vendor if slash else ""),
            homepage=text_in(one, "homepage"),
            description=text_in(one, "description"),
            source=text_in(one.get("dist"), "url") or text_in(one.get("source"), "url"),
            checksums={"SHA1": sha1} if re.fullmatch(r"[0-9a-f]{40}", sha1) else {},
            path=path,
        )


def _texts(told: object) -> tuple[str, ...]:
    given = told if isinstance(told, list) else [told]
    return tuple(one for one in given if isinstance(one, str) and one)


def _supplier(one: dict[str, Any], vendor: str) -> str:
    """The first author; without one the vendor, whose name on packagist.org it is."""
    authors = one.get("authors")
    for who in authors[:1] if isinstance(authors, list) else ():
        mail = text_in(who, "email")
        if found := supplier_of(f"{text_in(who, 'name')} <{mail}>" if mail else text_in(who, "name")):
            return found
    return supplier_of(vendor, organization=True)
