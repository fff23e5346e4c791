"""The SBOM of an image, of a stage, or of any tree of files: read, attributed, written.

Why: `imagesmith sbom` and a build ask for the same thing; this is the one door for both. It is imported when
an SBOM is asked for and by nothing else.
Trust: files come from images and contexts: they are read by sbom/reading.py alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from imagesmith.errors import InvalidDocument, UsageError
from imagesmith.fs.tree import Tree
from imagesmith.fs.view import View
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Manifest
from imagesmith.oci.names import ImageRef
from imagesmith.oci.times import format_ns, parse_ns
from imagesmith.sbom.attribution import Line, Origin, origins
from imagesmith.sbom.bill import Bill
from imagesmith.sbom.package import LONGEST, clean, supplier_of
from imagesmith.sbom.reading import Files, packages_in
from imagesmith.transports.names import PlaceName

__all__ = ["FORMATS", "sbom_of", "sbom_of_image", "supplier_in"]

#: The formats, and the modules that write them.
FORMATS: dict[str, str] = {"spdx": "imagesmith.sbom.spdx", "cyclonedx": "imagesmith.sbom.cyclonedx"}

#: Labels and annotations that name the supplier of an image, and whether that is an organization.
_NAMES = (
    ("org.opencontainers.image.vendor", True),
    ("org.label-schema.vendor", True),
    ("org.opencontainers.image.authors", False),
    ("maintainer", False),
)


def sbom_of(
    tree: Tree,
    *,
    name: str,
    format_: str = "spdx",
    reference: ImageRef | None = None,
    digest: Digest | None = None,
    config: ImageConfig | None = None,
    annotations: Mapping[str, str] | None = None,
    lines: Mapping[Digest, Line] | None = None,
    epoch: int | None = None,
    supplier: str = "",
    folder: Path | None = None,
    warn: Callable[[str], object] = lambda _: None,
) -> bytes:
    """The SBOM of a tree as a JSON document; equal arguments give equal bytes.

    Args:
        tree: the files: the view of an image's or a stage's layers, or a build context.
        name: what they are called.
        format_: a name in FORMATS.
        reference: the image's, where it has one.
        digest: of the image's manifest; None for what is no image.
        config: the image's: its history tells which step made each layer, its labels who supplies it.
        annotations: of the image's manifest, which may name its supplier, too.
        lines: the line of a Dockerfile that made a layer, by diff_id, as far as it is known.
        epoch: when the document was made, in seconds since 1970; else when the image was.
        supplier: of the image, "Organization: X" or a name; else the image's own word.
        folder: of the store, for copies that need a file (Store.blobs.ingest).
        warn: is told what cannot be read, one line each.

    Raises:
        UsageError: there is no such format.
        LimitExceeded: more packages than any image has.
        StoreError: the disk is full, read-only or broken.
    """
    if format_ not in FORMATS:
        raise UsageError(f"invalid SBOM format {format_!r}", hint=f"{' and '.join(FORMATS)} are known")
    image = Files(tree, folder, warn)
    packages = packages_in(image)
    known: Mapping[tuple[str, str], Origin] = {}
    if config is not None and isinstance(tree, View):
        known = origins(tree, packages, config, lines or {}, folder)
    bill = Bill(
        name=name,
        created=_created(config, epoch),
        packages=tuple(packages),
        reference=reference,
        digest=digest,
        platform=config.platform if config is not None else None,
        supplier=_supplier(supplier) or (supplier_in(config, annotations or {}) if config else ""),
        origins=known,
        release=image.release,
    )
    document: bytes = import_module(FORMATS[format_]).write(bill)
    return document


def sbom_of_image(
    view: View,
    manifest: Manifest,
    config: bytes,
    place: PlaceName,
    *,
    format_: str = "spdx",
    supplier: str = "",
    folder: Path | None = None,
    warn: Callable[[str], object] = lambda _: None,
) -> bytes:
    """The SBOM of a finished image.

    Args:
        view: its files.
        manifest, config: its documents.
        place: where it was found, which names it.
        format_, supplier, folder, warn: see sbom_of.
    """
    return sbom_of(
        view,
        name=place.image.familiar if place.image else place.path.rstrip("/").rpartition("/")[2],
        format_=format_,
        reference=place.image,
        digest=manifest.digest,
        config=ImageConfig.parse(config),
        annotations=manifest.annotations,
        supplier=supplier,
        folder=folder,
        warn=warn,
    )


def supplier_in(config: ImageConfig, annotations: Mapping[str, str]) -> str:
    """Who supplies an image by its own word; empty if it names nobody."""
    for given in (annotations, config.runtime.labels):
        for key, organization in _NAMES:
            found = supplier_of(clean(given.get(key, "")[:LONGEST]), organization=organization)
            if found:
                return found
    return supplier_of(clean(config.author[:LONGEST]))


def _supplier(text: str) -> str:
    """What a user gave as the supplier."""
    said = clean(text)[:LONGEST]
    if said.startswith(("Organization: ", "Person: ")):
        return said
    return supplier_of(said, organization=True)


def _created(config: ImageConfig | None, epoch: int | None) -> str:
    """The time of the document, in whole seconds: the epoch, else the image's, else 1970."""
    ns = 0
    if epoch is not None:
        ns = epoch * 1_000_000_000
    elif config is not None and config.created:
        with contextlib.suppress(InvalidDocument, OverflowError):
            ns = parse_ns(config.created)
    return format_ns(ns // 1_000_000_000 * 1_000_000_000)
