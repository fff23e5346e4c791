"""The verbs of the store and of registries: push, pull, images, tag, rmi, inspect, prune."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from imagesmith.cli.progress import make_front
from imagesmith.errors import NotFound, UsageError
from imagesmith.oci.model import Descriptor, Index, Manifest, parse_document
from imagesmith.oci.names import ImageRef, Platform, host_platform
from imagesmith.settings import Settings
from imagesmith.store.store import Store

__all__ = ["configure"]

Handler = Callable[[argparse.Namespace], int]


def configure(name: str, parser: argparse.ArgumentParser) -> Handler:
    """Declare a verb's flags and return its handler."""
    parser.add_argument("--root", default="", metavar="DIR", help="the store")
    return _VERBS[name](parser)


def _transfer_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--insecure", action="store_true", help="plain HTTP, or any certificate")
    parser.add_argument("--progress", default="auto", choices=("auto", "plain", "tty", "rawjson", "quiet"))
    parser.add_argument("-q", "--quiet", action="store_true", help="print the digest only")


def _push(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="a name in the store")
    parser.add_argument("to", nargs="?", help="another name to push it under")
    _transfer_flags(parser)

    def run(args: argparse.Namespace) -> int:
        ref = ImageRef.parse(args.ref)
        target = ImageRef.parse(args.to) if args.to else ref
        with Store(Settings.load(args.root).root) as store:
            found = _find(store, ref)
            front = make_front("quiet" if args.quiet else args.progress)
            try:
                from imagesmith.registry.transfer import Session

                with Session(store, insecure=args.insecure, events=front) as session:
                    session.push(target, found)
            finally:
                front.close()
        sys.stdout.write(f"{found.digest}\n")
        return 0

    return run


def _pull(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="an image reference")
    parser.add_argument(
        "--platform", default="", metavar="OS/ARCH", help="platform to pull (default: this machine's)"
    )
    _transfer_flags(parser)

    def run(args: argparse.Namespace) -> int:
        ref = ImageRef.parse(args.ref)
        platform = Platform.parse(args.platform) if args.platform else host_platform()
        with Store(Settings.load(args.root).root) as store:
            front = make_front("quiet" if args.quiet else args.progress)
            try:
                from imagesmith.registry.transfer import Session

                with Session(store, insecure=args.insecure, events=front) as session:
                    descriptor = session.pull(ref, platform)
            finally:
                front.close()
            store.name(ref.with_tag(ref.tag) if ref.tag else ref, descriptor)
        sys.stdout.write(f"{descriptor.digest}\n")
        return 0

    return run


def _find(store: Store, ref: ImageRef) -> Descriptor:
    found = store.find(ref)
    if found is None:
        raise NotFound(f"no image named {ref.familiar} in the store", hint="`imagesmith images` lists them")
    return found


def _images(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("--json", action="store_true", help="one JSON document")

    def run(args: argparse.Namespace) -> int:
        with Store(Settings.load(args.root).root) as store:
            rows = [_row(store, ref, d) for ref, d in store.images()]
        if args.json:
            json.dump(rows, sys.stdout, indent=2)
            sys.stdout.write("\n")
            return 0
        _table(
            ["NAME", "DIGEST", "PLATFORM", "SIZE"],
            [[r["name"], r["digest"][:19], r["platform"], _human(r["size"])] for r in rows],
        )
        return 0

    return run


def _row(store: Store, ref: ImageRef, d: Descriptor) -> dict[str, Any]:
    document = parse_document(store.blobs.read(d.digest), d.media_type)
    if isinstance(document, Manifest):
        platform = str(store.config(document).platform) if store.blobs.has(document.config.digest) else ""
        size = document.config.size + sum(layer.size for layer in document.layers)
    else:
        platform, size = ",".join(str(m.platform) for m in document.manifests if m.platform), d.size
    return {"name": ref.familiar, "digest": str(d.digest), "platform": platform, "size": size}


def _human(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def _table(head: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    for row in [head, *rows]:
        sys.stdout.write(
            "   ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() + "\n"
        )


def _tag(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="a name in the store")
    parser.add_argument("new", help="the further name")

    def run(args: argparse.Namespace) -> int:
        with Store(Settings.load(args.root).root) as store:
            store.name(ImageRef.parse(args.new), _find(store, ImageRef.parse(args.ref)))
        return 0

    return run


def _rmi(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", nargs="+", help="names in the store")

    def run(args: argparse.Namespace) -> int:
        with Store(Settings.load(args.root).root) as store:
            for text in args.ref:
                store.unname(ImageRef.parse(text))
                sys.stdout.write(f"untagged: {ImageRef.parse(text).familiar}\n")
        return 0

    return run


def _prune(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("-a", "--all", action="store_true", help="forget cached steps and cache mounts too")

    def run(args: argparse.Namespace) -> int:
        from imagesmith.sandbox import world

        world.enter("auto")  # trees of a user's builds belong to ids that only its namespace may touch
        with Store(Settings.load(args.root).root) as store:
            gone = store.prune(everything=args.all)
        sys.stdout.write(
            f"deleted {gone.blobs} blobs, {gone.layers} layers and {gone.steps} cached steps; "
            f"freed {_human(gone.freed_bytes)}\n"
        )
        return 0

    return run


def _inspect(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="a name in the store, or else in its registry")
    parser.add_argument("--platform", default="", metavar="OS/ARCH", help="platform within an index")
    parser.add_argument("--raw", action="store_true", help="the manifest or index as it is stored")
    parser.add_argument("--config", action="store_true", help="the image config as it is stored")
    parser.add_argument("--insecure", action="store_true", help="plain HTTP, or any certificate")

    def run(args: argparse.Namespace) -> int:
        if args.raw and args.config:
            raise UsageError("--raw and --config ask for different documents")
        ref = ImageRef.parse(args.ref)
        platform = Platform.parse(args.platform) if args.platform else host_platform()
        with Store(Settings.load(args.root).root) as store:
            found = store.find(ref) or _resolved(store, ref, platform, args.insecure)
            raw = store.blobs.read(found.digest)
            if not args.raw:
                manifest = store.manifest(found, platform)
                config = store.blobs.read(manifest.config.digest)
        if args.raw:
            sys.stdout.buffer.write(raw)
        elif args.config:
            sys.stdout.buffer.write(config)
        else:
            json.dump(
                _report(ref, found, raw, manifest, json.loads(config)),
                sys.stdout,
                indent=2,
                ensure_ascii=False,
            )
            sys.stdout.write("\n")
        return 0

    return run


def _resolved(store: Store, ref: ImageRef, platform: Platform, insecure: bool) -> Descriptor:
    """An image's documents from its registry, kept as blobs that the next prune takes."""
    from imagesmith.registry.transfer import Session

    with Session(store, insecure=insecure, events=make_front("quiet")) as session:
        found = session.resolve(ref, platform)
    for raw in found.documents:
        store.blobs.put(raw)
    return found.descriptor


def _report(
    ref: ImageRef, found: Descriptor, raw: bytes, manifest: Manifest, config: dict[str, Any]
) -> dict[str, Any]:
    document = parse_document(raw, found.media_type)
    out: dict[str, Any] = {
        "Name": str(ref.name),
        "Tag": ref.tag,
        "Digest": str(found.digest),
        "MediaType": found.media_type,
        "ImageID": str(manifest.config.digest),
        "Created": config.get("created"),
        "Os": config.get("os"),
        "Architecture": config.get("architecture"),
        "Config": config.get("config") or {},
        "Layers": [
            {"Digest": str(d.digest), "Size": d.size, "MediaType": d.media_type, "DiffID": diff_id}
            for d, diff_id in zip(
                manifest.layers, (config.get("rootfs") or {}).get("diff_ids") or [], strict=False
            )
        ],
        "History": [h.get("created_by", "") for h in config.get("history") or []],
    }
    if isinstance(document, Index):
        out["Manifests"] = [d.to_json() for d in document.manifests]
    return out


_VERBS: dict[str, Callable[[argparse.ArgumentParser], Handler]] = {
    "push": _push,
    "pull": _pull,
    "images": _images,
    "tag": _tag,
    "rmi": _rmi,
    "prune": _prune,
    "inspect": _inspect,
}
