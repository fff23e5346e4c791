"""What the tests of the fleet share: units that are easily made."""

from __future__ import annotations

from typing import Any

from imagesmith.fleet.units import Unit

__all__ = ["DIGEST", "unit"]

DIGEST = "sha256:" + "1" * 64


def unit(target: str = "app", platform: str = "linux/amd64", *needs: Unit, **fields: Any) -> Unit:
    """A unit of one target, after others."""
    fields.setdefault("definition", {"target": {target: {"context": ".", "dockerfile": "Dockerfile"}}})
    return Unit(target=target, platform=platform, needs=tuple(str(n.id) for n in needs), **fields)
