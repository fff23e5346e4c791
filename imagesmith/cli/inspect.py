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
from imagesmith.oci.names import Platform

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
    from imagesmith.image.inspection import inspect_image, manifest_of

    platform = platform_of(args) if args.platform else None
    with opened(args, spare=True) as (session, store), source_at(args.ref, session, store) as source:
        if args.raw:
            sys.stdout.buffer.write(source.document(source.root()))
            return 0
        if args.manifest or args.config:
            _, _, manifest = manifest_of(source, platform)
            raw = source.document(manifest.config) if args.config else manifest.raw
            sys.stdout.buffer.write(raw)
            return 0
        report = inspect_image(source, args.ref, platform).report()
        if args.format:
            from imagesmith.cli.template import render

            text = render(args.format, _record(report, attested(source, platform)))
    if args.format:
        if sys.stdout.isatty():
            say(text)
        else:
            sys.stdout.write(f"{text}\n")
    else:
        print_json(report)
    return 0


def attested(source: ImageSource, platform: Platform | None) -> dict[str, Callable[[], Any]]:
    """What is attested, in the shapes of `docker buildx imagetools inspect`; read where it is asked for."""

    def provenance() -> dict[str, Any]:
        from imagesmith.attest.reading import shown_provenance

        return shown_provenance(source, platform)

    def sbom() -> dict[str, Any]:
        from imagesmith.attest.reading import shown_sbom

        return shown_sbom(source, platform)

    return {"Provenance": provenance, "SBOM": sbom}


def _record(report: dict[str, Any], later: dict[str, Callable[[], Any]]) -> Record:
    """The report for a template, which may ask for the fields that there are."""
    from imagesmith.cli.template import Record

    layers = [Record(layer, _LAYER_FIELDS) for layer in report["Layers"]]
    config = Record(report["Config"], _CONFIG_FIELDS)
    return Record({**report, "Config": config, "Layers": layers}, _FIELDS, later)
