"""Files and folders become an artifact, as oras packs them.

Why: what is no image (models, charts, policies, data) goes where images go. A file is a layer as it is; a
folder is one, a tar with gzip that whoever pulls unpacks again. The same files give the same digest: a
folder's times are 1970, its owners root, its order that of names.
Spec: OCI image-spec 1.1, manifest.md, "Guidelines for Artifact Usage"; oras's annotations
(io.deis.oras.content.unpack, io.deis.oras.content.digest) and its file of annotations ($manifest, $config).
Trust: the files are the user's own; no name leads out of where it is unpacked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from imagesmith.context.local import LocalTree
from imagesmith.errors import UsageError
from imagesmith.fs.entry import Entry
from imagesmith.image.artifact import TITLE, artifact_with, bring_file
from imagesmith.image.edited import Edited
from imagesmith.layer.tarwrite import write_layer
from imagesmith.oci.codec import parse_object
from imagesmith.oci.model import Descriptor
from imagesmith.quotas import threads
from imagesmith.store.store import Store
from imagesmith.transports.layerfile import new_layer
from imagesmith.values import field, frozen, replace

__all__ = ["CONTENT_DIGEST", "UNKNOWN", "UNPACK", "Parts", "pack", "read_annotations", "title_of", "typed"]

#: The annotations of a folder's layer: that it is one, and the digest of its tar.
UNPACK, CONTENT_DIGEST = "io.deis.oras.content.unpack", "io.deis.oras.content.digest"
#: What an artifact is of which nobody said it, and a config.
UNKNOWN, _UNKNOWN_CONFIG = "application/vnd.unknown.artifact.v1", "application/vnd.unknown.config.v1+json"
_MOST_BYTES = 4 << 20


@frozen(kw_only=True)
class Parts:
    """What an artifact is made of.

    files          paths and media types; an empty type stands for bytes of any kind, or for a folder's tar
    artifact_type  what it is; by default the type of its config, or `unknown`
    config         path and media type of a config, if it has one
    subject        what it is attached to
    annotations    of the manifest
    notes          further ones by file, and for `$manifest` and `$config`
    """

    files: tuple[tuple[str, str], ...]
    artifact_type: str = ""
    config: tuple[str, str] | None = None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def title_of(path: str) -> str:
    """The name of a file in an artifact: its path, or the last part of one that leads elsewhere.

    Raises:
        UsageError: it has none.
    """
    parts = [p for p in path.split("/") if p not in ("", ".")]
    if path.startswith("/") or ".." in parts:
        parts = [Path(path).resolve().name]
    if not any(parts):
        raise UsageError(f"{path!r}: a folder without a name", hint="name it from the folder above it")
    return "/".join(parts)


def pack(parts: Parts, store: Store) -> Edited:
    """An artifact of files and folders, whose layers are in the store.

    Raises:
        UsageError: a file cannot be read, or two have the same name; annotations for what is not there.
        ContextError: a folder cannot be read.
    """
    titles: dict[str, str] = {}
    for path, _ in parts.files:
        title = title_of(path)
        if title in titles:
            raise UsageError(f"{path} and {titles[title]} have the same name in the artifact")
        titles[title] = path
    unknown = set(parts.notes) - {"$manifest", "$config", *titles, *titles.values()}
    if unknown:
        raise UsageError(f"annotations for {', '.join(sorted(unknown))}, which is not pushed")
    layers = [
        _layer(path, media_type, title, parts.notes, store)
        for (path, media_type), title in zip(parts.files, titles, strict=True)
    ]
    config = None
    if parts.config is not None:
        path, media_type = parts.config
        brought = bring_file(path, media_type or _UNKNOWN_CONFIG, store.blobs)
        config = replace(brought, annotations=dict(parts.notes.get("$config", {})))
    return artifact_with(
        layers,
        store.blobs,
        artifact_type=parts.artifact_type or ("" if config else UNKNOWN),
        subject=parts.subject,
        annotations={**parts.notes.get("$manifest", {}), **parts.annotations},
        config=config,
    )


def _layer(
    path: str, media_type: str, title: str, notes: Mapping[str, Mapping[str, str]], store: Store
) -> Descriptor:
    more = notes.get(path) or notes.get(title) or {}
    if not Path(path).is_dir():
        d = bring_file(path, media_type, store.blobs, title)
        return replace(d, annotations={**more, **d.annotations})
    with contextlib.closing(LocalTree(Path(path))) as tree:

        def tar(sink: Callable[[bytes], None]) -> None:
            write_layer(_entries(tree, title), sink, clamp_s=0)

        digest, d = new_layer(tar, store, workers=threads())
    own = {TITLE: title, UNPACK: "true", CONTENT_DIGEST: str(digest)}
    return replace(d, media_type=media_type or d.media_type, annotations={**more, **own})


def _entries(tree: LocalTree, title: str) -> Iterator[Entry]:
    """A folder's entries below its name, those of nobody in particular."""
    top = tree.get("")
    yield Entry(title, "d", top.mode if top is not None else 0o755)
    for e in tree.walk():
        if e.kind not in "dflh":
            raise UsageError(f"{tree.root}/{e.path}: neither a file nor a folder nor a link")
        link = f"{title}/{e.link}" if e.kind == "h" else e.link
        yield Entry(
            f"{title}/{e.path}", e.kind, e.mode, size=e.size, link=link, content=e.content
        )  # the tree goes on with its own


def read_annotations(file: str) -> dict[str, dict[str, str]]:
    """A file of annotations: an object for each file, `$manifest` and `$config`.

    Raises:
        UsageError: it cannot be read.
        InvalidDocument: it is no such document.
    """
    try:
        raw = Path(file).read_bytes()
    except OSError as e:
        raise UsageError(f"cannot read {file}: {e.strerror}") from e
    if len(raw) > _MOST_BYTES:
        raise UsageError(f"{file}: more than {_MOST_BYTES} bytes of annotations")
    document = parse_object(raw, file)
    return {name: dict(document.text_map(name)) for name in document.data}


def typed(text: str) -> tuple[str, str]:
    """`FILE:TYPE` as a path and a media type; a colon without a slash behind it belongs to the path."""
    path, colon, kind = text.rpartition(":")
    return (path, kind) if colon and "/" in kind and not Path(text).exists() else (text, "")
