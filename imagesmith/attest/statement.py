"""In-toto statements: what is claimed of which files or images.

Spec: in-toto attestation framework, Statement v1, as BuildKit writes it: compact, keys in this order; package
URLs of images as its util/purl makes them.
Trust: files are read through a view of layers, never from the machine's file system.
"""

from __future__ import annotations

import hashlib
import urllib.parse
from collections.abc import Iterable, Mapping

from imagesmith.errors import InvalidDocument, InvalidReference
from imagesmith.fs.entry import Content
from imagesmith.fs.tree import Tree
from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.values import frozen

__all__ = [
    "CYCLONEDX",
    "IN_TOTO",
    "PREDICATE_TYPE",
    "SLSA",
    "SPDX",
    "STATEMENT",
    "STATEMENTS",
    "Claim",
    "Subject",
    "image_of_purl",
    "purl_of",
    "statement",
    "subjects_of_files",
    "subjects_of_image",
]

#: The media type of a statement, and the annotation that names its predicate's type.
IN_TOTO = "application/vnd.in-toto+json"
PREDICATE_TYPE = "in-toto.io/predicate-type"
STATEMENT = "https://in-toto.io/Statement/v1"
#: All that are read.
STATEMENTS = (STATEMENT, "https://in-toto.io/Statement/v0.1")
#: What the predicate types of provenance begin with, and those of the two kinds of SBOM.
SLSA, SPDX = "https://slsa.dev/provenance/", "https://spdx.dev/Document"
CYCLONEDX = "https://cyclonedx.org/bom"
_EMPTY = hashlib.sha256().hexdigest()


@frozen
class Claim:
    """What is said: the type of a predicate, and the predicate; `file` is its name beside files."""

    kind: str
    predicate: Mapping[str, object]
    file: str = ""

    @property
    def is_provenance(self) -> bool:
        """True if it tells how something was built."""
        return self.kind.startswith(SLSA)


@frozen
class Subject:
    """What it is said of: a name, and the sha256 of it as hexadecimal text."""

    name: str
    sha256: str


def statement(claim: Claim, subjects: Iterable[Subject], *, indent: int | None = None) -> bytes:
    """The statement that claims something of subjects; of none where nothing has a name."""
    return dumps(
        {
            "_type": STATEMENT,
            "predicateType": claim.kind,
            "subject": [{"name": s.name, "digest": {"sha256": s.sha256}} for s in subjects],
            "predicate": claim.predicate,
        },
        indent=indent,
    )


def subjects_of_image(names: Iterable[ImageRef], platform: Platform, digest: Digest) -> list[Subject]:
    """An image under each of its names."""
    return [Subject(purl_of(name, platform), digest.hex) for name in names]


def purl_of(name: ImageRef, platform: Platform | None = None, kind: str = "docker") -> str:
    """The package URL of an image: without docker.io and library/, with its tag, or its digest if named.

    Args:
        name: the image.
        platform: of a manifest in an index.
        kind: docker, or oci for one that is in no registry.
    """
    if name.digest is None and name.tag is None:
        name = name.with_tag("latest")
    short = ImageRef(name.registry, name.repository).familiar
    path = "/".join(urllib.parse.quote(part, safe="") for part in short.split("/"))
    version = f"@{urllib.parse.quote(name.tag, safe='')}" if name.tag else ""
    qualifiers = [("digest", str(name.digest))] if name.digest is not None else []
    if platform is not None:
        qualifiers.append(("platform", str(platform)))
    query = "&".join(f"{key}={urllib.parse.quote(value, safe=':')}" for key, value in qualifiers)
    return f"pkg:{kind}/{path}{version}{f'?{query}' if query else ''}"


def image_of_purl(uri: str) -> ImageRef:
    """The image that a package URL of Docker's kind names; see purl_of.

    Raises:
        InvalidDocument: it names none.
    """
    kind, _, rest = uri.partition("?")[0].partition("#")[0].partition("/")
    path, at, version = rest.partition("@")
    name = urllib.parse.unquote(path) + (f":{urllib.parse.unquote(version)}" if at else "")
    query = urllib.parse.parse_qsl(uri.partition("#")[0].partition("?")[2], max_num_fields=100)
    digest = next((f"@{value}" for key, value in query if key == "digest"), "")
    try:
        if kind != "pkg:docker":
            raise InvalidReference("no package URL of Docker's kind")
        return ImageRef.parse(f"{name}{digest}", default_tag=not digest)
    except (ValueError, InvalidReference) as e:
        reason = e.message if isinstance(e, InvalidReference) else str(e)
        raise InvalidDocument(f"{uri[:200]}: {reason}") from e


def subjects_of_files(files: Tree) -> list[Subject]:
    """Every regular file of a result, by its path."""
    known: dict[Content, str] = {}
    out = []
    for e in files.walk(""):
        if e.kind == "f":
            found = e.digest or (known.get(e.content) if e.content is not None else _EMPTY)
            if not found:
                assert e.content is not None
                found = known[e.content] = _hashed(e.content)
            out.append(Subject(e.path, found))
    return out


def _hashed(content: Content) -> str:
    hasher = hashlib.sha256()
    with content.open() as f:
        while data := f.read(1 << 20):
            hasher.update(data)
    return hasher.hexdigest()
