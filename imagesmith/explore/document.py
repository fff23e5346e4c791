"""An image that was looked through, as JSON for programs.

Spec: docs/explore.md, "JSON".
Trust: texts are the image's; whoever prints the document makes it harmless (cli/common.print_json).
"""

from __future__ import annotations

from typing import Any

from imagesmith.explore.limits import Verdict
from imagesmith.explore.model import Exploration, LayerFacts

__all__ = ["document_of"]

_LAYER = (
    "number", "digest", "diff_id", "media_type", "size", "unpacked", "files", "added", "modified", "removed",
    "grown", "wasted", "created_by", "created",
)  # fmt: skip


def document_of(model: Exploration, verdicts: tuple[Verdict, ...] = ()) -> dict[str, Any]:
    """The document; `limits` is in it where there are verdicts."""
    out: dict[str, Any] = {
        "name": model.name,
        "digest": model.digest,
        "platform": model.platform,
        "size": model.size,
        "unpacked": model.unpacked,
        "shown": model.shown,
        "wasted": model.wasted,
        "efficiency": round(model.efficiency, 6),
        "layers": [_layer(layer) for layer in model.layers],
        "hidden": [
            {"path": w.path, "size": w.size, "copies": w.copies, "layers": list(w.layers), "by": w.by,
             "fate": w.fate}
            for w in model.hidden
        ],
        "more_hidden": model.more_hidden,
        "config": model.config,
    }  # fmt: skip
    if verdicts:
        out["limits"] = [
            {"name": v.name, "unit": v.unit, "found": v.found, "limit": v.limit, "kept": v.kept}
            for v in verdicts
        ]
    return out


def _layer(layer: LayerFacts) -> dict[str, Any]:
    out = {name: getattr(layer, name) for name in _LAYER}
    if layer.instruction is not None:
        i = layer.instruction
        out["instruction"] = {"file": i.file, "first": i.first, "last": i.last, "text": i.text}
    return out
