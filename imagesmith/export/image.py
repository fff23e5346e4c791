"""`-o type=image` and `type=registry`: a name in the store, and in the registry of each name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from imagesmith.errors import RegistryError, UsageError
from imagesmith.export.job import Export
from imagesmith.export.options import NAMED, Options
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.request import Output
from imagesmith.values import replace

__all__ = ["HOLDS_INDEX", "OPTIONS", "write"]

OPTIONS: Options = NAMED
HOLDS_INDEX = True


def write(output: Output, export: Export) -> None:
    """Name the image; with push (or type=registry) send it.

    With push-by-digest it gets no tag: several builds may later be put together in one index.
    """
    by_digest = output.flag("push-by-digest")
    descriptor = replace(export.built.descriptor, annotations={}, platform=None)
    if not output.pushes and output.flag("store", True):
        export.complete(base=False)  # a base's registry has its layers; a cache may be gone tomorrow
    if output.flag("store", True):
        _dangling(output, export, descriptor)
    if output.pushes:
        export.bring_foreign()
    for ref in export.tags:
        if by_digest and ref.tag is not None:
            raise UsageError(f"can't push tagged ref {ref} by digest", hint="give the name without a tag")
        canonical = ref.with_tag(None).with_digest(descriptor.digest)
        if output.flag("store", True):
            if not by_digest:
                export.store.name(ref, descriptor)
                export.vertex.did(f"naming to {ref}")
            if output.flag("name-canonical"):
                export.store.name(canonical, descriptor)
        if output.pushes:
            layers = [(layer.descriptor, layer.stored) for layer in export.layers]
            with _attested(export):
                export.images.push(canonical if by_digest else ref, descriptor, layers, export.vertex)


@contextlib.contextmanager
def _attested(export: Export) -> Iterator[None]:
    """Say of a registry's refusal that it may be about the attestations: some know none, or no artifacts."""
    try:
        yield
    except RegistryError as e:
        if type(e) is RegistryError and 400 <= e.status < 500 and export.built.attestations:
            e.hint = e.hint or "some registries take attestations with oci-artifact=false only, or not at all"
        raise


def _dangling(output: Output, export: Export, descriptor: Descriptor) -> None:
    """Give the image the name PREFIX@DIGEST; with danging-name-empty-only if it has no other."""
    prefix = output.options.get("dangling-name-prefix", "")
    if prefix and not (export.tags and output.flag("danging-name-empty-only")):
        ref = ImageRef.parse(f"{prefix}@{descriptor.digest}")
        export.store.name(ref, descriptor)
        export.vertex.did(f"naming to {ref}")
