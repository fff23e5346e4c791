"""Archives as places: written as an OCI layout in a tar, with a manifest.json beside it for `docker load`.

Why: one file that skopeo, podman, docker and we read alike, whether a build or `save` made it. Its members
are in BuildKit's order with its modes and no times, so that the same image makes the same tar: `blobs/`,
`blobs/sha256/`, blobs sorted by digest, `index.json`, (`manifest.json`,) `oci-layout`.
Spec: OCI image-spec 1.1, image-layout.md; Docker's image archive format.
Trust: the file is the user's own word; what is written comes from places that check it.
Threads: a target belongs to one thread.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from imagesmith.errors import DigestMismatch, NotAnImage, UsageError
from imagesmith.fs.entry import Entry
from imagesmith.fs.results import output_file
from imagesmith.interfaces import ImageSource
from imagesmith.layer.tarwrite import header
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import dumps
from imagesmith.oci.config import check_image
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index, Manifest, parse_document
from imagesmith.oci.names import ImageRef
from imagesmith.transports.layout import LAYOUT, NAME, REF, entries_of
from imagesmith.values import replace

__all__ = ["ArchiveTarget", "archive_target"]


class ArchiveTarget:
    """A tar being written: blobs by their digests, then its tables. ImageTarget; `close` ends it."""

    in_order = True
    sparse = False

    def __init__(self, out: BinaryIO, name: str, *, docker: bool, exported: str = "") -> None:
        """Begin a tar on a stream.

        Args:
            out: takes it.
            name: what it is called.
            docker: `docker load` shall read it.
            exported: when its images are exported, if they are to say so.
        """
        self.name, self._exported = name, exported
        #: The names of the image that comes next.
        self.labels: Sequence[str] = ()
        self._out, self._docker = out, docker
        self._written: set[Digest] = set()
        self._entries: list[Descriptor] = []
        #: Manifests with a subject, which are found by being listed.
        self._referrers: dict[Digest, Descriptor] = {}
        self._raw: dict[Digest, bytes] = {}
        out.write(header(Entry("blobs", "d", 0o755)))
        out.write(header(Entry("blobs/sha256", "d", 0o755)))

    def has(self, d: Descriptor) -> bool:
        """True if the blob is in the tar already; see ImageTarget."""
        return d.digest in self._written

    def put_blob(self, d: Descriptor, source: ImageSource, progress: Callable[[int], None]) -> str:
        """Append a blob; see ImageTarget."""
        path = f"blobs/{d.digest.algorithm}/{d.digest.hex}"
        self._out.write(header(Entry(path, "f", 0o444, size=d.size)))
        seen = 0
        for piece in source.pieces(d):
            self._out.write(piece)
            seen += len(piece)
            progress(seen)
        if seen != d.size:
            raise DigestMismatch(f"blob {d.digest}: {seen} bytes, expected {d.size}")
        self._out.write(bytes(-d.size % 512))
        self._written.add(d.digest)
        return "sent"

    def put_document(self, d: Descriptor, raw: bytes) -> None:
        """Append a manifest; one with a subject is listed, so that it is found. See ImageTarget."""
        self._raw[d.digest] = raw
        if b'"subject"' in raw and parse_document(raw, d.media_type).subject is not None:
            self._referrers[d.digest] = d
        if d.digest not in self._written:
            self._member(f"blobs/{d.digest.algorithm}/{d.digest.hex}", 0o444, raw)
            self._written.add(d.digest)

    def put_tagged(self, tag: str, d: Descriptor, raw: bytes) -> None:
        """Append a manifest, listed under another name where the form has names for it; see ImageTarget."""
        self.put_document(d, raw)
        if not self._docker:
            self._entries.append(replace(d, annotations={**d.annotations, REF: tag}))

    def finish(self, d: Descriptor, raw: bytes) -> None:
        """List an image under `labels`; see ImageTarget."""
        self.put_document(d, raw)
        if self._docker and not isinstance(parse_document(raw, d.media_type), Manifest):
            raise UsageError(
                "a docker archive holds one platform of an image", hint="choose one with --platform"
            )
        if self._docker:
            try:
                check_image(Manifest.parse(raw, d.media_type))
            except NotAnImage as e:
                raise NotAnImage(f"a docker archive holds images only: {e.message}") from e
        self._entries += entries_of(d, self.labels, self._exported)

    def close(self) -> None:
        """Write the tables and the tar's end."""
        if not self._docker:
            self._entries += self._unlisted()
        index = {
            "schemaVersion": 2,
            "mediaType": mt.OCI_INDEX,
            "manifests": [d.to_json() for d in self._entries],
        }
        self._member("index.json", 0o644, dumps(index))
        if self._docker:
            self._member("manifest.json", 0o644, dumps(self._docker_table()))
        self._member("oci-layout", 0o444, LAYOUT)
        self._out.write(bytes(1024))

    def _unlisted(self) -> list[Descriptor]:
        """The referrers that neither have a name nor are in an index, as attestations are."""
        if not self._referrers:
            return []
        listed = {d.digest for d in self._entries}
        for raw in self._raw.values():
            document = parse_document(raw)
            listed |= {d.digest for d in document.manifests} if isinstance(document, Index) else set()
        return [d for digest, d in self._referrers.items() if digest not in listed]

    def _docker_table(self) -> list[dict[str, object]]:
        rows: dict[Digest, dict[str, object]] = {}
        for d in self._entries:
            manifest = Manifest.parse(self._raw[d.digest])
            row = rows.setdefault(
                d.digest,
                {
                    "Config": f"blobs/sha256/{manifest.config.digest.hex}",
                    "RepoTags": None,
                    "Layers": [f"blobs/{x.digest.algorithm}/{x.digest.hex}" for x in manifest.layers],
                },
            )
            name = d.annotations.get(NAME)
            if name and "@" not in name:  # `docker load` takes no digests for names
                tags = row["RepoTags"]
                row["RepoTags"] = [*(tags if isinstance(tags, list) else []), ImageRef.parse(name).familiar]
        return list(rows.values())

    def _member(self, name: str, mode: int, data: bytes) -> None:
        self._out.write(header(Entry(name, "f", mode, size=len(data))))
        self._out.write(data + bytes(-len(data) % 512))


@contextlib.contextmanager
def archive_target(file: str, *, docker: bool, exported: str = "") -> Iterator[ArchiveTarget]:
    """An archive that appears under its name when it is complete; `-` is standard output.

    Raises:
        ImagesmithError: the file cannot be written.
    """
    if file == "-" and sys.stdout.isatty():
        raise UsageError("refusing to write a tar to the terminal", hint="give a file, or pipe the output")
    if os.path.isdir(file):
        raise UsageError(f"cannot write {file}: it is a folder")
    with output_file(file) as out:
        name = "standard output" if file == "-" else file
        target = ArchiveTarget(out, name, docker=docker, exported=exported)
        yield target
        target.close()
