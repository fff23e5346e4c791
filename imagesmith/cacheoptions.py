"""Reading --cache-from and --cache-to, as buildx spells them.

Trust: words of a command line; every mistake is a UsageError that quotes the word.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import UsageError
from imagesmith.layer.codecs import Codec
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import ImageRef
from imagesmith.options import boolean, fields
from imagesmith.request import CachePlace

__all__ = ["filled", "parse_cache_from", "parse_cache_to"]

_FOREIGN = ("azblob", "gha", "s3")
_FROM = {"registry": {"ref"}, "local": {"src", "tag", "digest"}}
_WRITTEN = {
    "mode",
    "compression",
    "compression-level",
    "ignore-error",
    "image-manifest",
    "merge",
    "oci-mediatypes",
}
_TO = {"registry": {"ref", *_WRITTEN}, "local": {"dest", "tag", *_WRITTEN}, "inline": set[str]()}


def filled(text: str, target: str, platform: str = "") -> str:
    """A value of --cache-from or --cache-to with `{target}` and `{platform}` filled in; other words stay.

    Args:
        text: as it is written in a bake file.
        target: its name; what may not stand in a reference becomes `-`, and capitals become small.
        platform: what it is built for, or several; slashes and commas become `-`.
    """

    def word(value: str) -> str:
        return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")

    return text.replace("{target}", word(target)).replace("{platform}", word(platform))


def _read(text: str, flag: str, known: Mapping[str, set[str]]) -> tuple[str, dict[str, str]]:
    """The type and the options of one value."""
    options: dict[str, str] = {}
    pairs = fields(text, flag)
    if len(pairs) == 1 and pairs[0][1] is None:
        return "registry", {"ref": text}
    for key, value in pairs:
        if value is None:
            raise UsageError(f'{flag}: type required form> "{text}"')
        options[key] = value
    kind = options.pop("type", "")
    if not kind:
        raise UsageError(f'{flag}: type required form> "{text}"')
    if kind not in known:
        of_theirs = f": type={kind} is not supported" if kind in _FOREIGN else f': unknown type "{kind}"'
        raise UsageError(f"{flag}{of_theirs}, {', '.join(sorted(known))} are")
    for key in options:
        if key not in known[kind]:
            raise UsageError(f"{flag}: type={kind} has no option {key}{suggest(key, sorted(known[kind]))}")
    for key in ("ref",) if kind == "registry" else ("dest", "src") if kind == "local" else ():
        if key in known[kind] and not options.get(key):
            raise UsageError(f"{flag}: type={kind} needs {key}")
    return kind, options


def parse_cache_from(words: Iterable[str]) -> tuple[CachePlace, ...]:
    """--cache-from: `REF`, `type=registry,ref=REF` or `type=local,src=DIR[,tag=T][,digest=D]`."""
    out = []
    for text in words:
        kind, options = _read(text, "--cache-from", _FROM)
        out.append(
            CachePlace(
                type=kind,
                ref=ImageRef.parse(options["ref"]) if kind == "registry" else None,
                path=options.get("src", ""),
                tag=options.get("tag", ""),
                digest=Digest.parse(options["digest"]) if "digest" in options else None,
            )
        )
    return tuple(out)


def parse_cache_to(words: Iterable[str], build_args: Mapping[str, str]) -> tuple[CachePlace, ...]:
    """--cache-to: `REF`, `type=registry|local|inline[,k=v…]`; BUILDKIT_INLINE_CACHE=1 adds inline."""
    out = [_written(*_read(text, "--cache-to", _TO)) for text in words]
    inline = build_args.get("BUILDKIT_INLINE_CACHE", "")
    if inline and boolean("BUILDKIT_INLINE_CACHE", inline) and all(p.type != "inline" for p in out):
        out.append(CachePlace(type="inline"))
    return tuple(out)


def _check_folder(dest: str) -> None:
    """Refuse a folder that cannot be made, for it would be told when all is built."""
    at = os.path.abspath(dest)
    while dest and not os.path.isdir(at):
        if os.path.lexists(at):
            raise UsageError(f"--cache-to: cannot write {dest}: {at} is not a folder")
        at = os.path.dirname(at)


def _written(kind: str, options: Mapping[str, str]) -> CachePlace:
    mode = options.get("mode", "min")
    if mode not in ("min", "max"):
        raise UsageError(f"--cache-to: invalid mode {mode}, min and max are known")
    if not boolean("image-manifest", options.get("image-manifest", "true")):
        raise UsageError(
            "--cache-to: image-manifest=false is not supported",
            hint="the cache is an image manifest, which every registry takes",
        )
    if not boolean("oci-mediatypes", options.get("oci-mediatypes", "true")):
        raise UsageError("--cache-to: exporting cache as image manifest requires OCI mediatypes")
    ignore_error = boolean("ignore-error", options.get("ignore-error", "false"))
    if not ignore_error:
        _check_folder(options.get("dest", ""))
    level = options.get("compression-level", "")
    codec = None
    if level or "compression" in options:
        codec = Codec.parse(options.get("compression", "gzip"), level)
        if codec.is_estargz:
            raise UsageError(
                "--cache-to: compression=estargz adds files to layers, which steps must not see",
                hint="use gzip or zstd here, and estargz for the image: -o type=image,compression=estargz",
            )
    return CachePlace(
        type=kind,
        ref=ImageRef.parse(options["ref"]) if kind == "registry" else None,
        path=options.get("dest", ""),
        tag=options.get("tag", ""),
        mode=mode,
        codec=codec,
        ignore_error=ignore_error,
        merge=boolean("merge", options.get("merge", "false")),
    )
