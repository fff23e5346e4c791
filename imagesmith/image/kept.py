"""What a step left that failed becomes an image of the store: the layers below, and one of what it wrote.

Why: where nobody sits at a terminal the place of a failure can be entered later, and elsewhere. Its config is
the stage's at that instruction. Mounts are no part of the workspace, so no secret and no cache is in it.
No step's record is made of it: the next build executes the step again.
Spec: OCI image-spec 1.1, annotations.md.
Trust: what the step left is read as every layer is (layer/diff.py); its words are cut.
Threads: any.
"""

from __future__ import annotations

import time

from imagesmith.concurrency import Cancel
from imagesmith.errors import StepFailed
from imagesmith.image.commit import commit
from imagesmith.image.forms import Form
from imagesmith.layer.diff import layer_entries
from imagesmith.oci.names import ImageRef
from imagesmith.plan.plan import PlannedImage
from imagesmith.solve.halting import Room, how_it_ended
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.solve.result import BuiltLayer
from imagesmith.store.store import Store
from imagesmith.values import replace

__all__ = ["FAILED", "keep"]

#: What labels and annotations of such an image begin with: `.step`, `.command`, `.reason`.
FAILED = "dev.imagesmith.failed"
#: So much (characters) of each is kept.
_MOST = 4096


def keep(
    ref: ImageRef,
    room: Room,
    error: StepFailed,
    planned: PlannedImage,
    store: Store,
    writer: LayerWriter,
) -> None:
    """Give the state that a step left a name in the store; the name comes last.

    Args:
        ref: the name.
        room: of the step; its workspace is good for nothing else then.
        error: why it failed.
        planned: the stage's image if it had not.
        store: takes it.
        writer: writes the layer.

    Raises:
        StoreError: the disk is full, read-only or broken.
        ImagesmithError: what was left cannot be read, or a layer below is nowhere any more.
    """
    name, parent = room.name, room.parent
    with store.during(f"keep what {name} left"):
        upper, opaques = room.workspace.changes()
        entries = layer_entries(upper, opaques, parent.view, spool=store.new_spool)
        diff_id, descriptor = writer.write(entries, Cancel())  # whatever else is being stopped
        stored = store.layers.layer(diff_id, descriptor.digest)
        last = BuiltLayer(diff_id, descriptor, stored, time.time_ns(), name, writer.codec_name)
        for layer in parent.layers:
            if layer.created_ns is not None:  # a cache may be gone tomorrow; a base's registry has its layers
                layer.stored.bring(layer.descriptor.digest)
        told = {
            f"{FAILED}.step": name,
            f"{FAILED}.command": " ".join(room.spec.argv),
            f"{FAILED}.reason": how_it_ended(error),
        }
        told = {key: text[:_MOST] for key, text in told.items()}
        runtime = replace(planned.runtime, labels={**planned.runtime.labels, **told})
        form = Form(epoch=planned.epoch, manifest=tuple(sorted(told.items())))
        image = commit(replace(planned, runtime=runtime), [*parent.layers, last], store, form=form)
        store.name(ref, replace(image.descriptor, annotations={}, platform=None))
