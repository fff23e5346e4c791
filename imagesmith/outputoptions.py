"""Reading --output and --annotation as buildx and BuildKit read them.

Why: an option that is honoured by nobody must not be taken. What an exporter declares is checked here by its
type, combinations by BuildKit's rules and in its words; what has no meaning without a daemon is refused by
name with what to do. All of it before anything is built.
Spec: buildx util/buildflags/export.go; BuildKit exporter/containerimage/exptypes (keys.go, annotations.go),
opts.go, exporter/{oci,local,tar}.
Trust: words of a command line; every mistake is a UsageError that quotes the word.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence

from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import UsageError
from imagesmith.fs.results import refusal_of
from imagesmith.layer.codecs import Codec
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.oci.times import parse_epoch
from imagesmith.options import boolean, fields
from imagesmith.plugins import EXPORTERS, load
from imagesmith.request import Annotation, Output
from imagesmith.values import replace

__all__ = [
    "LOADS",
    "annotation_of",
    "check_deletions",
    "check_places",
    "loaded",
    "parse_annotation",
    "parse_output",
    "pushed",
]

#: Who can be given an image.
LOADS = ("docker", "podman", "containerd", "kind")
_ANNOTATED = ("manifest", "manifest-descriptor", "index", "index-descriptor")
_ANNOTATION_TYPE = r"([a-z-]+)(?:\[([A-Za-z0-9_/-]+)\])?"
_ANNOTATION = r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)"
#: What BuildKit had once.
_GONE = {
    "buildinfo": "BuildKit has no build info any more",
    "buildinfo-attrs": "BuildKit has no build info any more",
}


def parse_output(text: str) -> Output:
    """One -o: `type=T[,dest=P][,k=v…]`, a folder, or `-` for a tar on standard output."""
    if text == "-":
        return _placed(Output(type="tar", dest="-"))
    if "=" not in text:
        return _placed(Output(type="local", dest=text))
    kind, dest, options = "", "", {}
    for key, value in fields(text, "output"):
        if value is None:
            raise UsageError(f"invalid value {key}")
        if key == "type":
            kind = value
        elif key in ("dest", "output"):
            dest = value
        else:
            options[key] = value
    if not kind:
        raise UsageError("type is required for output")
    if kind not in EXPORTERS:
        raise UsageError(f'exporter "{kind}" could not be found{suggest(kind, list(EXPORTERS))}')
    _check_options(kind, options)
    _check_together(options)
    output = Output(type=kind, dest=dest, options=options)
    return _placed(output)


def _placed(output: Output) -> Output:
    """The output with its destination checked, in buildx's words; a tar without one goes to stdout."""
    kind, dest = output.type, output.dest
    if kind not in ("local", "tar", "oci", "docker"):
        if dest:
            raise UsageError(f"output {kind} has no dest")
        return output
    if kind == "local" or not output.flag("tar", True):
        if not dest:
            raise UsageError(f"dest is required for {kind} exporter")
        if dest == "-":
            raise UsageError(f"dest cannot be stdout for {kind} exporter")
        if os.path.exists(dest) and not os.path.isdir(dest):
            raise UsageError(f"destination directory {dest} is a file")
        return output
    if kind == "docker" and not dest:
        _check_loading(output.options)
        return output
    if said := [key for key in ("context", "load") if key in output.options]:
        raise UsageError(f"{said[0]}= says who is given the image, and dest={dest} is a file")
    if dest in ("", "-") and sys.stdout.isatty():
        raise UsageError(f"dest file is required for {kind} exporter. refusing to write to console")
    if os.path.isdir(dest):
        raise UsageError(f"destination file {dest} is a directory")
    if dest != "-" and (refusal := refusal_of(dest)):
        raise UsageError(f"destination file {refusal}")
    return replace(output, dest=dest or "-")


def _check_loading(options: Mapping[str, str]) -> None:
    kind, colon, place = options.get("load", "").partition(":")
    if "load" in options and kind not in LOADS:
        raise UsageError(
            f"load={kind}: who is that?{suggest(kind, list(LOADS))}", hint=f"{', '.join(LOADS)} are known"
        )
    if colon and (kind not in ("containerd", "kind") or not place):
        raise UsageError(f"load={kind}:{place}: a cluster of kind or a namespace of containerd has a name")
    if options.get("context") and kind not in ("", "docker"):
        raise UsageError(f"context= is Docker's, and load={kind} says that it is not to be loaded there")


def _check_options(kind: str, options: Mapping[str, str]) -> None:
    """Refuse what an exporter does not take, and values that an option does not have."""
    exporter = load(EXPORTERS[kind])
    known, refused = exporter.OPTIONS, {**_GONE, **getattr(exporter, "REFUSED", {})}
    for key, value in options.items():
        if "name" in known and annotation_of(key) is not None:
            continue
        if key not in known:
            if key in refused:
                raise UsageError(
                    f"output {kind}: {key} is not supported: {refused[key]}", hint="leave it out"
                )
            names = sorted({*known, "dest", "type"})
            raise UsageError(f"output {kind} has no option {key}{suggest(key, names)}")
        if known[key] is bool:
            boolean(key, value)
        elif isinstance(known[key], tuple) and value not in known[key]:
            raise UsageError(f"output {kind}: {key} {value} is neither {' nor '.join(known[key])}")


def _check_together(options: Mapping[str, str]) -> None:
    """Refuse what options say together, as BuildKit does."""
    codec = Codec.parse(options.get("compression", "gzip"), options.get("compression-level", ""))

    def said(key: str) -> bool | None:
        return boolean(key, options[key]) if key in options else None

    if said("oci-mediatypes") is False:
        if codec.only_oci:
            raise UsageError(
                f'exporter option "compression={codec.name}" conflicts with "oci-mediatypes=false"',
                hint="Docker's media types have no such layers",
            )
        if said("oci-artifact"):
            raise UsageError('exporter option "oci-artifact=true" conflicts with "oci-mediatypes=false"')
    if said("unpack"):
        if said("rewrite-timestamp"):
            raise UsageError('exporter option "rewrite-timestamp" conflicts with "unpack"')
        raise UsageError(
            "unpack=true is not supported: the store keeps layers packed, and RUN unpacks what it needs",
            hint="leave it out, or give the image to containerd with --load=containerd, which unpacks it",
        )
    epoch = options.get("source-date-epoch", "")
    if epoch and parse_epoch(epoch) is None:
        raise UsageError(f"invalid SOURCE_DATE_EPOCH: {epoch}")
    if options.get("name") == "*":
        raise UsageError("name=* stands for the name that a frontend gives, and Dockerfiles give none")
    prefix = options.get("dangling-name-prefix", "")
    if prefix:
        ImageRef.parse(prefix, default_tag=False)
    if said("danging-name-empty-only") and "dangling-name-prefix" not in options:
        raise UsageError("danging-name-empty-only says something of dangling-name-prefix, which is not given")


def check_places(outputs: Sequence[Output]) -> tuple[Output, ...]:
    """The outputs, unless two would go to the same place.

    Raises:
        UsageError: two go to standard output, or to one file or folder.
    """
    if sum(o.dest == "-" for o in outputs) > 1:
        raise UsageError("only one output can go to standard output")
    taken: set[str] = set()
    for dest in (o.dest for o in outputs if o.dest not in ("", "-")):
        path = os.path.realpath(dest)
        if path in taken:
            raise UsageError(f"two outputs go to {dest}", hint="give each its own dest")
        if not os.path.exists(path) or os.path.isfile(path) or os.path.isdir(path):
            taken.add(path)  # a device or a pipe may take several
    return tuple(outputs)


def check_deletions(outputs: Sequence[Output], *, allowed: bool) -> None:
    """Refuse to empty a folder that is not below the working directory, unless that is allowed.

    Raises:
        UsageError: mode=delete would empty it.
    """
    here = os.path.realpath(".")
    for output in outputs:
        if output.options.get("mode") != "delete" or allowed:
            continue
        path = os.path.realpath(output.dest)
        if path == here or os.path.commonpath([path, here]) != here:
            raise UsageError(
                f"mode=delete would empty {output.dest}, which is not below the working directory",
                hint="--allow buildx.local.delete lets it",
            )


def pushed(outputs: Sequence[Output]) -> list[Output]:
    """The outputs of --push: an image among them is pushed, or one more is."""
    if not any(o.type in ("image", "registry") for o in outputs):
        return [*outputs, Output(type="image", options={"push": "true"})]
    kinds = ("image", "registry")
    return [replace(o, options={**o.options, "push": "true"}) if o.type in kinds else o for o in outputs]


def loaded(outputs: Sequence[Output], where: str) -> list[Output]:
    """The outputs of --load: one that loads already is told where, or there is one more.

    Raises:
        UsageError: a place that is not known.
    """
    if where.lower() in ("1", "t", "true", "0", "f", "false"):
        if not boolean("--load", where):
            return list(outputs)
        options: dict[str, str] = {}
    else:
        options = {"load": where}
    _check_loading(options)
    if not any(o.loads for o in outputs):
        return [*outputs, Output(type="docker", options=options)]
    return [replace(o, options={**o.options, **options}) if o.loads else o for o in outputs]


def annotation_of(key: str) -> tuple[str, Platform | None, str] | None:
    """The level, platform and name of an option `annotation[-LEVEL][[PLATFORM]].NAME`; None for others.

    Raises:
        UsageError: in BuildKit's words.
    """
    if not key.startswith(("annotation-", "annotation.", "annotation[")):
        return None
    match = re.fullmatch(_ANNOTATION, key)
    if match is None:
        raise UsageError(
            f"could not fully parse annotation {key}", hint="annotation[-LEVEL][[PLATFORM]].KEY=VALUE"
        )
    level = match[1] or "manifest"
    if level not in _ANNOTATED:
        raise UsageError(f"unrecognized annotation type {level}{suggest(level, list(_ANNOTATED))}")
    return level, Platform.parse(match[2]) if match[2] else None, match[3]


def parse_annotation(text: str) -> list[Annotation]:
    """--annotation: `[TYPE[[PLATFORM]],…:]KEY=VALUE`; without a type it is the manifest's."""
    words, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f'invalid annotation "{text}", expected key=value')
    types, colon, key = words.partition(":")
    if not colon:
        return [Annotation("manifest", words, value)]
    out = []
    for word in types.split(","):
        match = re.fullmatch(_ANNOTATION_TYPE, word)
        if match is None:
            raise UsageError(
                f'invalid annotation type "{word}", expected type and optional platform in square brackets'
            )
        if match[1] not in _ANNOTATED:
            raise UsageError(f'unknown annotation type "{match[1]}"{suggest(match[1], list(_ANNOTATED))}')
        out.append(Annotation(match[1], key, value, Platform.parse(match[2]) if match[2] else None))
    return out
