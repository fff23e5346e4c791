"""`docker buildx imagetools create|inspect`, done by `index create` and by reading a registry.

Spec: buildx's commands/imagetools (0.21): names are of registries; `create` of one source that is an index
writes it as it is, of one image an index of it.
Trust: what registries hold is shown by cli/lines.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from imagesmith.cli.common import opened, platform_of, source_at
from imagesmith.cli.flags import many, new_file
from imagesmith.cli.lines import harmless_json, one_line
from imagesmith.cli.main import main
from imagesmith.cli.parser import Parser
from imagesmith.errors import UsageError
from imagesmith.oci.config import config_object
from imagesmith.oci.mediatype import is_image_config
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import ImageRef

__all__ = ["imagetools"]


def imagetools(words: list[str]) -> int:
    """Do it, and return the exit status."""
    verb = words[0] if words else ""
    if verb == "create":
        return _create(words[1:])
    if verb == "inspect":
        return _inspect(words[1:])
    raise UsageError(f"imagetools {verb}: not known here", hint="create and inspect are")


def _create(words: list[str]) -> int:
    parser = Parser(prog="docker buildx imagetools create")
    parser.add_argument("sources", nargs="+", metavar="SOURCE")
    g = parser.add_argument_group("the index")
    many(g, "-t", "--tag", metavar="REF", text="name of the new index")
    many(g, "--annotation", metavar="[index:]K=V", text="of the index")
    parser.add_argument("--append", action="store_true", help="keep what the index holds")
    parser.add_argument("--builder", default="")
    parser.add_argument("--progress", default="auto")
    parser.add_argument("--metadata-file", default="", type=new_file)
    args = parser.parse_args(words)
    if not args.tag:
        raise UsageError("imagetools create: at least one tag is needed", hint="-t REF")
    notes = [f"--annotation={text.removeprefix('index:')}" for text in args.annotation]
    sources = [f"docker://{text}" for text in args.sources]
    for tag in args.tag:
        place = f"docker://{ImageRef.parse(tag)}"
        if status := main(["index", "add" if args.append else "create", *notes, place, *sources]):
            return status
    if args.metadata_file:
        return _tell(args, str(ImageRef.parse(args.tag[0])))
    return 0


def _tell(args: argparse.Namespace, name: str) -> int:
    from imagesmith.fs.results import put_file

    place = f"docker://{name}"
    with opened(_asked(name), spare=True) as (session, store), source_at(place, session, store) as source:
        found = source.root().to_json()
    document = {"containerimage.descriptor": found, "image.name": ",".join(args.tag)}
    put_file(args.metadata_file, json.dumps(document, indent=2).encode())
    return 0


def _asked(ref: str) -> argparse.Namespace:
    """The flags of `inspect`, none given."""
    from imagesmith.cli import inspect

    parser = Parser(prog="imagesmith inspect")
    inspect.configure(parser)
    return parser.parse_args([ref])


def _inspect(words: list[str]) -> int:
    parser = Parser(prog="docker buildx imagetools inspect")
    parser.add_argument("ref", metavar="NAME")
    parser.add_argument("--raw", action="store_true", help="the manifest or index as it is stored")
    parser.add_argument("--format", default="", metavar="TEMPLATE", help="e.g. '{{json .Manifest}}'")
    parser.add_argument("--builder", default="")
    args = parser.parse_args(words)
    name = f"docker://{args.ref}"
    if args.raw:
        return main(["inspect", "--raw", name])
    from imagesmith.cli.inspect import attested
    from imagesmith.cli.template import Record, render
    from imagesmith.transports.documents import document_of

    asked = _asked(name)
    with opened(asked, spare=True) as (session, store), source_at(name, session, store) as source:
        found = source.root()
        document = document_of(source, found)
        if not args.format:
            sys.stdout.write(_text(str(ImageRef.parse(args.ref)), found, document))
            return 0
        later: dict[str, Callable[[], Any]] = dict(attested(source, None))

        def image() -> dict[str, Any]:
            from imagesmith.transports.copier import chosen

            manifest = chosen(source, found, platform_of(asked))
            is_image = is_image_config(manifest.config.media_type)
            return config_object(source.document(manifest.config)).data if is_image else {}

        later["Image"] = image
        whole = {"Name": str(ImageRef.parse(args.ref)), "Manifest": _manifest(found, document)}
        text = render(args.format, Record(whole, (), later))
    sys.stdout.write(f"{text}\n" if not sys.stdout.isatty() else f"{harmless_json(text)}\n")
    return 0


def _manifest(found: Descriptor, document: Manifest | Index) -> dict[str, Any]:
    """A manifest or index with its own descriptor, as buildx joins them."""
    own = {"schemaVersion": 2, "mediaType": found.media_type, "digest": str(found.digest), "size": found.size}
    if isinstance(document, Index):
        return {**own, "manifests": [d.to_json() for d in document.manifests]}
    return own


def _text(name: str, found: Descriptor, document: Manifest | Index) -> str:
    lines = [f"Name:      {name}", f"MediaType: {found.media_type}", f"Digest:    {found.digest}"]
    if isinstance(document, Index):
        lines += ["", "Manifests:"]
        for d in document.manifests:
            lines += [f"  Name:        {name}@{d.digest}", f"  MediaType:   {d.media_type}"]
            lines += [f"  Platform:    {d.platform}"] if d.platform else []
            lines += ["  Annotations:"] if d.annotations else []
            lines += [f"    {key}: {value}" for key, value in d.annotations.items()]
            lines += [""]
    return "".join(f"{one_line(line)}\n" for line in lines)
