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

from imagesmith.sbom.package import Package, supplier_of
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
        vendor, slash, name = _text(one, "name").partition("/")
        sha1 = _text(one.get("dist"), "shasum")
        yield Package(
            kind="composer",
            namespace=vendor if slash else "",
            name=name.replace("/", "-") if slash else vendor,
            version=_text(one, "version"),
            licenses=_texts(one.get("license")),
            supplier=_supplier(one, vendor if slash else ""),
            homepage=_text(one, "homepage"),
            description=_text(one, "description"),
            source=_text(one.get("dist"), "url") or _text(one.get("source"), "url"),
            checksums={"SHA1": sha1} if re.fullmatch(r"[0-9a-f]{40}", sha1) else {},
            path=path,
        )


def _text(told: Any, key: str) -> str:  # noqa: ANN401 - whatever JSON holds
    value = told.get(key) if isinstance(told, dict) else ""
    return value.strip() if isinstance(value, str) else ""


def _texts(told: object) -> tuple[str, ...]:
    given = told if isinstance(told, list) else [told]
    return tuple(one for one in given if isinstance(one, str) and one)


def _supplier(one: dict[str, Any], vendor: str) -> str:
    """The first author; without one the vendor, whose name on packagist.org it is."""
    authors = one.get("authors")
    for who in authors[:1] if isinstance(authors, list) else ():
        mail = _text(who, "email")
        if found := supplier_of(f"{_text(who, 'name')} <{mail}>" if mail else _text(who, "name")):
            return found
    return supplier_of(vendor, organization=True)
