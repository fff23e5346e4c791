"""WordPress's plugins: the comment at the head of each one's main file.

Spec: developer.wordpress.org, Plugin Handbook, Header Requirements. No type of purl is registered for them;
scanners say `wordpress-plugin`.
Trust: hostile; of a file its head is read, as WordPress does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagesmith.sbom.package import Package, supplier_of
from imagesmith.sbom.reading import Files

__all__ = ["read", "wants"]

_HEAD_BYTES = 8 << 10
_WANTED = re.compile(r"(?:.*/|)wp-content/plugins/[^/]+/[^/]+\.php")
_FIELD = re.compile(
    r"^[ \t/*#@]{0,40}(Plugin Name|Plugin URI|Description|Version|Author|License):[ \t]{0,40}(.{1,1000})$",
    re.MULTILINE | re.IGNORECASE,
)


def wants(path: str) -> bool:
    """See reading.Reader."""
    return path.endswith(".php") and _WANTED.fullmatch(path) is not None


def read(path: str, image: Files) -> Iterator[Package]:
    """The plugin, if it is its main file."""
    with image.open(path) as file:
        head = file.read(_HEAD_BYTES).decode("utf-8", "replace").replace("\r", "\n")
    fields: dict[str, str] = {}
    for key, value in _FIELD.findall(head):
        fields.setdefault(key.lower(), value.strip().removesuffix("*/").strip())
    if fields.get("plugin name") and fields.get("version"):
        yield Package(
            kind="wordpress-plugin",
            name=fields["plugin name"],
            version=fields["version"],
            licenses=(fields["license"],) if fields.get("license") else (),
            supplier=supplier_of(fields.get("author", "")),
            homepage=fields.get("plugin uri", ""),
            description=fields.get("description", ""),
            path=path,
        )
