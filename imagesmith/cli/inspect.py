"""`imagesmith inspect`: what an image is, in any place; the manifest, config or index as they are stored.

Spec: `skopeo inspect`'s and `docker inspect`'s names for the fields; Provenance and SBOM as `docker buildx
imagetools inspect` has them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from imagesmith.cli.common import add_session_flags, opened, platform_of, print_json, say, source_at
from imagesmith.cli.flags import add_platform
from imagesmith.interfaces import ImageSource
from imagesmith.oci.config import config_object
from imagesmith.oci.mediatype import MANIFEST_TYPES, is_image_config
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import ImageRef

if TYPE_CHECKING:
    from imagesmith.cli.template import Record

__all__ = ["attested", "configure", "run"]

#: Fields that not every image has, and those of Docker's config.
_FIELDS = ("ArtifactType", "Author", "Created", "Architecture", "Os", "Variant", "Subject", "Manifests")
_CONFIG_FIELDS = (
    "ArgsEscaped", "AttachStderr", "AttachStdin", "AttachStdout", "Cmd", "Domainname", "Entrypoint", "Env",
    "ExposedPorts", "Healthcheck", "Hostname", "Image", "Labels", "MacAddress", "NetworkDisabled", "OnBuild",
    "OpenStdin", "Shell", "StdinOnce", "StopSignal", "StopTimeout", "Tty", "User", "Volumes", "WorkingDir",
)  # fmt: skip
_LAYER_FIELDS = ("Digest", "DiffID", "Size", "MediaType", "Annotations")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("ref", help="a name in the store, or else in its registry; or another place")
    add_platform(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--raw", action="store_true", help="the manifest or index as it is stored")
    form.add_argument("--config", action="store_true", help="the image config as it is stored")
    form.add_argument("--manifest", action="store_true", help="the platform's manifest as it is stored")
    form.add_argument(
        "-f", "--format", default="", metavar="TEMPLATE", help="a Go template, e.g. '{{.Digest}}'"
    )
    add_session_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.copier import chosen
    from imagesmith.transports.documents import parsed

    with opened(args, spare=True) as (session, store), source_at(args.ref, session, store) as source:
        found = source.root()
        raw = source.document(found)
        if args.raw:
            sys.stdout.buffer.write(raw)
            return 0
        document = parsed(source, found, raw)
        only = None if args.platform else _only_image(source, document)
        manifest = chosen(source, only or found, platform_of(args))
        if args.manifest:
            sys.stdout.buffer.write(manifest.raw)
            return 0
        if args.config:
            sys.stdout.buffer.write(source.document(manifest.config))
            return 0
        report = _report(args.ref, source, found, document, manifest)
        if args.format:
            from imagesmith.cli.template import render

            text = render(args.format, _record(report, attested(source, args)))
    if args.format:
        if sys.stdout.isatty():
            say(text)
        else:
            sys.stdout.write(f"{text}\n")
    else:
        print_json(report)
    return 0


def _only_image(source: ImageSource, document: Manifest | Index) -> Descriptor | None:
    """The one image of an index that holds nothing else but attestations, whatever its platform."""
    images = [d for d in document.manifests if not d.is_attestation] if isinstance(document, Index) else []
    is_image = len(images) == 1 and images[0].media_type in MANIFEST_TYPES
    return images[0] if is_image and not source.lacks(images[0]) else None


def attested(source: ImageSource, args: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """What is attested, in the shapes of `docker buildx imagetools inspect`; read where it is asked for."""
    platform = platform_of(args) if args.platform else None

    def provenance() -> dict[str, Any]:
        from imagesmith.attest.reading import shown_provenance

        return shown_provenance(source, platform)

    def sbom() -> dict[str, Any]:
        from imagesmith.attest.reading import shown_sbom

        return shown_sbom(source, platform)

    return {"Provenance": provenance, "SBOM": sbom}


def _report(
    text: str, source: ImageSource, found: Descriptor, document: Manifest | Index, manifest: Manifest
) -> dict[str, Any]:
    from imagesmith.transports.documents import config_of

    config: dict[str, Any] = {}
    if is_image_config(manifest.config.media_type):
        config_of(source, manifest)  # refuses what could not be shown below
        config = config_object(source.document(manifest.config)).data
    name, tag = text, None
    if not text.startswith(("oci:", "oci-archive:", "docker-archive:")):
        ref = ImageRef.parse(text.removeprefix("docker://").removeprefix("store:"))
        name, tag = ref.name, ref.tag
    diff_ids = (config.get("rootfs") or {}).get("diff_ids") or []
    runtime = config.get("config") or {}
    out: dict[str, Any] = {
        "Name": name,
        "Tag": tag,
        "Digest": str(found.digest),
        "MediaType": found.media_type,
        "ImageID": str(manifest.config.digest),
        "Created": config.get("created"),
        "Os": config.get("os"),
        "Architecture": config.get("architecture"),
        "Variant": config.get("variant"),
        "Author": config.get("author"),
        "Config": runtime,
        "Env": runtime.get("Env") or [],
        "Labels": runtime.get("Labels") or {},
        "Annotations": dict(manifest.annotations),
        "Size": manifest.config.size + sum(d.size for d in manifest.layers),
        "Layers": [
            {"Digest": str(d.digest), "Size": d.size, "MediaType": d.media_type}
            | ({"DiffID": diff_ids[n]} if n < len(diff_ids) else {})
            | ({"Annotations": dict(d.annotations)} if d.annotations else {})
            for n, d in enumerate(manifest.layers)
        ],
        "History": [h.get("created_by", "") for h in config.get("history") or []],
    }
    if manifest.artifact_type:
        out["ArtifactType"] = manifest.artifact_type
    if manifest.subject:
        out["Subject"] = manifest.subject.to_json()
    if isinstance(document, Index):
        out["Manifests"] = [d.to_json() for d in document.manifests]
    return {k: v for k, v in out.items() if v is not None or k == "Tag"}


def _record(report: dict[str, Any], later: dict[str, Callable[[], Any]]) -> Record:
    """The report for a template, which may ask for the fields that there are."""
    from imagesmith.cli.template import Record

    layers = [Record(layer, _LAYER_FIELDS) for layer in report["Layers"]]
    config = Record(report["Config"], _CONFIG_FIELDS)
    return Record({**report, "Config": config, "Layers": layers}, _FIELDS, later)
