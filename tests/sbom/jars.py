"""Jars, as small as they can be."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

#: The first line of every manifest.
MANIFEST = "Manifest-Version: 1.0\r\n"


def jar(files: Mapping[str, str | bytes], *, stored: bool = False, manifest: str | None = "") -> bytes:
    """An archive of files, and a manifest of these lines if they are given."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as new:
        if manifest is not None:
            new.writestr("META-INF/MANIFEST.MF", MANIFEST + manifest)
        for name, data in files.items():
            new.writestr(name, data)
    return out.getvalue()


def pom(group: str, artifact: str, version: str, xml: str = "") -> dict[str, str | bytes]:
    """What Maven's archiver puts into a jar."""
    folder = f"META-INF/maven/{group}/{artifact}"
    out = {f"{folder}/pom.properties": f"#Made\ngroupId={group}\nartifactId={artifact}\nversion={version}\n"}
    return out | ({f"{folder}/pom.xml": xml} if xml else {})
