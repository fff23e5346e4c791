"""Debian packages: dpkg's database, and the folder of stanzas that distroless images have in its place.

Why: what is unpacked is in the image, so all states count but "not installed" and "only its configuration is
left"; a file of status.d has no state and counts.
Spec: dpkg(1) status and info/*.list; machine-readable copyright files (DEP-5); purl type deb.
Trust: all of it comes from an image: sizes are bounded, fields are texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagesmith.sbom.distribution import distro_of, namespace_of
from imagesmith.sbom.package import Package, supplier_of
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.sbom.reading import Files

__all__ = ["brief", "read", "wants"]

_STATUS_BYTES, _LIST_BYTES, _COPYRIGHT_BYTES = 128 << 20, 32 << 20, 1 << 20
#: Licences of one package.
_MOST = 60
_GONE = frozenset(("not-installed", "config-files"))
_WANTED = re.compile(r"(?:^|/)lib/dpkg/(?:status|status\.d/[^/]+)$")
_NOT_STANZAS = (".md5sums", ".list", ".conffiles", ".preinst", ".postinst", ".prerm", ".postrm", ".triggers")
_FIELD = re.compile(r"^([!-9;-~]+):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)
_NEEDED = ("Package", "Status", "Version", "Architecture", "Source", "Maintainer", "Homepage", "Description")
_PICK = re.compile(rf"^({'|'.join(_NEEDED)}):[ \t]*(.*)", re.MULTILINE)
_COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.-]*[A-Za-z0-9])")


def wants(path: str) -> bool:
    """See reading.Reader."""
    return "lib/dpkg/status" in path and _WANTED.search(path) is not None and not path.endswith(_NOT_STANZAS)


def brief(path: str, image: Files) -> Iterator[Package]:
    """The packages without what other files say of them."""
    text = image.read(path, _STATUS_BYTES).decode("utf-8", "replace")
    distro, namespace = distro_of(image.release), namespace_of(image.release) or "debian"
    for stanza in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
        fields = dict(_PICK.findall(stanza))
        name, version = fields.get("Package", "").strip(), fields.get("Version", "").strip()
        state = fields.get("Status", "").split()
        if not name or not version or (state and state[-1] in _GONE):
            continue
        source, _, rest = fields.get("Source", "").strip().partition(" ")
        upstream = source if source != name or rest else ""
        if upstream and rest:
            upstream += f"@{rest.strip('() ')}"
        yield Package(
            kind="deb",
            name=name,
            version=version,
            namespace=namespace,
            qualifiers={
                "arch": fields.get("Architecture", "").strip(),
                "distro": distro,
                "upstream": upstream,
            },
            supplier=supplier_of(fields.get("Maintainer", "")),
            homepage=fields.get("Homepage", "").strip(),
            description=fields.get("Description", "").strip(),
            source=source,
            path=path,
        )


def read(path: str, image: Files) -> Iterator[Package]:
    """See reading.Reader."""
    at = path.rindex("lib/dpkg/status")
    top = re.sub(r"(^|/)var/$", r"\1", path[:at])
    info, docs = f"{path[:at]}lib/dpkg/info/", f"{top}usr/share/doc/"
    listed = set() if "/status.d/" in path else set(image.list(info))
    for found in brief(path, image):
        if "/" in found.name or found.name.startswith("."):
            image.warn(path, f"{found.name[:100]!r} is no name of a package")
            continue
        files: tuple[str, ...] = ()
        if "/status.d/" in path:
            files = tuple(_sums(f"{path}.md5sums", image, top))
        else:
            for name in (f"{found.name}.list", f"{found.name}:{found.qualifiers['arch']}.list"):
                if name in listed:
                    files = tuple(_list(info + name, image, top))
                    break
        licenses = tuple(_licences(f"{docs}{found.name}/copyright", image))
        yield replace(found, files=files, licenses=licenses)


def _list(path: str, image: Files, top: str) -> Iterator[str]:
    """The paths of a package's list; folders are among them."""
    for line in image.read(path, _LIST_BYTES).decode("utf-8", "surrogateescape").splitlines():
        if line.startswith("/") and line != "/.":
            yield top + line[1:]


def _sums(path: str, image: Files, top: str) -> Iterator[str]:
    if image.exists(path):
        for line in image.read(path, _LIST_BYTES).decode("utf-8", "surrogateescape").splitlines():
            name = line.partition("  ")[2]
            if name:
                yield top + name.removeprefix("./").removeprefix("/")


def _licences(path: str, image: Files) -> list[str]:
    """What a copyright file says: the names of a machine-readable one, else the common licences it names."""
    e = image.stat(path)
    if e is None or e.kind != "f":
        return []
    if e.size > _COPYRIGHT_BYTES:
        image.warn(path, f"a copyright file of {e.size} bytes is not read")
        return []
    text = image.read(path, _COPYRIGHT_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    found: dict[str, None] = {}
    if re.match(r"\s*Format(-Specification)?:\s*\S", text):
        for stanza in re.split(r"\n[ \t]*\n", text):
            fields = dict(_FIELD.findall(stanza))
            if "License" in fields and ("Files" in fields or "Format" in fields):
                name = fields["License"].partition("\n")[0].strip()
                if name:
                    found[name] = None
    if not found:
        found = dict.fromkeys(name for name in _COMMON.findall(text) if name != "common-licenses")
    return list(found)[:_MOST]
