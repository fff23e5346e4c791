"""A cache in a folder, rewritten as somebody else might have written it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imagesmith.oci.digest import digest_bytes

__all__ = ["changed"]


def changed(cache: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Change a cache in a folder: its document, and its manifest."""
    blobs = cache / "blobs" / "sha256"
    index = json.loads((cache / "index.json").read_bytes())
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_bytes())
    document = json.loads((blobs / manifest["config"]["digest"][7:]).read_bytes())
    change(document, manifest)

    def put(value: object) -> dict[str, object]:
        raw = json.dumps(value).encode()
        (blobs / digest_bytes(raw).hex).write_bytes(raw)
        return {"digest": str(digest_bytes(raw)), "size": len(raw)}

    manifest["config"] |= put(document)
    index["manifests"][0] |= put(manifest)
    (cache / "index.json").write_text(json.dumps(index))
